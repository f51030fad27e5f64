package test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/shim"
)

// withFIFOs returns a layer in which these files are FIFOs.
func withFIFOs(tb testing.TB, layer []byte, names ...string) []byte {
	tb.Helper()
	var out bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(layer)), tar.NewWriter(&out)
	are := map[string]bool{}
	for _, name := range names {
		are[name] = true
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeFifo, Mode: 0o644}); err != nil {
			tb.Fatal(err)
		}
	}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		if are[h.Name] {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestImageOfFIFOsHoldsUpNobody(t *testing.T) {
	archive := writeArchive(t, withFIFOs(t, busyboxLayer(t, nil), "etc/passwd", "etc/group", "etc/shadow", "etc/hosts"))
	for _, runtime := range builtIn {
		t.Run(runtime, func(t *testing.T) {
			s := unstarted(t)
			if err := s.images(t.Context(), "import", "python", archive); err != nil {
				t.Fatal(err)
			}
			if err := s.start("--runtime", runtime); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c := s.dial(t)
			var info created
			if err := c.Call(ctx, "session.create", object{"language": "python", "env": object{"HOME": ""}}, &info); err != nil {
				t.Fatal(err)
			}
			for _, command := range []object{
				{"type": "execute_shell", "commandName": "true"},
				{"type": "write_file", "path": "a", "content": "x"},
			} {
				var o outcome
				if err := c.Call(ctx, "session.execute", object{"sessionId": info.SessionID, "command": command}, &o); err != nil || !o.Success {
					t.Errorf("%v: %+v, %v", command, o, err)
				}
			}
		})
	}
}

// hangingRunc writes a runc into the server's directory that hangs in these
// commands, for as long as the file exists whose path it returns. Where alone is
// not set, it does so in a process of its own, which has to be ended, too.
func (s *server) hangingRunc(t *testing.T, alone bool, commands ...string) (runc, hang string) {
	t.Helper()
	runc, hang = filepath.Join(s.dir, "runc"), filepath.Join(s.dir, "hang")
	exec := ""
	if alone {
		exec = "exec "
	}
	script := fmt.Sprintf(`#!/bin/sh
case " $* " in
*" %s "*) [ ! -e %s ] || %ssh -c 'read x < %s/hung; :' ;;
esac
exec %s "$@"
`, strings.Join(commands, ` "* | *" `), hang, exec, s.state, binary("runc"))
	if err := os.WriteFile(runc, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.state, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	fifo := filepath.Join(s.state, "hung")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // where something still hangs
		if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil {
			f.Close()
		}
	})
	return runc, hang
}

// hung says whether what hangs in a runc of hangingRunc is among what is left.
func hung(left []string) bool {
	return slices.ContainsFunc(left, func(what string) bool { return strings.Contains(what, "/hung") })
}

func TestCreateThatHangsIsUndone(t *testing.T) {
	for _, runtime := range builtIn {
		t.Run(runtime, func(t *testing.T) {
			s := withBusybox(t)
			alone, commands := true, []string{"create"} // runc's shim ends no other process
			if runtime == shim.Name {
				alone, commands = false, []string{"run", "delete"}
			}
			runc, hang := s.hangingRunc(t, alone, commands...)
			timeout := time.Duration(scaled(3*time.Second) * float64(time.Second))
			err := s.start("--runtime", runtime, "--runc", runc, "--create-timeout", timeout.String(), "--max-sessions", "1")
			if err != nil {
				t.Fatal(err)
			}
			c := s.dial(t)
			create := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				var info created
				err := c.Call(ctx, "session.create", object{"language": "python"}, &info)
				if err == nil {
					err = c.Call(ctx, "session.close", object{"sessionId": info.SessionID}, nil)
				}
				return err
			}
			if err := create(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(hang, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first does not keep the only place
				refused(t, create(), -32603, "internal error")
			}
			if err := os.Remove(hang); err != nil {
				t.Fatal(err)
			}
			if err := create(); err != nil {
				t.Errorf("after it: %v", err)
			}
			// What hung is gone while the server runs.
			eventually(t, func() error {
				left, err := s.remains()
				if hung(left) {
					err = fmt.Errorf("left: %q", left)
				}
				return err
			})
			if err := os.WriteFile(hang, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- create() }()
			eventually(t, func() error {
				left, err := s.remains()
				if !hung(left) {
					err = errors.Join(err, errors.New("nothing hangs"))
				}
				return err
			})
			if code, err := s.signal(os.Interrupt); err != nil || code != 0 {
				t.Errorf("the server ended with %d, %v", code, err)
			}
			if err := <-ended; err == nil {
				t.Error("a create that hung at the shutdown succeeded")
			}
			if err := s.gone(); err != nil {
				t.Error(err)
			}
		})
	}
}
