package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"
)

// tarOf makes a tar stream; a file's content is its link name.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		var content string
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCanonicalize(t *testing.T) {
	epoch := time.Unix(1000, 0)
	old, young := time.Unix(10, 0), time.Unix(2000, 5)
	capability := map[string]string{"SCHILY.xattr.security.capability": "c"}
	in := tarOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, ModTime: young},
		tar.Header{Typeflag: tar.TypeDir, Name: "./dev/", Mode: 0o755, ModTime: young},
		tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./dev/fd", Linkname: "/proc/self/fd"},
		tar.Header{Typeflag: tar.TypeFifo, Name: "./run/pipe"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./usr/bin/su", Linkname: "program", Mode: 0o4755, ModTime: young, Uname: "root", Gname: "root"},
		tar.Header{Typeflag: tar.TypeLink, Name: "./usr/bin/su2", Linkname: "./usr/bin/su", Mode: 0o4755, ModTime: old},
		tar.Header{Typeflag: tar.TypeReg, Name: "./usr/bin/ping", Mode: 0o755, ModTime: old, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "c", "SCHILY.xattr.security.selinux": "s", "SCHILY.xattr.user.x": "x",
		}},
		tar.Header{Typeflag: tar.TypeDir, Name: "./var/mail/", Mode: 0o2775, Gid: 8, ModTime: old},
		tar.Header{Typeflag: tar.TypeReg, Name: "./var/lib/dpkg/status", Linkname: "Package: a\n", Mode: 0o644, ModTime: old},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin", Linkname: "usr/bin", Mode: 0o777, ModTime: old},
		tar.Header{Typeflag: tar.TypeDir, Name: "./home/cache/", Mode: 0o755, ModTime: young},
		tar.Header{Typeflag: tar.TypeReg, Name: "./home/cache/entry", Mode: 0o644, ModTime: young},
		tar.Header{Typeflag: tar.TypeReg, Name: "./home/cache2", Mode: 0o644, ModTime: young},
	)
	var out bytes.Buffer
	status, err := canonicalize(&out, bytes.NewReader(in), &recipe{Epoch: epoch.Unix(), Caches: []string{"home/cache"}})
	if err != nil {
		t.Fatal(err)
	}
	if string(status) != "Package: a\n" {
		t.Errorf("status is %q", status)
	}
	want := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "dev/", Mode: 0o755, ModTime: epoch},
		{Typeflag: tar.TypeReg, Name: "usr/bin/su", Mode: 0o755, ModTime: epoch, Size: 7},
		{Typeflag: tar.TypeLink, Name: "usr/bin/su2", Linkname: "usr/bin/su", Mode: 0o755, ModTime: old},
		{Typeflag: tar.TypeReg, Name: "usr/bin/ping", Mode: 0o755, ModTime: old, PAXRecords: capability},
		{Typeflag: tar.TypeDir, Name: "var/mail/", Mode: 0o2775, Gid: 8, ModTime: old},
		{Typeflag: tar.TypeReg, Name: "var/lib/dpkg/status", Mode: 0o644, ModTime: old, Size: 11},
		{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin", Mode: 0o777, ModTime: old},
		{Typeflag: tar.TypeDir, Name: "home/cache/", Mode: 0o755, ModTime: epoch},
		{Typeflag: tar.TypeReg, Name: "home/cache/entry", Mode: 0o644, ModTime: time.Unix(cacheTime, 0)},
		{Typeflag: tar.TypeReg, Name: "home/cache2", Mode: 0o644, ModTime: epoch},
	}
	r := tar.NewReader(&out)
	for _, w := range want {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		got := tar.Header{
			Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid,
			Uname: h.Uname, Gname: h.Gname, ModTime: h.ModTime, PAXRecords: h.PAXRecords,
		}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("got  %+v\nwant %+v", got, w)
		}
	}
	if h, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("then came %+v, %v", h, err)
	}
}

// TestCanonicalizeSameForAnyTar gives it the same files in two formats of tar.
func TestCanonicalizeSameForAnyTar(t *testing.T) {
	var outs [2]bytes.Buffer
	for i, format := range []tar.Format{tar.FormatPAX, tar.FormatGNU} {
		in := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "./a", Linkname: "x", Mode: 0o644, ModTime: time.Unix(5, 0), Format: format})
		in = append(in, make([]byte, i*10240)...) // padding
		if _, err := canonicalize(&outs[i], bytes.NewReader(in), &recipe{Epoch: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(outs[0].Bytes(), outs[1].Bytes()) {
		t.Error("the same file makes other bytes where the format differs")
	}
}

func TestCanonicalizeReportsCutStream(t *testing.T) {
	in := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "./a", Linkname: "content", Mode: 0o644})
	if _, err := canonicalize(io.Discard, bytes.NewReader(in[:514]), &recipe{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v; want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestPackageVersion(t *testing.T) {
	status := []byte("Package: python3-pip\nVersion: 25.1\n\nPackage: python3\nStatus: install ok installed\nVersion: 3.13.5-1\n\n" +
		"Package: procps\nVersion: 2:4.0.4-9\n\nPackage: node\nVersion: 20.19.2+dfsg-1+deb13u1\n\nPackage: mono\nVersion: 6.12.0.199+dfsg1-6\n\n" +
		"Package: npm\nVersion: 9.2.0~ds1-3\n\nPackage: none\nVersion: 1.0.dsx-1\n")
	for name, want := range map[string]string{
		"python3": "3.13.5", "python3-pip": "25.1", "procps": "4.0.4",
		"node": "20.19.2", "mono": "6.12.0.199", "npm": "9.2.0", "none": "1.0.dsx", "python": "",
	} {
		if got := packageVersion(status, name); got != want {
			t.Errorf("version of %s is %q; want %q", name, got, want)
		}
	}
}
