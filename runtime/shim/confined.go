package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// confined says whether every thread of a process has the shim's own filters of
// system calls, which are mostly none, and one more. That is asked of the
// kernel, whoever says to have put one in force.
func (p *process) confined() error {
	own, err := filters("/proc/self")
	if err != nil {
		return err
	}
	return p.admit(func(proc string) error {
		threads, err := os.ReadDir(filepath.Join(proc, "task"))
		if err != nil {
			return err
		}
		if len(threads) == 0 {
			return errFinished
		}
		for _, t := range threads {
			n, err := filters(filepath.Join(proc, "task", t.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has ended
			}
			if err != nil {
				return err
			}
			if n != own+1 {
				return fmt.Errorf("the agent has %d filters of system calls in force; it should have %d: %w", n, own+1, errdefs.ErrFailedPrecondition)
			}
		}
		return nil
	})
}

// filters counts the filters of a thread, whose directory in /proc is given.
func filters(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, fmt.Errorf("read filters of system calls: %w", err)
	}
	return parseFilters(string(text))
}

func parseFilters(status string) (int, error) {
	mode, n := "", -1
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Seccomp":
			mode = strings.TrimSpace(value)
		case "Seccomp_filters":
			if number, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				n = number
			}
		}
	}
	switch {
	case mode == "2" && n > 0:
		return n, nil
	case mode == "0" && n == 0:
		return 0, nil
	default:
		return 0, fmt.Errorf("read filters of system calls: mode %q with %d: %w", mode, n, errdefs.ErrFailedPrecondition)
	}
}
