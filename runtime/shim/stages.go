package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// StagesAnnotation is the path of a file in which the shim writes what making the
// container took (Stages), where it is there. A Create has no answer to say it in.
const StagesAnnotation = "io.codebeaker.stages"

// Stage is a part of making a container, and what it took.
type Stage struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"`
}

// The stages, one after the other.
const (
	stageMount = "mount" // the root filesystem
	stageRunc  = "runc"  // namespaces, mounts, cgroups, pid 1
	stageAgent = "agent" // pid 1 greets, and is looked at
)

// ReadStages reads and removes what a shim wrote.
func ReadStages(path string) ([]Stage, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what a container took: %w", err)
	}
	var stages []Stage
	if err := json.Unmarshal(text, &stages); err != nil {
		return nil, fmt.Errorf("read what a container took: %w", err)
	}
	return stages, os.Remove(path)
}

// stopwatch times stages that follow one another.
type stopwatch struct {
	since  time.Time
	stages []Stage
}

// lap says that a stage has ended that began where the last one ended.
func (w *stopwatch) lap(stage string) {
	now := time.Now()
	if stage != "" {
		w.stages = append(w.stages, Stage{stage, now.Sub(w.since)})
	}
	w.since = now
}

// write writes the stages where somebody asked for them.
func (w *stopwatch) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(w.stages)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write what a container took: %w", err)
	}
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
