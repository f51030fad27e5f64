package agent

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"
)

const (
	// listStep is how many names are read of a directory at a time.
	listStep = 512
	// replyPathBytes is how many bytes of paths go into one reply. Encoded, three
	// take four, and no path is longer than unix.PathMax.
	replyPathBytes = 16 << 10
)

// listing gathers the entries of a directory tree that come first in the order
// of their paths, and no more than may be kept, however many there are.
type listing struct {
	req *FileRequest
	// kept is a heap with the last path on top.
	kept  []FileEntry
	bytes int
	// bound is the first path that was not kept, where truncated; none from
	// there on is.
	bound     string
	truncated bool
}

// list lists a directory. Subdirectories that cannot be read, or that vanish
// meanwhile, are listed without what is in them.
func list(ctx context.Context, req *FileRequest) (*listing, error) {
	l := &listing{req: req}
	dir, err := openDirectory(unix.AT_FDCWD, string(req.Path), string(req.Path), 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	depth := req.Depth
	switch {
	case !req.Recursive:
		depth = 1
	case depth == 0:
		depth = -1
	}
	if err := l.walk(ctx, dir, "", depth); err != nil {
		return nil, err
	}
	return l, nil
}

// openDirectory opens a directory in another. Its path is for file systems that
// do not say of what type an entry is, which os then looks up.
func openDirectory(at int, name, full string, flags int) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), full), nil
}

// walk lists a directory whose path with a slash is prefix, and depth levels of
// it; a negative depth is all. Its error is that of the directory itself or the
// end of ctx.
func (l *listing) walk(ctx context.Context, dir *os.File, prefix string, depth int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, err := dir.ReadDir(listStep)
		for _, d := range names {
			if err := l.visit(ctx, dir, d, prefix, depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || err == nil && len(names) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *listing) visit(ctx context.Context, dir *os.File, d fs.DirEntry, prefix string, depth int) error {
	if !l.req.Hidden && strings.HasPrefix(d.Name(), ".") {
		return nil
	}
	name := prefix + d.Name()
	if name > string(l.req.After) && l.matches(name) {
		l.add(dir, d.Name(), name)
	}
	below := name + "/"
	// A longer path could not be given back in a command.
	tooLong := len(l.req.Path)+1+len(below) >= unix.PathMax
	if !d.IsDir() || depth == 1 || tooLong || l.truncated && below >= l.bound || allBefore(below, string(l.req.After)) {
		return nil
	}
	sub, err := openDirectory(int(dir.Fd()), d.Name(), dir.Name()+"/"+d.Name(), unix.O_NOFOLLOW)
	if err != nil {
		return nil // vanished, or not to be read
	}
	defer sub.Close()
	if err := l.walk(ctx, sub, below, depth-1); ctx.Err() != nil {
		return err
	}
	return nil
}

// allBefore says whether all paths that begin with prefix come before after.
func allBefore(prefix, after string) bool {
	return prefix < after && !strings.HasPrefix(after, prefix)
}

// matches applies the pattern, which the host has checked.
func (l *listing) matches(name string) bool {
	pattern := l.req.Pattern
	if pattern == "" {
		return true
	}
	if !strings.Contains(pattern, "/") {
		name = path.Base(name)
	}
	ok, err := doublestar.Match(pattern, name)
	return ok && err == nil
}

// add keeps an entry, if it is among the first.
func (l *listing) add(dir *os.File, base, name string) {
	if l.truncated && name >= l.bound {
		return
	}
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return // vanished
	}
	l.bytes += l.cost(name)
	heap.Push((*lastOnTop)(&l.kept), FileEntry{
		Path: FilePath(name), Mode: st.Mode, Size: st.Size, Seconds: st.Mtim.Sec, Nanoseconds: st.Mtim.Nsec,
	})
	for len(l.kept) > l.req.MaxEntries || l.bytes > l.req.MaxBytes {
		last, _ := heap.Pop((*lastOnTop)(&l.kept)).(FileEntry)
		l.bytes -= l.cost(string(last.Path))
		l.truncated, l.bound = true, string(last.Path)
	}
}

// cost is what an entry takes of MaxBytes. A path that is no text is told twice:
// with U+FFFD, and in base64.
func (l *listing) cost(name string) int {
	n := len(l.req.Path) + 1 + len(name)
	if !utf8.ValidString(name) {
		n *= len("\uFFFD") + 2
	}
	return n
}

// replies turns the listing into replies that fit into packets.
func (l *listing) replies() []FileReply {
	slices.SortFunc(l.kept, func(a, b FileEntry) int { return strings.Compare(string(a.Path), string(b.Path)) })
	replies := []FileReply{{}}
	bytes := 0
	for _, e := range l.kept {
		const others = 64 // as much as a short path
		if bytes += len(e.Path) + others; bytes > replyPathBytes {
			replies, bytes = append(replies, FileReply{}), len(e.Path)+others
		}
		last := &replies[len(replies)-1]
		last.Entries = append(last.Entries, e)
	}
	for i := range replies {
		replies[i].More = i < len(replies)-1
		replies[i].Truncated = l.truncated
	}
	return replies
}

// lastOnTop is a heap of entries with the last path on top.
type lastOnTop []FileEntry

func (h lastOnTop) Len() int           { return len(h) }
func (h lastOnTop) Less(i, j int) bool { return h[i].Path > h[j].Path }
func (h lastOnTop) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lastOnTop) Push(x any)        { *h = append(*h, x.(FileEntry)) } //nolint:errcheck // only ours
func (h *lastOnTop) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
