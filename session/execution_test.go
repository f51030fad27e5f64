package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/runtime"
	"codebeaker/session"
	"codebeaker/session/output"
	"codebeaker/session/sessiontest"
)

// started starts a program in a session of its own.
func started(t *testing.T, m *session.Manager, p session.Program) (session.Info, *session.Execution) {
	t.Helper()
	info := create(t, m, session.CreateRequest{})
	e, err := m.Start(t.Context(), info.ID, p, true)
	if err != nil {
		t.Fatal(err)
	}
	return info, e
}

// ended waits for an execution's end and returns its result.
func ended(t *testing.T, e *session.Execution) *session.ExecutionResult {
	t.Helper()
	<-e.Done()
	o, err := e.Outcome()
	if err != nil {
		t.Fatal(err)
	}
	r, ok := o.Result.(*session.ExecutionResult)
	if !ok {
		t.Fatalf("result %T", o.Result)
	}
	return r
}

// inBubble runs a test with a manager, which it shuts down in the end.
func inBubble(t *testing.T, change func(*session.Options), test func(*testing.T, *sessiontest.Host, *session.Manager)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(change)
		test(t, host, m)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
	})
}

func TestExecutionTellsWhereItIs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info, e := started(t, m, &session.Shell{Name: "block"})
		synctest.Wait()
		i := e.Info()
		if i.Status != session.StatusRunning || i.SessionID != info.ID || i.Language != "python" || i.Command != "block" || i.StartedAt.IsZero() || !i.EndedAt.IsZero() || i.Stdout.End != 3 {
			t.Errorf("while it runs: %+v", i)
		}
		if o, err := e.Outcome(); o != nil || err != nil {
			t.Errorf("it has an outcome while it runs: %+v, %v", o, err)
		}
		e.Cancel()
		r := ended(t, e)
		if i := e.Info(); i.Status != session.StatusCompleted || i.EndedAt.IsZero() {
			t.Errorf("after its end: %+v", i)
		}
		if r.EndReason != session.EndCancelled || r.Signal != "SIGKILL" || string(r.Stdout) != "out" || string(r.Stderr) != "err" || r.ID != e.ID() {
			t.Errorf("result %+v", r)
		}
		found, err := m.Execution(t.Context(), e.ID())
		if err != nil || found != e {
			t.Errorf("Execution: %v, %v", found, err)
		}
	})
}

// A reply says that a program has ended; from then on its session must not be
// seen at work. Many times, as it is about which of two comes first.
func TestSessionIsIdleWhenItsExecutionIsDone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info, e := started(t, m, &session.Shell{Name: "block"})
		for n := 1; n <= 300; n++ {
			if i, err := m.Get(t.Context(), info.ID); err != nil || i.State != session.StateActive || i.ExecutionCount != n {
				t.Fatalf("while a program runs in the background: %+v, %v", i, err)
			}
			time.AfterFunc(time.Second, e.Cancel)
			<-e.Done()
			if i, err := m.Get(t.Context(), info.ID); err != nil || i.State != session.StateIdle || time.Since(i.LastActivity) > 0 {
				t.Fatalf("after it: %+v, %v", i, err)
			}
			var err error
			if e, err = m.Start(t.Context(), info.ID, &session.Shell{Name: "block"}, true); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestBackgroundProgramKeepsItsSession(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info := create(t, m, session.CreateRequest{IdleTimeout: time.Minute, MaxLifetime: time.Hour})
		e, err := m.Start(t.Context(), info.ID, &session.Shell{Name: "block", ProgramOptions: session.ProgramOptions{Timeout: -1}}, true)
		if err != nil {
			t.Fatal(err)
		}
		pass(50 * time.Minute)
		if s := e.Info().Status; s != session.StatusRunning {
			t.Fatalf("after 50 minutes it is %s", s)
		}
		reason, err := m.Closed(t.Context(), info.ID)
		if r := ended(t, e); err != nil || reason != session.ReasonLifetime || r.EndReason != session.EndSessionClosed {
			t.Errorf("session closed: %s, %v; program ended: %s", reason, err, r.EndReason)
		}
	})
}

func TestTouchAndAttachMoveTheIdleDeadline(t *testing.T) {
	inBubble(t, func(o *session.Options) { o.KeepExecutions = time.Hour }, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info := create(t, m, session.CreateRequest{IdleTimeout: 10 * time.Minute})
		e, err := m.Start(t.Context(), info.ID, &session.Shell{Name: "exit"}, true)
		if err != nil {
			t.Fatal(err)
		}
		ended(t, e)
		for what, use := range map[string]func() error{
			"touch":  func() error { _, err := m.Touch(t.Context(), info.ID); return err },
			"attach": func() error { _, err := m.Attach(t.Context(), e.ID()); return err },
		} {
			pass(9 * time.Minute)
			if err := use(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			pass(9 * time.Minute)
			if _, err := m.Get(t.Context(), info.ID); err != nil {
				t.Errorf("%s did not move the deadline: %v", what, err)
			}
			if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"}); err != nil {
				t.Fatal(err)
			}
		}
		if reason, err := m.Closed(t.Context(), info.ID); err != nil || reason != session.ReasonIdle {
			t.Errorf("closed: %s, %v", reason, err)
		}
		if _, err := m.Touch(t.Context(), info.ID); err == nil {
			t.Error("a session that closed can be touched")
		}
	})
}

func TestInputIsReadInOrderAndEnds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		_, e := started(t, m, &session.Shell{Name: "cat", ProgramOptions: session.ProgramOptions{Stdin: []byte("first,"), StdinOpen: true}})
		for _, text := range []string{"second,", "third"} {
			if err := e.Input(t.Context(), []byte(text), false); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if s := e.Info().Status; s != session.StatusRunning {
			t.Fatalf("it is %s before its input ended", s)
		}
		if err := e.Input(t.Context(), nil, true); err != nil {
			t.Fatal(err)
		}
		if r := ended(t, e); string(r.Stdout) != "first,second,third" {
			t.Errorf("it read %q", r.Stdout)
		}
		state := (*session.StateError)(nil)
		if err := e.Input(t.Context(), []byte("late"), false); !errors.As(err, &state) || state.Status != session.StatusCompleted {
			t.Errorf("input after the end: %v", err)
		}
	})
}

func TestInputThatNobodyReadsEndsWithTheProgram(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		_, e := started(t, m, &session.Shell{Name: "block", ProgramOptions: session.ProgramOptions{StdinOpen: true}})
		failed := make(chan error)
		go func() { failed <- e.Input(t.Context(), []byte("text"), false) }()
		synctest.Wait()
		e.Cancel()
		if err := <-failed; !errdefs.IsFailedPrecondition(err) {
			t.Errorf("input: %v", err)
		}
	})
}

func TestInputEndsAtOnceWhereNothingWasSaid(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		_, e := started(t, m, &session.Shell{Name: "cat"})
		if r := ended(t, e); r.ExitCode != 0 || r.EndReason != session.EndExited {
			t.Errorf("result %+v", r)
		}
	})
}

func TestTerminalIsToldItsSizeAndItsEnd(t *testing.T) {
	host := sessiontest.NewHost()
	host.Programs = map[string]sessiontest.Program{"sizes": func(p *sessiontest.Process) runtime.ExitStatus {
		fmt.Fprintln(p.Stdout, *p.Options.Terminal)
		fmt.Fprintln(p.Stdout, <-p.Sizes())
		line := make([]byte, 16)
		n, _ := io.ReadAtLeast(p.Stdin, line, 4)
		fmt.Fprintf(p.Stdout, "%q", line[:n])
		return runtime.ExitStatus{}
	}}
	synctest.Test(t, func(t *testing.T) {
		m := host.Manager(nil)
		_, e := started(t, m, &session.Shell{Name: "sizes", ProgramOptions: session.ProgramOptions{TTY: true, Columns: 132, StdinOpen: true}})
		if err := e.Resize(t.Context(), 50, 100); err != nil {
			t.Fatal(err)
		}
		if err := e.Input(t.Context(), []byte("ab"), true); err != nil { // as typed: twice ^D, in the middle of a line
			t.Fatal(err)
		}
		if r := ended(t, e); string(r.Stdout) != "{24 132}\n{50 100}\n\"ab\\x04\\x04\"" {
			t.Errorf("it printed %q", r.Stdout)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSignalReachesTheProgram(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		for name, want := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "int": syscall.SIGINT, "10": syscall.SIGUSR1} {
			_, e := started(t, m, &session.Shell{Name: "signal"})
			if err := e.Signal(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if r := ended(t, e); r.EndReason != session.EndSignaled || r.ExitCode != 128+int(want) {
				t.Errorf("%s: %+v", name, r)
			}
			if err := e.Signal(t.Context(), name); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("%s after the end: %v", name, err)
			}
		}
		_, e := started(t, m, &session.Shell{Name: "block"})
		for _, name := range []string{"", "SIGNOPE", "0", "65", "-9"} {
			if err := e.Signal(t.Context(), name); !errdefs.IsInvalidArgument(err) {
				t.Errorf("signal %q: %v", name, err)
			}
		}
		if err := e.Resize(t.Context(), 10, 10); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("resize without a terminal: %v", err)
		}
	})
}

func TestProgramThatPrintsTooMuchIsEnded(t *testing.T) {
	inBubble(t, func(o *session.Options) { o.MaxPrintedBytes = 1 << 20 }, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		_, e := started(t, m, &session.Shell{Name: "yes"})
		if r := ended(t, e); r.EndReason != session.EndOutputLimit || e.Info().Stdout.End < 1<<20 {
			t.Errorf("result %s after %d bytes", r.EndReason, e.Info().Stdout.End)
		}
	})
}

func TestResultHasTheEndOfTheOutputAndTheLogTheRest(t *testing.T) {
	spill, err := output.NewSpill(t.TempDir(), 1<<20, 8<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := 1; i <= 10000; i++ {
		fmt.Fprintln(&want, i)
	}
	inBubble(t, func(o *session.Options) { o.Spill, o.MaxOutputBytes = spill, 1000 }, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		_, e := started(t, m, &session.Shell{Name: "seq", Args: []string{"10000"}})
		r := ended(t, e)
		if text := want.String(); string(r.Stdout) != text[len(text)-1000:] || r.StdoutOffset != int64(len(text)-1000) || !r.StdoutTruncated || r.StderrTruncated {
			t.Errorf("result has %d bytes at %d, truncated %v, %v", len(r.Stdout), r.StdoutOffset, r.StdoutTruncated, r.StderrTruncated)
		}
		reader := output.NewReader(e.Output(session.Stdout), 0)
		var got strings.Builder
		for {
			c, err := reader.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got.Write(c.Data)
		}
		if got.String() != want.String() {
			t.Errorf("the log has %d bytes; want %d", got.Len(), want.Len())
		}
	})
}

func TestExecutionsAreKeptForAWhileAndBounded(t *testing.T) {
	inBubble(t, func(o *session.Options) { o.MaxKept = 3 }, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info := create(t, m, session.CreateRequest{})
		var all []*session.Execution
		for range 5 {
			e, err := m.Start(t.Context(), info.ID, &session.Shell{Name: "exit"}, false)
			if err != nil {
				t.Fatal(err)
			}
			ended(t, e)
			if len(all) < 4 {
				e.Release()
			}
			pass(time.Second)
			all = append(all, e)
		}
		if list, err := m.Executions(t.Context(), info.ID); err != nil || len(list) != 3 || list[0].ID != all[2].ID() {
			t.Errorf("%d are kept, %v; want the last 3", len(list), err)
		}
		if _, err := m.Execution(t.Context(), all[1].ID()); !errors.Is(err, session.ErrExecution) {
			t.Errorf("one too many: %v", err)
		}
		pass(10*time.Minute + time.Second)
		if _, err := m.Execution(t.Context(), all[4].ID()); !errors.Is(err, session.ErrExecution) {
			t.Errorf("after 10 minutes: %v", err)
		}
		if r := ended(t, all[4]); string(r.Stdout) != "out" {
			t.Errorf("who still reads it finds %q", r.Stdout)
		}
		all[4].Release()
		if r := ended(t, all[4]); len(r.Stdout) != 0 {
			t.Errorf("it keeps %q for nobody", r.Stdout)
		}
	})
}

func TestKeptExecutionsTakeBoundedMemory(t *testing.T) {
	inBubble(t, func(o *session.Options) { o.MaxKeptBytes = 8 << 10 }, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info := create(t, m, session.CreateRequest{})
		for range 20 {
			if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "seq", Args: []string{"200"}}); err != nil { // about 700 bytes, in 1024
				t.Fatal(err)
			}
			pass(time.Second)
		}
		if list, _ := m.Executions(t.Context(), ""); len(list) != 8 {
			t.Errorf("%d executions of 1 KiB are kept in 8 KiB", len(list))
		}
	})
}

func TestSessionIsListedWhileItIsCreated(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, host *sessiontest.Host, m *session.Manager) {
		t.Helper()
		release := host.HoldCreates()
		created := make(chan session.Info)
		go func() { created <- create(t, m, session.CreateRequest{}) }()
		synctest.Wait()
		list, err := m.List(t.Context())
		if err != nil || len(list) != 1 || list[0].State != session.StateCreating {
			t.Fatalf("List: %+v, %v", list, err)
		}
		got := make(chan error)
		go func() {
			_, err := m.Execute(t.Context(), list[0].ID, &session.Shell{Name: "exit"})
			got <- err
		}()
		synctest.Wait() // it waits for the session
		release()
		if info := <-created; info.ID != list[0].ID || info.State == session.StateCreating {
			t.Errorf("Create: %+v", info)
		}
		if err := <-got; err != nil {
			t.Errorf("a command that came before it was ready: %v", err)
		}
	})
}

func TestRunHasASessionOfItsOwn(t *testing.T) {
	host := sessiontest.NewHost()
	host.Programs = map[string]sessiontest.Program{"python3": func(p *sessiontest.Process) runtime.ExitStatus {
		fmt.Fprint(p.Stdout, p.Options.Args)
		<-p.Signals()
		return runtime.ExitStatus{Code: 7}
	}}
	synctest.Test(t, func(t *testing.T) {
		m := host.Manager(nil)
		e, err := m.Run(t.Context(), session.RunRequest{Language: "py", Code: []byte("code"), Limits: session.Limits{MemoryBytes: 64 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		<-e.Started()
		id := e.Info().SessionID
		info, err := m.Get(t.Context(), id)
		if err != nil || info.Limits.MemoryBytes != 64<<20 {
			t.Fatalf("session %q: %+v, %v", id, info, err)
		}
		if err := e.Signal(t.Context(), "TERM"); err != nil {
			t.Fatal(err)
		}
		if r := ended(t, e); r.ExitCode != 7 || !strings.HasPrefix(string(r.Stdout), "[python3 /workspace/") {
			t.Errorf("result %+v", r)
		}
		synctest.Wait()
		if list, _ := m.List(t.Context()); len(list) != 0 || host.Left() != 0 {
			t.Errorf("%d sessions and %d things are left", len(list), host.Left())
		}
		if i := e.Info(); i.Status != session.StatusCompleted || i.SessionID != id {
			t.Errorf("after its session: %+v", i)
		}
	})
}

func TestRunsQueueForAPlace(t *testing.T) {
	host := sessiontest.NewHost()
	host.Programs = map[string]sessiontest.Program{"python3": func(*sessiontest.Process) runtime.ExitStatus { return runtime.ExitStatus{} }}
	synctest.Test(t, func(t *testing.T) {
		m := host.Manager(func(o *session.Options) { o.MaxSessions, o.MaxQueued = 1, 2 })
		only := create(t, m, session.CreateRequest{})
		run := func() (*session.Execution, error) {
			return m.Run(t.Context(), session.RunRequest{Language: "python"})
		}
		first, err := run()
		if err != nil {
			t.Fatal(err)
		}
		second, err := run()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(); !errdefs.IsResourceExhausted(err) {
			t.Errorf("a third: %v", err)
		}
		synctest.Wait()
		if s := first.Info().Status; s != session.StatusQueued {
			t.Errorf("without a place it is %s", s)
		}
		second.Cancel()
		<-second.Done()
		if _, err := second.Outcome(); err == nil || second.Info().Status != session.StatusFailed {
			t.Errorf("cancelled in the queue: %v, %s", err, second.Info().Status)
		}
		if err := m.Close(t.Context(), only.ID); err != nil {
			t.Fatal(err)
		}
		ended(t, first)
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRunThatCannotBeSaysWhy(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, host *sessiontest.Host, m *session.Manager) {
		t.Helper()
		if _, err := m.Run(t.Context(), session.RunRequest{Language: "cobol"}); !errors.Is(err, session.ErrLanguage) {
			t.Errorf("unknown language: %v", err)
		}
		no := errors.New("no")
		host.FailCreates(no)
		e, err := m.Run(t.Context(), session.RunRequest{Language: "python"})
		if err != nil {
			t.Fatal(err)
		}
		<-e.Done()
		if _, err := e.Outcome(); !errors.Is(err, no) || e.Info().Status != session.StatusFailed {
			t.Errorf("outcome %v, %s", err, e.Info().Status)
		}
	})
}

func TestCodeIsWrittenCompiledRunAndRemoved(t *testing.T) {
	var seen []string
	note := func(code int) sessiontest.Program {
		return func(p *sessiontest.Process) runtime.ExitStatus {
			seen = append(seen, strings.Join(p.Options.Args, " "))
			fmt.Fprint(p.Stdout, p.Options.Args[0])
			return runtime.ExitStatus{Code: code}
		}
	}
	for _, compiles := range []bool{true, false} {
		host := sessiontest.NewHost()
		host.Programs = map[string]sessiontest.Program{"mono": note(0), "/bin/sh": note(0), "mcs": note(0)}
		if !compiles {
			host.Programs["mcs"], host.Programs["/bin/sh"] = note(1), note(1)
		}
		seen = nil
		synctest.Test(t, func(t *testing.T) {
			m := host.Manager(nil)
			info := create(t, m, session.CreateRequest{})
			o, err := m.Execute(t.Context(), info.ID, &session.Code{Code: []byte("class A {}"), Language: "cs", Args: []string{"arg"}})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r := o.Result.(*session.ExecutionResult)
			switch {
			case o.Success != compiles:
				t.Errorf("outcome %+v", o)
			case compiles && (len(seen) != 2 || !strings.HasSuffix(seen[1], " arg") || len(r.Stderr) == 0 || len(r.Stdout) == 0):
				t.Errorf("it ran %q and printed %q, %q", seen, r.Stdout, r.Stderr)
			case !compiles && (len(seen) != 1 || !strings.HasPrefix(o.Error, "The program could not be compiled") || len(r.Stdout) != 0):
				t.Errorf("it ran %q, error %q, stdout %q", seen, o.Error, r.Stdout)
			}
			var path string
			for word := range strings.FieldsSeq(seen[0]) {
				if strings.HasSuffix(word, ".cs") {
					path = word
				}
			}
			pathErr := (*session.PathError)(nil)
			if _, err := m.Execute(t.Context(), info.ID, &session.ReadFile{Path: path, Length: -1}); path == "" || !errors.As(err, &pathErr) {
				t.Errorf("the program's file %q is left: %v", path, err)
			}
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPackagesAreRefusedThatAreOptions(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *sessiontest.Host, m *session.Manager) {
		t.Helper()
		info := create(t, m, session.CreateRequest{})
		for _, c := range []session.Command{
			&session.InstallPackages{},
			&session.InstallPackages{Packages: []string{"--target=/"}},
			&session.InstallPackages{Packages: []string{""}},
			&session.InstallPackages{Packages: []string{"a"}, RequirementsFile: "b"},
			&session.Code{Language: "cobol"},
			&session.Shell{},
			&session.Shell{Name: "a\x00b"},
		} {
			if _, err := m.Execute(t.Context(), info.ID, c); !errdefs.IsInvalidArgument(err) {
				t.Errorf("%+v: %v", c, err)
			}
		}
	})
}
