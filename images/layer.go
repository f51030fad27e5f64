package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxStatusBytes bounds dpkg's status file, which is kept in memory.
const maxStatusBytes = 16 << 20

// canonicalize copies a root file system from one tar stream to another, so
// that the bytes of the result depend on what the files are and not on the
// host or the version of its tar. It sets times after the recipe's epoch back to
// it and those in its caches to cacheTime, drops the names of owners and all
// extended attributes but capabilities, and drops what a sandbox has no use for:
// device nodes, the content of /dev, and set-user-id bits. It returns the
// content of dpkg's status file.
func canonicalize(w io.Writer, r io.Reader, from *recipe) (status []byte, err error) {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read root file system: %w", err)
		}
		h, ok := canonicalHeader(h, from)
		if !ok {
			continue
		}
		if err := out.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("write layer: %s: %w", h.Name, err)
		}
		var content io.Reader = in
		if h.Name == "var/lib/dpkg/status" {
			if h.Size > maxStatusBytes {
				return nil, fmt.Errorf("read root file system: %s has %d bytes", h.Name, h.Size)
			}
			if status, err = io.ReadAll(in); err != nil {
				return nil, fmt.Errorf("read root file system: %s: %w", h.Name, err)
			}
			content = bytes.NewReader(status)
		}
		if _, err := io.Copy(out, content); err != nil {
			return nil, fmt.Errorf("write layer: %s: %w", h.Name, err)
		}
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	// tar pads its output; the writer at the other end would see a closed pipe.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("read root file system: %w", err)
	}
	return status, nil
}

// canonicalHeader returns a file's header as canonicalize writes it, or false
// where the file is dropped.
func canonicalHeader(h *tar.Header, from *recipe) (*tar.Header, bool) {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" || strings.HasPrefix(name, "dev/") {
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
	if epoch := time.Unix(from.Epoch, 0); c.ModTime.After(epoch) {
		c.ModTime = epoch
	}
	if slices.ContainsFunc(from.Caches, func(dir string) bool { return strings.HasPrefix(name, dir+"/") }) {
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

// repacked is what Debian adds to the version of a source that it left something
// out of.
var repacked = regexp.MustCompile(`[+~](dfsg|ds)[0-9.]*$`)

// packageVersion returns the upstream version of a package, "3.13.5" for
// Debian's "1:3.13.5-1" and "20.19.2" for "20.19.2+dfsg-1", from dpkg's status
// file. It returns an empty text where the package is not there.
func packageVersion(status []byte, name string) string {
	for stanza := range bytes.SplitSeq(status, []byte("\n\n")) {
		f := fields(stanza)
		if f["Package"] != name {
			continue
		}
		version := f["Version"]
		if _, v, ok := strings.Cut(version, ":"); ok {
			version = v
		}
		if i := strings.LastIndexByte(version, '-'); i >= 0 {
			version = version[:i]
		}
		return repacked.ReplaceAllString(version, "")
	}
	return ""
}
