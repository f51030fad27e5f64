package shim

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/shim/direct"
)

func ask(t *testing.T, p specs.Process, terminal bool) (*direct.Request, error) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return parseRequest(text, "/agent", terminal)
}

func TestRequestIsWhatTheSpecificationSays(t *testing.T) {
	umask, score := uint32(0o77), 300
	r, err := ask(t, specs.Process{
		Args: []string{"ls", "-l"}, Env: []string{"A=b"}, Cwd: "/tmp", OOMScoreAdj: &score,
		User:        specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}, Umask: &umask},
		Rlimits:     []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 20}},
		ConsoleSize: &specs.Box{Height: 24, Width: 80},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Program
	if !slices.Equal(p.Args, []string{"ls", "-l"}) || !slices.Equal(p.Env, []string{"A=b"}) || p.Dir != "/tmp" ||
		p.UID != 1 || p.GID != 2 || !slices.Equal(p.Groups, []uint32{3}) || p.Umask != 0o77 ||
		!slices.Equal(p.Rlimits, []wire.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 10, Hard: 20}}) ||
		!p.Terminal || p.Rows != 24 || p.Columns != 80 || p.Soft || p.Line || r.Raw || r.OOMScore != 300 {
		t.Errorf("got %+v", r)
	}
}

func TestExecRoleIsTheProgramItself(t *testing.T) {
	r, err := ask(t, specs.Process{
		Args: []string{"/agent", "exec", "-dir", "/w", "-line", "-waitstatus", "-fork", "--", "echo", "-n"}, Cwd: "/",
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Program; !slices.Equal(p.Args, []string{"echo", "-n"}) || p.Dir != "/w" || !p.Line || !p.Soft || !p.Fork || !r.Raw || r.OOMScore != ProgramOOMScore {
		t.Errorf("got %+v", r)
	}
	// Another program may have such arguments.
	if r, err := ask(t, specs.Process{Args: []string{"/other", "exec", "--", "echo"}}, false); err != nil || r.Program.Soft {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := ask(t, specs.Process{Args: []string{"/agent", "exec", "--"}}, false); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no program: %v", err)
	}
}

func TestWhatTheAgentCannotDoIsRefused(t *testing.T) {
	for _, p := range []specs.Process{{ApparmorProfile: "x"}, {SelinuxLabel: "x"}} {
		if _, err := ask(t, p, false); !errdefs.IsNotImplemented(err) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if _, err := ask(t, specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_X"}}}, false); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a limit that there is not: %v", err)
	}
}

func TestFailuresHaveTheirClass(t *testing.T) {
	p := &wire.Program{Args: []string{"x"}}
	for _, tc := range []struct {
		stage wire.Stage
		errno unix.Errno
		class error
	}{
		{wire.StageExec, unix.ENOENT, errdefs.ErrNotFound},
		{wire.StageFork, unix.EAGAIN, errdefs.ErrResourceExhausted},
		{wire.StageFork, unix.ESRCH, errdefs.ErrUnavailable},
		{wire.StageUser, unix.EPERM, errdefs.ErrUnknown},
	} {
		err := explain(wire.Report{Stage: tc.stage, Errno: tc.errno}, p)
		if !errors.Is(err, tc.class) || !errors.Is(err, tc.errno) {
			t.Errorf("got %v; want %v", err, tc.class)
		}
	}
}

func TestZygoteRoleIsTheZygote(t *testing.T) {
	score := 100
	r, err := ask(t, specs.Process{Args: []string{"/agent", "zygote", "python3", "json"}, OOMScoreAdj: &score, Cwd: "/"}, false)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Program; !p.Zygote || p.Fork || p.Soft || !slices.Equal(p.Args, []string{"python3", "json"}) || r.OOMScore != 100 {
		t.Errorf("got %+v", r)
	}
	for _, args := range [][]string{{"/other", "zygote", "python3"}, {"/agent", "zygote"}} {
		if r, err := ask(t, specs.Process{Args: args}, false); err != nil || r.Program.Zygote {
			t.Errorf("%q: got %+v, %v", args, r, err)
		}
	}
}
