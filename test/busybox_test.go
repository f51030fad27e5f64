package test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
)

// busyboxApplets are the programs that tests use of it.
var busyboxApplets = []string{"sh", "cat", "cp", "dd", "echo", "env", "false", "find", "grep", "head", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mv", "ps", "pwd", "rm", "seq", "sha256sum", "sleep", "tail", "touch", "true", "wc", "xargs", "yes"}

// busyboxArchive makes an OCI archive of Debian's static busybox, small enough
// that every test may import it. It stands for an image that a user brings.
func busyboxArchive(tb testing.TB) string {
	tb.Helper()
	return writeArchive(tb, busyboxLayer(tb, nil))
}

// hostsBash returns the host's bash and the libraries that it needs, by their
// paths in an image.
func hostsBash(tb testing.TB) map[string]string {
	tb.Helper()
	libraries, err := exec.Command("ldd", "/bin/bash").Output()
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range append(strings.Fields(string(libraries)), "/bin/bash") {
		if !strings.HasPrefix(path, "/") {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		files[path[1:]] = string(content)
	}
	return files
}

// busyboxLayer is the layer of that image, with more programs beside it.
func busyboxLayer(tb testing.TB, more map[string]string) []byte {
	tb.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		tb.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(h tar.Header, content []byte) {
		h.Size, h.ModTime = int64(len(content)), time.Unix(0, 0)
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			tb.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "workspace/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: 1000, Gid: 1000}, nil)
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0::/:/bin/sh\nsandbox:x:1000:1000::/workspace:/bin/sh\n"))
	add(tar.Header{Name: "etc/shadow", Typeflag: tar.TypeReg, Mode: 0o600}, []byte("root:*:0:0:99999:7:::\n"))
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	for _, a := range busyboxApplets {
		add(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	for name, program := range more {
		add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, []byte(program))
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return layer.Bytes()
}

// writeArchive writes an OCI archive of an image with one layer.
func writeArchive(tb testing.TB, layer []byte) string {
	tb.Helper()
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	type object = map[string]any
	config := encode(object{
		"architecture": goruntime.GOARCH, "os": "linux",
		"config": object{"Env": []string{"PATH=/bin"}},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	const mediaType = "application/vnd.oci.image."
	manifest := encode(object{
		"schemaVersion": 2, "mediaType": mediaType + "manifest.v1+json",
		"config": object{"mediaType": mediaType + "config.v1+json", "digest": digest(config), "size": len(config)},
		"layers": []object{{"mediaType": mediaType + "layer.v1.tar", "digest": digest(layer), "size": len(layer)}},
	})
	index := encode(object{
		"schemaVersion": 2, "mediaType": mediaType + "index.v1+json",
		"manifests": []object{{"mediaType": mediaType + "manifest.v1+json", "digest": digest(manifest), "size": len(manifest)}},
	})
	path := filepath.Join(tb.TempDir(), "image.tar")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	w := tar.NewWriter(file)
	put := func(name string, content []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			tb.Fatal(err)
		}
	}
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	put("index.json", index)
	for _, blob := range [][]byte{config, manifest, layer} {
		put("blobs/sha256/"+digest(blob)[len("sha256:"):], blob)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}
