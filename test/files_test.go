package test

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileCommands(t *testing.T) {
	b := busybox(t).session(t, nil)
	write := func(path, content string, more object) {
		t.Helper()
		command := object{"type": "write_file", "path": path, "content": content}
		maps.Copy(command, more)
		if o := b.do(command); !o.Success || o.Result.Path != path {
			t.Errorf("write_file %s: %+v", path, o)
		}
	}
	read := func(path string, more object) shellResult {
		t.Helper()
		command := object{"type": "read_file", "path": path}
		maps.Copy(command, more)
		return b.do(command).Result
	}
	write("deep/er/file", "one", nil) // parents are created
	write("deep/er/file", "two", object{"mode": "Append"})
	if got := read("/workspace/deep/er/file", nil); got.Content != "onetwo" {
		t.Errorf("after Append it holds %q", got.Content)
	}
	write("deep/er/file", "x", object{"mode": "Overwrite"})
	if got := read("deep/er/file", nil); got.Content != "x" {
		t.Errorf("after Overwrite it holds %q", got.Content)
	}
	binary := string([]byte{0, 255, 254, 10})
	write("bin", base64.StdEncoding.EncodeToString([]byte(binary)), object{"encoding": "base64"})
	if got := read("bin", nil); got.Encoding != "base64" || got.Content != base64.StdEncoding.EncodeToString([]byte(binary)) || got.Bytes != 4 {
		t.Errorf("binary file came back as %+v", got)
	}
	write("text", "0123456789", nil)
	if got := read("text", object{"offset": 3, "length": 4}); got.Content != "3456" || got.Bytes != 4 {
		t.Errorf("range is %+v", got)
	}
	if got := read("text", object{"offset": 30}); got.Content != "" {
		t.Errorf("range past the end is %+v", got)
	}
	big := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB, of many packets
	write("big", big, nil)
	if got := read("big", nil); got.Content != big {
		t.Errorf("5 MiB came back as %d bytes, or changed", len(got.Content))
	}
	if got := read("/proc/self/status", nil); !strings.HasPrefix(got.Content, "Name:") {
		t.Errorf("a file without a size came back as %q", got.Content)
	}
	write("script", "#!/bin/sh\necho ran\n", object{"permissions": "0755"})
	if r := b.do(object{"type": "execute_shell", "commandName": "./script"}).Result; r.Stdout != "ran\n" {
		t.Errorf("script: %+v", r)
	}
	if r := b.sh("ls -ln script; id -u"); !strings.HasPrefix(r.Stdout, "-rwxr-xr-x    1 1000     1000") {
		t.Errorf("file belongs to others: %s", r.Stdout)
	}
}

func TestFileErrorsSayWhichPathAndWhy(t *testing.T) {
	b := busybox(t).session(t, nil)
	b.sh("mkdir dir; mkfifo fifo; ln -s loop loop; touch file; head -c 9000000 /dev/zero > huge")
	for _, tc := range []struct{ kind, path, reason string }{
		{"read_file", "missing", "not found"},
		{"read_file", "dir", "is a directory"},
		{"write_file", "dir", "is a directory"},
		{"read_file", "fifo", "not a regular file"},
		{"read_file", "/dev/zero", "not a regular file"},
		{"read_file", "loop", "too many levels of symbolic links"},
		{"write_file", "file/below", "not a directory"},
		{"write_file", "/etc/x", "not permitted"},
		{"write_file", "/root/deep/x", "not permitted"},
		{"read_file", "/etc/shadow", "not permitted"},
		{"read_file", strings.Repeat("n", 300), "name too long"},
		{"read_file", "huge", "too large"},
	} {
		command := object{"type": tc.kind, "path": tc.path}
		if tc.kind == "write_file" {
			command["content"] = ""
		}
		_, err := b.try(command)
		no := refused(t, err, -32007, tc.reason)
		if !strings.Contains(string(no.Data), `"path":"`+tc.path+`"`) {
			t.Errorf("%s %s: data %s does not name the path", tc.kind, tc.path, no.Data)
		}
	}
	for _, path := range []string{"", "a\x00b", strings.Repeat("p/", 3000)} {
		_, err := b.try(object{"type": "read_file", "path": path})
		refused(t, err, -32602, "command.path")
	}
}

// The host must never open a path that a session can change.
func TestPlantedSymlinkLeadsNowhere(t *testing.T) {
	b := busybox(t).session(t, nil)
	host := filepath.Join(t.TempDir(), "host-file")
	if err := os.WriteFile(host, []byte("of the host"), 0o666); err != nil {
		t.Fatal(err)
	}
	shadow, err := os.Stat("/etc/shadow")
	if err != nil {
		t.Fatal(err)
	}
	b.sh("ln -s /etc/shadow shadow; ln -s " + host + " out; ln -s / root; ln -s /proc/1/root up")
	for _, path := range []string{"shadow", "/workspace/shadow", "root/etc/shadow", "up/etc/shadow"} {
		_, err := b.try(object{"type": "read_file", "path": path})
		refused(t, err, -32007, "not permitted")
		_, err = b.try(object{"type": "write_file", "path": path, "content": "root::0:0:99999:7:::"})
		refused(t, err, -32007, "not permitted")
	}
	_, err = b.try(object{"type": "read_file", "path": "out"})
	refused(t, err, -32007, "not found")
	// In the session, that path means nothing.
	_, err = b.try(object{"type": "write_file", "path": "out", "content": "changed"})
	refused(t, err, -32007, "not found")
	if text, err := os.ReadFile(host); err != nil || string(text) != "of the host" {
		t.Errorf("the host's file holds %q, %v", text, err)
	}
	if after, err := os.Stat("/etc/shadow"); err != nil || after.ModTime() != shadow.ModTime() || after.Size() != shadow.Size() {
		t.Errorf("the host's /etc/shadow changed: %v", err)
	}
}
