package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/engine"
	"codebeaker/runtime/shim"
)

// builtIn are the runtimes that the binary is.
var builtIn = []string{shim.StockName, shim.Name}

// taskOf is the task of a session, as containerd's own tools see it.
type taskOf struct {
	containerd.Task
	t         *testing.T
	ctx       context.Context //nolint:containedctx // it is one test's
	client    *containerd.Client
	container containerd.Container
	spec      *oci.Spec
	n         int
}

// operator connects to a server's containerd as its operator would.
func operator(t *testing.T, s *server) (context.Context, *containerd.Client) {
	t.Helper()
	e, err := engine.Dial(t.Context(), engine.SocketPath(s.state), engine.DefaultNamespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return namespaces.WithNamespace(t.Context(), engine.DefaultNamespace), e.Client()
}

func newTaskOf(t *testing.T, s *server, id string) *taskOf {
	t.Helper()
	ctx, client := operator(t, s)
	c, err := client.LoadContainer(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := c.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.Task(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &taskOf{Task: task, t: t, ctx: ctx, client: client, container: c, spec: spec}
}

// process is that of ctr task exec: pid 1's, but for its arguments and user.
func (k *taskOf) process(args ...string) *specs.Process {
	p := *k.spec.Process
	p.Args, p.User, p.Cwd = args, specs.User{UID: 1000, GID: 1000}, "/"
	p.Env = []string{"PATH=/usr/bin:/bin", "FROM=client"}
	return &p
}

// begin adds an exec, whose end comes to the channel once it was started.
func (k *taskOf) begin(p *specs.Process, streams cio.Creator) (containerd.Process, <-chan containerd.ExitStatus) {
	k.t.Helper()
	k.n++
	e, err := k.Exec(k.ctx, fmt.Sprintf("test-%d", k.n), p, streams)
	if err != nil {
		k.t.Fatalf("exec %q: %v", p.Args, err)
	}
	exit, err := e.Wait(k.ctx)
	if err != nil {
		k.t.Fatalf("wait for %q: %v", p.Args, err)
	}
	k.t.Cleanup(func() { // where it was not deleted
		_, _ = e.Delete(context.WithoutCancel(k.ctx), containerd.WithProcessKill)
	})
	return e, exit
}

// output runs a program to its end.
func (k *taskOf) output(stdin string, p *specs.Process) (stdout, stderr string, code uint32) {
	k.t.Helper()
	var out, errOut bytes.Buffer
	e, exit := k.begin(p, cio.NewCreator(cio.WithStreams(strings.NewReader(stdin), &out, &errOut)))
	if err := e.Start(k.ctx); err != nil {
		k.t.Fatalf("start %q: %v", p.Args, err)
	}
	if err := e.CloseIO(k.ctx, containerd.WithStdinCloser); err != nil && !errdefs.IsNotFound(err) {
		k.t.Errorf("close the input of %q: %v", p.Args, err)
	}
	select {
	case status := <-exit:
		code = status.ExitCode()
	case <-time.After(patience):
		k.t.Fatalf("%q does not end", p.Args)
	}
	if status, err := e.Delete(k.ctx); err != nil || status.ExitCode() != code {
		k.t.Errorf("delete %q: %v, %v", p.Args, status, err)
	}
	return out.String(), errOut.String(), code
}

func (k *taskOf) status() containerd.ProcessStatus {
	k.t.Helper()
	s, err := k.Status(k.ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	return s.Status
}

// each runs a test on a session of each built-in runtime.
func each(t *testing.T, f func(t *testing.T, s *server, b *sandbox, k *taskOf)) {
	t.Helper()
	for _, runtime := range builtIn {
		t.Run(runtime, func(t *testing.T) {
			s := private(t, "--runtime", runtime)
			b := s.session(t, nil)
			f(t, s, b, newTaskOf(t, s, b.info.ContainerID))
		})
	}
}

func TestExecByContainerdsClient(t *testing.T) {
	each(t, func(t *testing.T, _ *server, _ *sandbox, k *taskOf) { //nolint:thelper // it is the test
		t.Run("streams and exit code", func(t *testing.T) {
			out, errOut, code := k.output("from stdin", k.process("sh", "-c", "cat; echo no >&2; exit 3"))
			if out != "from stdin" || errOut != "no\n" || code != 3 {
				t.Errorf("printed %q and %q, ended with %d", out, errOut, code)
			}
		})
		t.Run("a signal is 128 and its number", func(t *testing.T) {
			if _, _, code := k.output("", k.process("sh", "-c", "kill -TERM $$")); code != 128+15 {
				t.Errorf("ended with %d", code)
			}
		})
		t.Run("what it is given", func(t *testing.T) {
			p := k.process("sh", "-c", "id -u; id -g; pwd; echo $FROM; ulimit -n")
			p.User.UID, p.User.GID, p.Cwd = 1234, 1235, "/tmp"
			p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}
			if out, errOut, _ := k.output("", p); out != "1234\n1235\n/tmp\nclient\n100\n" {
				t.Errorf("printed %q, %q", out, errOut)
			}
		})
		t.Run("an environment like runc's", func(t *testing.T) {
			p := k.process("sh", "-c", "echo $HOME; echo $TWICE")
			p.Env = append(p.Env, "TWICE=1", "TWICE=2")
			if out, errOut, _ := k.output("", p); out != "/workspace\n2\n" {
				t.Errorf("printed %q, %q", out, errOut)
			}
		})
		t.Run("more arguments than fit a message", func(t *testing.T) {
			p := k.process("sh", "-c", "echo ${#LARGE}")
			for n := range 20 {
				p.Env = append(p.Env, fmt.Sprintf("V%d=%s", n, strings.Repeat("x", 50_000)))
			}
			p.Env = append(p.Env, "LARGE="+strings.Repeat("x", 100_000))
			if out, errOut, _ := k.output("", p); out != "100000\n" {
				t.Errorf("printed %q, %q", out, errOut)
			}
		})
		t.Run("a program that is missing does not start", func(t *testing.T) {
			e, _ := k.begin(k.process("no-such-program"), cio.NullIO)
			if err := e.Start(k.ctx); err == nil || !strings.Contains(err.Error(), "no-such-program") {
				t.Errorf("started, %v", err)
			}
			if _, err := e.Delete(k.ctx); err != nil {
				t.Errorf("delete what did not start: %v", err)
			}
		})
		t.Run("a terminal", func(t *testing.T) {
			p := k.process("sh", "-c", "ls -l /proc/self/fd/0; read line; echo got $line")
			p.Terminal, p.ConsoleSize = true, &specs.Box{Height: 33, Width: 77}
			var out bytes.Buffer
			e, exit := k.begin(p, cio.NewCreator(cio.WithTerminal, cio.WithStreams(strings.NewReader("word\n"), &out, nil)))
			if err := e.Start(k.ctx); err != nil {
				t.Fatal(err)
			}
			// It may have ended by then, which runc's shim says without a class.
			if err := e.Resize(k.ctx, 80, 24); err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "stopped container") {
				t.Errorf("resize: %v", err)
			}
			select {
			case status := <-exit:
				if status.ExitCode() != 0 {
					t.Errorf("ended with %d", status.ExitCode())
				}
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			if _, err := e.Delete(k.ctx); err != nil {
				t.Error(err)
			}
			if got := out.String(); !strings.Contains(got, "-> /dev/pts/") || !strings.Contains(got, "got word\r\n") {
				t.Errorf("printed %q", got)
			}
		})
		t.Run("the same id twice", func(t *testing.T) {
			e, _ := k.begin(k.process("true"), cio.NullIO)
			if _, err := k.Exec(k.ctx, e.ID(), k.process("true"), cio.NullIO); !errdefs.IsAlreadyExists(err) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("signals and states", func(t *testing.T) {
			e, exit := k.begin(k.process("sleep", "1000"), cio.NullIO)
			if err := e.Kill(k.ctx, syscall.SIGTERM); err == nil {
				t.Error("a process that was not started took a signal")
			}
			if err := e.Start(k.ctx); err != nil {
				t.Fatal(err)
			}
			if s, err := e.Status(k.ctx); err != nil || s.Status != containerd.Running {
				t.Errorf("it is %+v, %v", s, err)
			}
			if _, err := e.Delete(k.ctx); err == nil {
				t.Error("a process that runs was deleted")
			}
			eventually(t, func() error { // it may not be the program yet
				if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", e.Pid())); err != nil || string(text) != "sleep\x001000\x00" {
					return fmt.Errorf("its number on the host is that of %q, %w", text, err)
				}
				return nil
			})
			pids, err := k.Pids(k.ctx)
			if err != nil || !slices.ContainsFunc(pids, func(p containerd.ProcessInfo) bool {
				var details options.ProcessDetails
				return p.Pid == e.Pid() && p.Info != nil && typeurl.UnmarshalTo(p.Info, &details) == nil && details.ExecID == e.ID()
			}) {
				t.Errorf("processes are %+v, %v; want %d among them", pids, err, e.Pid())
			}
			if err := e.Kill(k.ctx, syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if status := <-exit; status.ExitCode() != 128+15 {
				t.Errorf("ended with %d", status.ExitCode())
			}
			if err := e.Kill(k.ctx, syscall.SIGTERM); !errdefs.IsNotFound(err) {
				t.Errorf("a signal to one that ended: %v", err)
			}
			if s, err := e.Status(k.ctx); err != nil || s.Status != containerd.Stopped || s.ExitStatus != 128+15 {
				t.Errorf("it is %+v, %v", s, err)
			}
		})
	})
}

func TestTaskByContainerdsClient(t *testing.T) {
	each(t, func(t *testing.T, s *server, b *sandbox, k *taskOf) { //nolint:thelper // it is the test
		if got := k.status(); got != containerd.Running {
			t.Errorf("the task is %s", got)
		}
		t.Run("metrics", func(t *testing.T) {
			m, err := k.Metrics(k.ctx)
			if err != nil {
				t.Fatal(err)
			}
			stats, err := typeurl.UnmarshalAny(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			var limit, pids uint64
			switch m := stats.(type) {
			case *v1.Metrics:
				limit, pids = m.GetMemory().GetUsage().GetLimit(), m.GetPids().GetCurrent()
			case *v2.Metrics:
				limit, pids = m.GetMemory().GetUsageLimit(), m.GetPids().GetCurrent()
			}
			if limit != 512<<20 || pids == 0 {
				t.Errorf("a limit of %d bytes, %d processes: %T", limit, pids, stats)
			}
		})
		t.Run("other limits", func(t *testing.T) {
			limit := int64(256 << 20)
			if err := k.Update(k.ctx, containerd.WithResources(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}})); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
				for _, root := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
					text, err := os.ReadFile(filepath.Join(root, s.parent, b.info.ContainerID, file))
					if err == nil && strings.TrimSpace(string(text)) != strconv.FormatInt(limit, 10) {
						t.Errorf("%s is %s", file, text)
					}
				}
			}
		})
		t.Run("pause and resume", func(t *testing.T) {
			if err := k.Pause(k.ctx); err != nil {
				t.Fatal(err)
			}
			if got := k.status(); got != containerd.Paused {
				t.Errorf("the task is %s", got)
			}
			k.n++
			if e, err := k.Exec(k.ctx, fmt.Sprintf("test-%d", k.n), k.process("true"), cio.NullIO); err == nil {
				if err := e.Start(k.ctx); err == nil {
					t.Error("a paused task started a process")
				}
				_, _ = e.Delete(k.ctx)
			}
			if err := k.Resume(k.ctx); err != nil {
				t.Fatal(err)
			}
			if got := k.status(); got != containerd.Running {
				t.Errorf("the task is %s", got)
			}
			if got := b.sh("echo on").Stdout; got != "on\n" {
				t.Errorf("a resumed session printed %q", got)
			}
		})
		t.Run("a signal for all", func(t *testing.T) {
			e, exit := k.begin(k.process("sleep", "1000"), cio.NullIO)
			if err := e.Start(k.ctx); err != nil {
				t.Fatal(err)
			}
			if err := k.Kill(k.ctx, syscall.SIGUSR1, containerd.WithKillAll); err != nil {
				t.Fatal(err)
			}
			if _, direct := k.spec.Annotations[shim.AgentAnnotation]; !direct {
				// runc sends it to pid 1 alone, unless it is the last.
				if err := e.Kill(k.ctx, syscall.SIGUSR1); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case status := <-exit:
				if status.ExitCode() != 128+10 {
					t.Errorf("ended with %d", status.ExitCode())
				}
			case <-time.After(patience):
				t.Error("it did not reach the process")
			}
			if got := k.status(); got != containerd.Running { // pid 1 takes no such signal
				t.Errorf("the task is %s", got)
			}
		})
	})
}

func TestCheckpointIsNotImplemented(t *testing.T) {
	s := private(t, "--runtime", shim.Name)
	k := newTaskOf(t, s, s.session(t, nil).info.ContainerID)
	if _, err := k.Checkpoint(k.ctx); !errdefs.IsNotImplemented(err) {
		t.Errorf("got %v", err)
	}
	if got := k.status(); got != containerd.Running { // containerd paused it for that
		t.Errorf("the task is %s", got)
	}
}

func TestTaskTellsWhatHappens(t *testing.T) {
	for _, runtime := range builtIn {
		t.Run(runtime, func(t *testing.T) {
			s := private(t, "--runtime", runtime)
			ctx, client := operator(t, s)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			events, errs := client.EventService().Subscribe(ctx, `topic~="/tasks/"`)
			var mu sync.Mutex
			said := map[string][]string{} // by container
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					select {
					case e := <-events:
						v, err := typeurl.UnmarshalAny(e.Event)
						if err != nil {
							t.Error(err)
							continue
						}
						id, exec := "", ""
						switch v := v.(type) {
						case *eventstypes.TaskCreate:
							id = v.ContainerID
						case *eventstypes.TaskStart:
							id = v.ContainerID
						case *eventstypes.TaskExecAdded:
							id, exec = v.ContainerID, v.ExecID
						case *eventstypes.TaskExecStarted:
							id, exec = v.ContainerID, v.ExecID
						case *eventstypes.TaskExit:
							if id = v.ContainerID; v.ID != id {
								exec = v.ID
							}
						case *eventstypes.TaskDelete:
							id = v.ContainerID
						case *eventstypes.TaskOOM:
							id = v.ContainerID
						}
						if exec != "" {
							exec = " exec"
						}
						mu.Lock()
						said[id] = append(said[id], strings.TrimPrefix(e.Topic, "/tasks/")+exec)
						mu.Unlock()
					case <-errs:
						return
					}
				}
			}()
			b := s.session(t, object{"memoryLimitMB": 64})
			id := b.info.ContainerID
			b.sh("true")
			b.sh("tail -c 200000000 /dev/zero")
			b.close()
			has := func(what string) func() error {
				return func() error {
					mu.Lock()
					defer mu.Unlock()
					if !slices.Contains(said[id], what) {
						return fmt.Errorf("no %s in %q", what, said[id])
					}
					return nil
				}
			}
			want := []string{"create", "start", "exec-added exec", "exec-started exec", "exit exec", "exit", "delete"}
			if runtime == shim.StockName {
				want = want[:5] // it may end before it has said that of its container
			}
			for _, what := range append([]string{"oom"}, want...) {
				eventually(t, has(what))
			}
			cancel()
			<-done
			got := said[id]
			last := slices.Index(got, "delete")
			if runtime == shim.StockName {
				last = len(got)
			}
			for i, first := range want {
				if i == 0 && got[0] != first || slices.Index(got, first) > last {
					t.Errorf("%s is not where it should be: %q", first, got)
				}
			}
		})
	}
}

func TestOrdinaryImageRunsOnTheShim(t *testing.T) {
	s := private(t)
	ctx, client := operator(t, s)
	images, err := client.ListImages(ctx)
	if err != nil || len(images) == 0 {
		t.Fatalf("images: %v, %v", images, err)
	}
	c, err := client.NewContainer(ctx, "ordinary",
		containerd.WithNewSnapshot("ordinary", images[0]),
		containerd.WithNewSpec(oci.WithImageConfig(images[0]), oci.WithProcessArgs("sh", "-c", "echo pid $$; read line; exit 3"),
			oci.WithCgroup(s.parent+"/ordinary"), oci.WithDefaultPathEnv),
		containerd.WithRuntime(binary("codebeaker"), &options.Options{BinaryName: binary("runc"), Root: filepath.Join(s.state, shim.RuncRoot)}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Delete(context.WithoutCancel(ctx), containerd.WithSnapshotCleanup); err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	in, write := io.Pipe()
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(in, &out, io.Discard)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := task.Delete(context.WithoutCancel(ctx), containerd.WithProcessKill); err != nil {
			t.Error(err)
		}
	}()
	exit, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	spec, err := c.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	k := &taskOf{Task: task, t: t, ctx: ctx, client: client, container: c, spec: spec}
	if got, errOut, code := k.output("", k.process("sh", "-c", "echo beside; exit 4")); got != "beside\n" || code != 4 {
		t.Errorf("an exec printed %q, %q, and ended with %d", got, errOut, code)
	}
	if _, err := write.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if status := <-exit; status.ExitCode() != 3 {
		t.Errorf("ended with %d", status.ExitCode())
	}
	task.IO().Wait()
	if got := out.String(); got != "pid 1\n" {
		t.Errorf("printed %q", got)
	}
}

func TestStreamsCanBeOpenedAgain(t *testing.T) {
	b := private(t, "--runtime", shim.Name).session(t, nil)
	if r := b.sh("echo again > /dev/stdout; echo and > /dev/stderr"); r.Stdout != "again\n" || r.Stderr != "and\n" {
		t.Errorf("opened again, the streams printed %q and %q", r.Stdout, r.Stderr)
	}
}

// A program that prints goes on when nobody is left to read it.
func TestProgramOutlivesTheServer(t *testing.T) {
	for _, runtime := range builtIn {
		t.Run(runtime, func(t *testing.T) {
			s := withBusybox(t)
			if err := s.start("--runtime", runtime); err != nil {
				t.Fatal(err)
			}
			b := s.session(t, nil)
			b.do(object{"type": "execute_shell", "commandName": "sh", "background": true, "args": []string{
				"-c",
				"trap '' INT; while true; do echo tick; echo x >> /workspace/ticks; sleep 0.02; done",
			}})
			size := func() (int, error) {
				// Seen from outside, as nothing serves the session.
				files, err := filepath.Glob(s.root + "/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/workspace/ticks")
				if err != nil || len(files) != 1 {
					return 0, fmt.Errorf("files %q, %w", files, errors.Join(err))
				}
				info, err := os.Stat(files[0])
				if err != nil {
					return 0, err
				}
				return int(info.Size()), nil
			}
			grows := func(from int) func() error {
				return func() error {
					n, err := size()
					if err == nil && n < from+20 {
						err = fmt.Errorf("%d ticks, after %d", n, from)
					}
					return err
				}
			}
			eventually(t, grows(0))
			if err := s.kill(); err != nil {
				t.Fatal(err)
			}
			n, err := size()
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, grows(n))
			if err := s.start("--runtime", runtime); err != nil { // which removes it
				t.Fatal(err)
			}
			ctx, client := operator(t, s)
			eventually(t, func() error {
				if _, err := size(); err == nil {
					collect(ctx, t, client)
					return errors.New("the session is still there")
				}
				return nil
			})
			if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
				t.Fatalf("exit code %d, %v", code, err)
			}
			eventually(t, s.gone)
		})
	}
}

func TestKilledShimLeavesNothing(t *testing.T) {
	for _, runtime := range builtIn {
		t.Run(runtime, func(t *testing.T) {
			s := private(t, "--runtime", runtime)
			b := s.session(t, nil)
			b.do(object{"type": "execute_shell", "commandName": "sleep", "args": []string{"1000"}, "background": true})
			if err := syscall.Kill(s.shimOf(t, b.info.ContainerID), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			s.wantNoSessions(t)
			// containerd cleans up behind.
			eventually(t, func() error {
				left, err := filepath.Glob(s.state + "/io.containerd.runtime.v2.task/*/*")
				if err == nil && len(left) > 0 {
					err = fmt.Errorf("there is still %q", left)
				}
				return err
			})
			if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
				t.Fatalf("exit code %d, %v", code, err)
			}
			eventually(t, s.gone)
		})
	}
}
