package images

import (
	"archive/tar"
	"crypto/sha256"
	"maps"
	"path"
	"slices"
)

// tree is what a root file system has, by names without leading or trailing
// slashes.
type tree map[string]entry

// entry is a file, a directory or a link.
type entry struct {
	header *tar.Header
	sum    [sha256.Size]byte // of a file's content
}

// sameHeader compares headers that canonicalize made.
func sameHeader(a, b *tar.Header) bool {
	return a.Typeflag == b.Typeflag && a.Linkname == b.Linkname && a.Size == b.Size && a.Mode == b.Mode &&
		a.Uid == b.Uid && a.Gid == b.Gid && a.ModTime.Equal(b.ModTime) && maps.Equal(a.PAXRecords, b.PAXRecords)
}

// without returns the names that are in t and not in other, sorted, without
// those that go with a directory above them.
func (t tree) without(other tree) []string {
	var names []string
	for name := range t {
		if _, ok := other[name]; ok {
			continue
		}
		dir := path.Dir(name)
		if parent, ok := other[dir]; dir == "." || ok && parent.header.Typeflag == tar.TypeDir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
