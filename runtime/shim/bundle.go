package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/filter"
)

// AgentAnnotation marks a container whose pid 1 is the agent, started to start
// programs for the shim. Its value is the agent's path in the container.
// Containers without it are runc's own shim's.
const AgentAnnotation = "io.codebeaker.agent"

// FilterAnnotation has the seccomp filter (package filter) that the agent puts in
// force for itself, in place of a profile that runc would build one from.
const FilterAnnotation = "io.codebeaker.filter"

const (
	// AgentFD is the descriptor of the agent's socket in its process, which the
	// agent's role init takes as its argument.
	AgentFD = 3
	// FilterFD is that of its filter, where it has one to put in force.
	FilterFD = 4
)

// bundle is what of a container's specification matters to the shim.
type bundle struct {
	dir  string
	spec specs.Spec
}

// readBundle reads the specification in a bundle's directory.
func readBundle(dir string) (*bundle, error) {
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	b := &bundle{dir: dir}
	if err := json.Unmarshal(text, &b.spec); err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", dir, err)
	}
	return b, nil
}

// remove removes the directory and containerd's working directory of it, once the
// container is gone. It is containerd's to remove, which first has a new process
// of the shim's binary clean up in it, 10 to 20 ms of a processor for nothing;
// where there is no directory, that process is not started. A root that is still
// mounted is an error, and everything stays.
func (b *bundle) remove() error {
	if err := os.Remove(filepath.Join(b.dir, "rootfs")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove bundle: %w", err)
	}
	work, err := os.Readlink(filepath.Join(b.dir, "work"))
	if err == nil {
		err = os.RemoveAll(work)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove bundle: %w", err)
	}
	// As containerd does, which takes what has such a name for nobody's.
	hidden := filepath.Join(filepath.Dir(b.dir), "."+filepath.Base(b.dir))
	if err := os.Rename(b.dir, hidden); err != nil {
		return fmt.Errorf("remove bundle: %w", err)
	}
	if err := os.RemoveAll(hidden); err != nil {
		return fmt.Errorf("remove bundle: %w", err)
	}
	return nil
}

// agent returns the path of the agent in the container, empty where it has
// none.
func (b *bundle) agent() string { return b.spec.Annotations[AgentAnnotation] }

// filter returns the program that the agent has to put in force, or none where
// runc does.
func (b *bundle) filter() (filter.Program, error) {
	text := b.spec.Annotations[FilterAnnotation]
	if text == "" {
		return nil, nil
	}
	return filter.Parse(text)
}

// check says whether the shim can run the container.
func (b *bundle) check() error {
	refuse := func(what string) error {
		return fmt.Errorf("container %s: %w", what, errdefs.ErrInvalidArgument)
	}
	switch {
	case b.agent() == "":
		return refuse("without an agent (annotation " + AgentAnnotation + ")")
	case b.spec.Linux == nil || b.spec.Process == nil:
		return refuse("without a process on Linux")
	case !filepath.IsAbs(b.spec.Linux.CgroupsPath):
		return refuse("without the absolute path of a cgroup")
	case b.spec.Annotations[FilterAnnotation] != "" && (b.spec.Linux.Seccomp != nil || !b.spec.Process.NoNewPrivileges):
		return refuse("with a filter beside a profile, or without no_new_privs")
	case !b.ownPIDs():
		return refuse("without process ids of its own")
	}
	return nil
}

// ownPIDs says whether pid 1's end is everything's.
func (b *bundle) ownPIDs() bool {
	for _, ns := range b.spec.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace && ns.Path == "" {
			return true
		}
	}
	return false
}

// hostID returns the host's id of a user of the container, -1 where it has none.
func (b *bundle) hostID(id uint32) int { return mapped(b.spec.Linux.UIDMappings, id) }

// hostGID returns the host's id of a group of the container, -1 where it has
// none.
func (b *bundle) hostGID(id uint32) int { return mapped(b.spec.Linux.GIDMappings, id) }

func mapped(mappings []specs.LinuxIDMapping, id uint32) int {
	if len(mappings) == 0 {
		return int(id)
	}
	for _, m := range mappings {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return int(m.HostID + (id - m.ContainerID))
		}
	}
	return -1
}
