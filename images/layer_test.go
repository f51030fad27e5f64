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
		tar.Header{Typeflag: tar.TypeDir, Name: "./etc/apt/", Mode: 0o755, ModTime: old},
		tar.Header{Typeflag: tar.TypeReg, Name: "./etc/apt/sources.list", Mode: 0o644, ModTime: old},
		tar.Header{Typeflag: tar.TypeReg, Name: "./etc/hostname", Mode: 0o644, ModTime: old},
		tar.Header{Typeflag: tar.TypeReg, Name: "./etc/hostname2", Mode: 0o644, ModTime: old},
		tar.Header{Typeflag: tar.TypeDir, Name: "./home/cache/", Mode: 0o755, ModTime: young},
		tar.Header{Typeflag: tar.TypeReg, Name: "./home/cache/entry", Mode: 0o644, ModTime: young},
		tar.Header{Typeflag: tar.TypeReg, Name: "./home/cache2", Mode: 0o644, ModTime: young},
	)
	var out bytes.Buffer
	rules := layerRules{Epoch: epoch.Unix(), Caches: []string{"home/cache"}, Private: []string{"etc/apt/", "etc/hostname"}}
	all, status, err := canonicalize(&out, bytes.NewReader(in), rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all["usr/bin/su2"]; !ok || len(all) != 12 {
		t.Errorf("the tree is %v", all)
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
		{Typeflag: tar.TypeDir, Name: "etc/apt/", Mode: 0o755, ModTime: old},
		{Typeflag: tar.TypeReg, Name: "etc/hostname2", Mode: 0o644, ModTime: old},
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
		if _, _, err := canonicalize(&outs[i], bytes.NewReader(in), layerRules{Epoch: 10}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(outs[0].Bytes(), outs[1].Bytes()) {
		t.Error("the same file makes other bytes where the format differs")
	}
}

func TestCanonicalizeReportsCutStream(t *testing.T) {
	in := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "./a", Linkname: "content", Mode: 0o644})
	if _, _, err := canonicalize(io.Discard, bytes.NewReader(in[:514]), layerRules{}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v; want %v", err, io.ErrUnexpectedEOF)
	}
}

// layerOn makes a layer of a root file system upon another, and returns its
// headers.
func layerOn(t *testing.T, lower, upper []byte) []tar.Header {
	t.Helper()
	rules := layerRules{Epoch: 1000}
	below, _, err := canonicalize(io.Discard, bytes.NewReader(lower), rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, _, err := canonicalize(&out, bytes.NewReader(upper), rules, below); err != nil {
		t.Fatal(err)
	}
	var headers []tar.Header
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, tar.Header{Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname + string(content), Mode: h.Mode, ModTime: h.ModTime})
	}
}

func TestLayerHasWhatIsOtherThanBelow(t *testing.T) {
	early, late := time.Unix(10, 0), time.Unix(20, 0)
	dir := func(name string, at time.Time) tar.Header {
		return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: at}
	}
	file := func(name, content string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content, Mode: 0o644, ModTime: early}
	}
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644, ModTime: early}
	}
	lower := tarOf(
		t, dir("a/", early), file("a/same", "s"), file("a/same-size", "1"), file("a/gone", "g"), file("a/names", "n"), link("a/names2", "a/names"),
		dir("b/", early), file("b/same", "s"), dir("b/gone/", early), file("b/gone/too", "t"),
		dir("c/", early), dir("c/d/", early), file("c/d/old", "o"), dir("e/", early), file("e/f", "f"),
		file("same", "s"), link("same2", "same"),
	)
	upper := tarOf(
		t, dir("a/", late), file("a/same", "s"), file("a/same-size", "2"), file("a/names", "m"), link("a/names2", "a/names"),
		dir("b/", early), file("b/same", "s"),
		dir("c/", early), dir("c/d/", early), file("c/d/new", "n"), file("c/d/old", "o"), file("e", "now a file"),
		file("same", "s"), link("same2", "same"), link("same3", "same"),
	)
	epoch := time.Unix(1000, 0)
	want := []tar.Header{
		dir("a/", late), file("a/same-size", "2"), file("a/names", "m"), link("a/names2", "a/names"),
		dir("c/", early), dir("c/d/", early), file("c/d/new", "n"), file("e", "now a file"), link("same3", "same"),
		{Typeflag: tar.TypeReg, Name: "a/.wh.gone", ModTime: epoch},
		dir("b/", early),
		{Typeflag: tar.TypeReg, Name: "b/.wh.gone", ModTime: epoch},
	}
	if got := layerOn(t, lower, upper); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := layerOn(t, lower, lower); len(got) > 0 {
		t.Errorf("the same tree makes a layer with %+v", got)
	}
}
