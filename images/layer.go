package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// maxStatusBytes bounds dpkg's status file, which is kept in memory.
	maxStatusBytes = 16 << 20
	statusFile     = "var/lib/dpkg/status"
)

// layerRules say what becomes of the files of a root file system.
type layerRules struct {
	// Epoch is what times after it are set back to, in seconds since 1970.
	Epoch int64
	// Caches are directories whose files are dated cacheTime.
	Caches []string
	// Private is what is left out: files, and directories with a slash at the
	// end for what is in them.
	Private []string
}

// canonicalize copies a root file system from one tar stream to another, so
// that the bytes of the result depend on what the files are and not on the
// host or the version of its tar. It treats times and files as the rules say,
// drops the names of owners and all extended attributes but capabilities, and
// drops what a sandbox has no use for: device nodes, the content of /dev, and
// set-user-id bits.
//
// Where lower is not nil, the result is a layer upon that tree: it has what is
// other than there. canonicalize returns what the whole tree has, and the
// content of dpkg's status file.
func canonicalize(w io.Writer, r io.Reader, rules layerRules, lower tree) (all tree, status []byte, err error) {
	in := tar.NewReader(r)
	l := &layerWriter{out: tar.NewWriter(w), lower: lower, all: make(tree), written: make(map[string]bool)}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read root file system: %w", err)
		}
		h, ok := rules.header(h)
		if !ok {
			continue
		}
		var content io.Reader = in
		if h.Name == statusFile {
			if status, err = readStatus(in, h.Size); err != nil {
				return nil, nil, err
			}
			content = bytes.NewReader(status)
		}
		if err := l.add(h, content); err != nil {
			return nil, nil, fmt.Errorf("write layer: %s: %w", h.Name, err)
		}
	}
	if err := l.finish(rules); err != nil {
		return nil, nil, fmt.Errorf("write layer: %w", err)
	}
	// tar pads its output; the writer at the other end would see a closed pipe.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, nil, fmt.Errorf("read root file system: %w", err)
	}
	return l.all, status, nil
}

func readStatus(r io.Reader, size int64) ([]byte, error) {
	if size > maxStatusBytes {
		return nil, fmt.Errorf("read root file system: %s has %d bytes", statusFile, size)
	}
	status, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read root file system: %s: %w", statusFile, err)
	}
	return status, nil
}

// header returns a file's header as canonicalize writes it, or false where the
// file is dropped.
func (rules layerRules) header(h *tar.Header) (*tar.Header, bool) {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" || strings.HasPrefix(name, "dev/") || slices.ContainsFunc(rules.Private, func(private string) bool {
		return name == private || strings.HasSuffix(private, "/") && strings.HasPrefix(name, private)
	}) {
		return nil, false
	}
	c := &tar.Header{
		Typeflag: h.Typeflag,
		Name:     name,
		Linkname: h.Linkname,
		Size:     h.Size,
		Mode:     h.Mode & 0o7777,
		Uid:      h.Uid,
		Gid:      h.Gid,
		ModTime:  h.ModTime.Truncate(time.Second),
	}
	if epoch := time.Unix(rules.Epoch, 0); c.ModTime.After(epoch) {
		c.ModTime = epoch
	}
	if slices.ContainsFunc(rules.Caches, func(dir string) bool { return strings.HasPrefix(name, dir+"/") }) {
		c.ModTime = time.Unix(cacheTime, 0)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		c.Name += "/"
	case tar.TypeReg:
		c.Mode &^= 0o6000
		const capability = "SCHILY.xattr.security.capability"
		if v, ok := h.PAXRecords[capability]; ok {
			c.PAXRecords = map[string]string{capability: v}
		}
	case tar.TypeLink:
		c.Mode &^= 0o6000
		c.Linkname = strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
	case tar.TypeSymlink:
	default:
		return nil, false
	}
	return c, true
}

// layerWriter writes those files to a layer that the tree below has not.
type layerWriter struct {
	out   *tar.Writer
	lower tree // nil where there is none
	all   tree
	// written are the names of what is in the layer.
	written map[string]bool
}

// add takes the next file of the root file system. A directory comes before
// what is in it, and a file before other names for it, as tar has them.
func (l *layerWriter) add(h *tar.Header, content io.Reader) error {
	e := entry{header: h}
	name := strings.TrimSuffix(h.Name, "/")
	below, there := l.lower[name]
	there = there && sameHeader(below.header, h)
	var sum hash.Hash
	switch {
	case h.Typeflag == tar.TypeLink:
		// A name of a file that changed is a name of the new file.
		there = there && !l.written[h.Linkname]
	case h.Typeflag != tar.TypeReg:
	case there:
		// As long as a file below, so memory has room.
		data, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		e.sum = sha256.Sum256(data)
		there = e.sum == below.sum
		content = bytes.NewReader(data)
	default:
		sum = sha256.New()
		content = io.TeeReader(content, sum)
	}
	if !there {
		if err := l.write(h, content); err != nil {
			return err
		}
	}
	if sum != nil {
		sum.Sum(e.sum[:0])
	}
	l.all[name] = e
	return nil
}

// write writes a file and, where that was not done, the directories that it is
// in: without them they would have the time of their unpacking.
func (l *layerWriter) write(h *tar.Header, content io.Reader) error {
	name := strings.TrimSuffix(h.Name, "/")
	if dir := path.Dir(name); dir != "." && !l.written[dir] {
		if parent, ok := l.all[dir]; ok {
			if err := l.write(parent.header, nil); err != nil {
				return err
			}
		}
	}
	l.written[name] = true
	if err := l.out.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := io.Copy(l.out, content)
	return err
}

// finish writes what takes away the files of the tree below that are gone.
func (l *layerWriter) finish(rules layerRules) error {
	for _, name := range l.lower.without(l.all) {
		const whiteout = ".wh." // of OCI's image specification, "Whiteouts"
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(path.Dir(name), whiteout+path.Base(name)), ModTime: time.Unix(rules.Epoch, 0),
		}
		if err := l.write(h, bytes.NewReader(nil)); err != nil {
			return err
		}
	}
	return l.out.Close()
}
