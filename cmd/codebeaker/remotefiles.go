package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"codebeaker/rpc/client"
)

const (
	// chunkBytes is how much of a file is sent or asked for at one time, where
	// the server takes it.
	chunkBytes = 4 << 20
	// temporaryName begins the names of files that are being copied.
	temporaryName = ".codebeaker-cp-"
	// noName is no name of a file, as a pattern.
	noName = temporaryName + "none"
	// removeTimeout bounds the removal of what is left of a copy.
	removeTimeout = 10 * time.Second
)

// Types of entries.
const (
	typeFile      = "file"
	typeDirectory = "directory"
	typeSymlink   = "symlink"
)

// remoteFiles are the files of a session.
type remoteFiles struct {
	client  *client.Client
	server  *remote
	session string
	chunk   int // bytes of a file in one message
}

// newRemoteFiles asks the server how much it takes at one time.
func newRemoteFiles(ctx context.Context, c *client.Client, server *remote, session string) (*remoteFiles, error) {
	var hello struct {
		ServerCapabilities struct {
			Limits struct {
				MaxMessageBytes int `json:"maxMessageBytes"`
			} `json:"limits"`
		} `json:"serverCapabilities"`
	}
	if err := c.Call(ctx, "initialize", map[string]any{}, &hello); err != nil {
		return nil, err
	}
	f := &remoteFiles{client: c, server: server, session: session, chunk: chunkBytes}
	if most := hello.ServerCapabilities.Limits.MaxMessageBytes; most > 0 {
		// In base64, and beside it a path that may be escaped.
		f.chunk = min(f.chunk, max((most-32<<10)/4*3, 1<<10))
	}
	return f, nil
}

// entry is a file of a session.
type entry struct {
	Name string    `json:"name"`
	Type string    `json:"type"`
	Size int64     `json:"size"`
	Mode entryMode `json:"mode"`
}

// entryMode is permission bits, as octal digits on the wire.
type entryMode fs.FileMode

// UnmarshalJSON reads a text of octal digits.
func (m *entryMode) UnmarshalJSON(text []byte) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return fmt.Errorf("decode a file's mode: %w", err)
	}
	bits, err := strconv.ParseUint(digits, 8, 32)
	if err != nil {
		return fmt.Errorf("decode a file's mode: %w", err)
	}
	*m = entryMode(fs.FileMode(bits) & fs.ModePerm)
	return nil
}

// do carries out a command in the session.
func (f *remoteFiles) do(ctx context.Context, command map[string]any, result any) error {
	answer := struct {
		Result any `json:"result"`
	}{result}
	return f.client.Call(ctx, "session.execute", map[string]any{"sessionId": f.session, "command": command}, &answer)
}

// list lists a directory itself.
func (f *remoteFiles) list(ctx context.Context, dir string) ([]entry, error) {
	return f.listMatching(ctx, dir, "")
}

func (f *remoteFiles) listMatching(ctx context.Context, dir, pattern string) ([]entry, error) {
	command := map[string]any{"type": "list_directory", "path": dir, "includeHidden": true}
	if pattern != "" {
		command["pattern"] = pattern
	}
	var list struct {
		Entries   []entry `json:"entries"`
		Truncated bool    `json:"truncated"`
	}
	if err := f.do(ctx, command, &list); err != nil {
		return nil, err
	}
	if list.Truncated {
		return nil, entryError(fmt.Sprintf("%s has more entries than the server lists at one time", printable(dir)))
	}
	return list.Entries, nil
}

// isDirectory says whether a path is one of a directory, which it may reach
// through a symbolic link. What is not there is no error.
func (f *remoteFiles) isDirectory(ctx context.Context, name string) (bool, error) {
	_, err := f.listMatching(ctx, cleaned(name), noName)
	switch pathReason(err) {
	case "":
		return err == nil, err
	case "not found", "not a directory":
		return false, nil
	default:
		return false, err
	}
}

// stat returns what is at a path, a symbolic link's target in its place.
func (f *remoteFiles) stat(ctx context.Context, name string) (entry, error) {
	name = cleaned(name)
	dir, base := path.Split(name)
	if base != "" && base != "." && base != ".." {
		found, err := f.listMatching(ctx, cleaned(dir), escapePattern(base))
		if err != nil {
			return entry{}, err
		}
		for _, e := range found {
			if e.Name == base && e.Type != typeSymlink {
				return e, nil
			}
		}
	}
	isDirectory, err := f.isDirectory(ctx, name)
	switch {
	case err != nil:
		return entry{}, err
	case isDirectory:
		return entry{Name: base, Type: typeDirectory, Mode: 0o755}, nil
	default: // reading it says more
		return entry{Name: base, Type: typeFile, Mode: 0o644}, nil
	}
}

// cleaned is a path that the server takes: an empty one is the workspace.
func cleaned(name string) string {
	if name == "" {
		return "."
	}
	return path.Clean(name)
}

// escapePattern returns a pattern that matches one name.
func escapePattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// read returns up to a chunk of a file, nothing at its end.
func (f *remoteFiles) read(ctx context.Context, name string, offset, most int64) ([]byte, error) {
	var got struct {
		Content  string `json:"content"`
		Encoding string `json:"encoding"`
	}
	err := f.do(ctx, map[string]any{
		"type": "read_file", "path": name, "encoding": "base64", "offset": offset, "length": min(most, int64(f.chunk)),
	}, &got)
	if err != nil {
		return nil, err
	}
	content, err := client.DecodeText(got.Content, got.Encoding)
	if err != nil {
		return nil, fmt.Errorf("decode content: %w", err)
	}
	return content, nil
}

// write writes a chunk to a file: its beginning, or at its end. Permissions of 0
// are those that new files get.
func (f *remoteFiles) write(ctx context.Context, name string, chunk []byte, more bool, permissions fs.FileMode) error {
	command := map[string]any{
		"type": "write_file", "path": name, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(chunk),
	}
	if more {
		command["mode"] = "Append"
	}
	if permissions != 0 {
		command["permissions"] = fmt.Sprintf("%04o", permissions.Perm())
	}
	return f.do(ctx, command, nil)
}

func (f *remoteFiles) makeDirectory(ctx context.Context, name string) error {
	return f.do(ctx, map[string]any{"type": "create_directory", "path": name}, nil)
}

func (f *remoteFiles) move(ctx context.Context, from, to string) error {
	return f.do(ctx, map[string]any{"type": "move_file", "source": from, "destination": to}, nil)
}

// remove removes what is left of a copy, also where that was interrupted or lost
// its connection. It is a favour: nothing depends on it.
func (f *remoteFiles) remove(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	command := map[string]any{"type": "delete_file", "path": name}
	if err := f.do(ctx, command, nil); errors.Is(err, client.ErrDisconnected) {
		_ = f.server.call(ctx, "session.execute", map[string]any{"sessionId": f.session, "command": command}, nil)
	}
}

// temporary returns a name beside a file's for the time while that is copied.
func temporary() string { return temporaryName + strings.ToLower(rand.Text()[:12]) }
