package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// agentBytes is what the agent's binary may have, which is mapped into every
	// session.
	agentBytes = 3_000_000
	// agentKiB is what an agent may take of memory in each of its roles, where
	// agentsAlive live together and share what they have of their binary.
	agentKiB    = 1536
	agentsAlive = 100
)

func TestAgentIsSmall(t *testing.T) {
	if info, err := os.Stat(binary("codebeaker-agent")); err != nil || info.Size() > agentBytes {
		t.Errorf("the agent's binary: %v, %v", info, err)
	} else {
		t.Logf("its binary has %d bytes", info.Size())
	}
	huge, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if bytes.Contains(huge, []byte("[always]")) {
		t.Skip("the kernel gives everyone memory in huge pages, asked or not")
	}
	s := busybox(t)
	const sessions = 8
	own, shared := map[string]int{}, map[string]int{} // KiB of all, by role
	roles := []string{"init", "files"}
	for range sessions {
		b := s.session(t, nil)
		b.sh("true") // so that each has done what it is for
		b.do(object{"type": "write_file", "path": "x", "content": "x"})
		for _, role := range roles {
			memory := s.agentMemory(t, b.info.ContainerID, role)
			mine := memory["Private_Clean"] + memory["Private_Dirty"]
			own[role] += mine
			shared[role] += memory["Rss"] - mine
		}
	}
	for _, role := range roles {
		each := (own[role] + shared[role]/agentsAlive) / sessions
		t.Logf("as %s it has %d KiB of its own, and %d with its part of what %d share", role, own[role]/sessions, each, agentsAlive)
		if each > agentKiB || own[role] == 0 {
			t.Errorf("as %s it takes %d KiB, more than %d", role, each, agentKiB)
		}
	}
}

// agentMemory returns what /proc/PID/smaps_rollup says of the agent in a role in
// a container, in KiB.
func (s *server) agentMemory(t *testing.T, container, role string) map[string]int {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		dir := filepath.Dir(path)
		command, err := os.ReadFile(path)
		cgroups, cerr := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || cerr != nil || // it has ended
			!bytes.Contains(command, []byte("/agent\x00"+role+"\x00")) || !bytes.Contains(cgroups, []byte(container)) {
			continue
		}
		rollup, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
		if err != nil {
			t.Fatal(err)
		}
		memory := map[string]int{}
		for line := range strings.Lines(string(rollup)) {
			var name string
			var kib int
			if n, _ := fmt.Sscan(line, &name, &kib); n == 2 {
				memory[strings.TrimSuffix(name, ":")] = kib
			}
		}
		return memory
	}
	t.Fatalf("container %s has no agent as %s", container, role)
	return nil
}
