package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"codebeaker/runtime/shim"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "/.codebeaker/agent" {
		os.Exit(hostileAgent(os.Args))
	}
	// An in-process engine starts shims by running this binary.
	if shim.IsInvocation(os.Args[1:]) {
		if err := shim.Run(context.Background()); err != nil { //nolint:forbidigo // a process of its own
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if err := prepare(); err != nil {
		fmt.Fprintf(os.Stderr, "integration tests: %v\n", err)
		return 1
	}
	code := m.Run()
	if err := errors.Join(pythonServer.close(), busyboxServer.close(), stockServer.close()); err != nil {
		fmt.Fprintf(os.Stderr, "integration tests: end the shared servers: %v\n", err)
		code = max(code, 1)
	}
	return code
}

func prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("they make containers and need root: run make test as root (without, it runs the unit tests alone)")
	}
	for _, name := range []string{"codebeaker", "codebeaker-agent", "runc"} {
		if _, err := os.Stat(binary(name)); err != nil {
			return fmt.Errorf("%w (run make build)", err)
		}
	}
	programs := []string{"mmdebstrap", "busybox", "chromium", "docker-registry", "node", "npm"}
	if inVM() {
		programs = []string{"busybox", "systemctl"} // the others' tests are left out there
	}
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w (run make deps-test)", err)
		}
	}
	return nil
}

// inVM says whether this is the virtual machine of make test-vm: cgroup v2
// alone, systemd, and the product installed.
func inVM() bool { return os.Getenv("CODEBEAKER_TEST_VM") != "" }

// binary returns the path of one of the programs under test.
func binary(name string) string {
	dir := os.Getenv("CODEBEAKER_TEST_BIN")
	if dir == "" {
		dir = "../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return filepath.Join(dir, name)
	}
	return path
}
