package output

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Spill is where logs put what is too much for memory.
type Spill struct {
	dir        string
	file, most int64
	log        *slog.Logger

	mu   sync.Mutex
	used int64
}

// NewSpill returns a place for files of up to file bytes each and most bytes
// together, in a directory that it makes. Its files have no names.
func NewSpill(dir string, file, most int64, log *slog.Logger) (*Spill, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory for output: %w", err)
	}
	return &Spill{dir: dir, file: file, most: most, log: log}, nil
}

// open returns an empty file and how much it may hold, or nil where there is no
// room or none can be made: output is then kept in memory alone.
func (s *Spill) open(least int64) (*os.File, int64) {
	if s.file <= least {
		return nil, 0
	}
	s.mu.Lock()
	full := s.used+s.file > s.most
	if !full {
		s.used += s.file
	}
	s.mu.Unlock()
	if full {
		return nil, 0
	}
	file, err := unnamed(s.dir)
	if err != nil {
		s.log.Warn("output is kept in memory alone", "directory", s.dir, "error", err)
		s.release(s.file)
		return nil, 0
	}
	return file, s.file
}

func (s *Spill) close(file *os.File, size int64) {
	_ = file.Close() // nobody reads it again
	s.release(size)
}

func (s *Spill) release(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= size
}

// unnamed makes a file without a name.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir+"/(output)"), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	file, err := os.CreateTemp(dir, "output-*")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}
