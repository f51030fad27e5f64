package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"codebeaker/rpc/client/clienttest"
)

// fileCommand carries out a command on the files.
func (s *fakeServer) fileCommand(c *clienttest.Conn, r clienttest.Request, command fakeCommand) {
	host := func(name string) string {
		if !path.IsAbs(name) {
			name = "/workspace/" + name
		}
		return filepath.Join(s.files, path.Clean(name))
	}
	result := map[string]any{}
	var err error
	switch name := host(command.Path); command.Type {
	case "write_file":
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if command.Mode == "Append" {
			flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		// A session's user is not root, as this test may be.
		if info, err := os.Stat(name); err == nil && info.Mode()&0o200 == 0 {
			refusePath(c, r, os.ErrPermission)
			return
		}
		var content []byte
		content, err = base64.StdEncoding.DecodeString(command.Content)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(name), 0o755)
		}
		var file *os.File
		if err == nil {
			file, err = os.OpenFile(name, flags, 0o644)
		}
		if err == nil {
			_, err = file.Write(content)
			file.Close()
		}
		if err == nil && command.Permissions != "" {
			var bits uint32
			_, err = fmt.Sscanf(command.Permissions, "%o", &bits)
			if err == nil {
				err = os.Chmod(name, fs.FileMode(bits))
			}
		}
	case "read_file":
		var content []byte
		content, err = os.ReadFile(name)
		content = content[min(command.Offset, int64(len(content))):]
		content = content[:min(command.Length, int64(len(content)))]
		result["content"], result["encoding"] = base64.StdEncoding.EncodeToString(content), "base64"
	case "create_directory":
		err = os.MkdirAll(name, 0o755)
	case "move_file":
		err = os.Rename(host(command.Source), host(command.Destination))
	case "delete_file":
		err = os.Remove(name)
	case "list_directory":
		var list []fs.DirEntry
		list, err = os.ReadDir(name)
		entries := []any{}
		for _, d := range list {
			info, err := d.Info()
			if ok, _ := path.Match(command.Pattern, d.Name()); err != nil || command.Pattern != "" && !ok {
				continue
			}
			kind := "file"
			switch {
			case d.IsDir():
				kind = "directory"
			case d.Type()&fs.ModeSymlink != 0:
				kind = "symlink"
			case !d.Type().IsRegular():
				kind = "other"
			}
			entries = append(entries, map[string]any{
				"name": d.Name(), "type": kind, "size": info.Size(), "mode": fmt.Sprintf("%04o", info.Mode().Perm()),
			})
		}
		result["entries"] = entries
	default:
		s.t.Errorf("command %q", command.Type)
	}
	if err != nil {
		refusePath(c, r, err)
		return
	}
	c.Reply(r, map[string]any{"success": true, "result": result})
}

func refusePath(c *clienttest.Conn, r clienttest.Request, err error) {
	reasons := []string{"not a directory", "is a directory", "not permitted", "not found", "file exists"}
	texts := []string{"not a directory", "is a directory", "permission denied", "no such file", "file exists"}
	reason := "failed"
	if i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) }); i >= 0 {
		reason = reasons[i]
	}
	data, _ := json.Marshal(map[string]string{"reason": reason})
	c.RefuseWith(r, codePath, "path: "+reason, data)
}
