package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime"
)

const (
	// lostExitCode stands for the exit code that nobody saw.
	lostExitCode = -1
	// killTimeout is how long a killed program may take to end; the kernel may
	// first have to free its memory.
	killTimeout = 30 * time.Second
	// maxReleasing bounds the processes of a session that are being given back,
	// so that programs are not started faster than those before them are cleaned
	// up after.
	maxReleasing = 16
)

// running is a step that was started.
type running struct {
	step    step
	process Process
	work    sync.WaitGroup
	pumps   []*pump
}

// begin writes the plan's file and starts its first step.
func (s *session) beginPlan(ctx context.Context, e *Execution, p *plan, opts *ProgramOptions) (*running, error) {
	if p.file != "" {
		if err := s.writeSource(ctx, p.file, p.content); err != nil {
			return nil, err
		}
	}
	return s.startStep(ctx, e, p, 0, opts)
}

// startStep starts a step of the plan. What it prints goes to the execution's
// logs; the last step, which is the program itself, has its input, and its
// terminal.
func (s *session) startStep(ctx context.Context, e *Execution, p *plan, n int, opts *ProgramOptions) (*running, error) {
	st := p.steps[n]
	last := n == len(p.steps)-1
	if last && opts.TTY {
		st.exec.Terminal = &runtime.Size{Rows: or(opts.Rows, 24), Columns: or(opts.Columns, 80)}
		st.exec.Env = withTerm(st.exec.Env)
	}
	st.exec.NoInput = !last || len(opts.Stdin) == 0 && !opts.StdinOpen && !opts.TTY
	process, err := s.container.Exec(ctx, st.exec)
	if err != nil {
		return nil, err
	}
	r := &running{step: st, process: process}
	streams := process.Streams()
	stdout := e.logs[Stdout]
	if st.aside {
		stdout = e.logs[Stderr]
	}
	r.pumps = []*pump{
		pumpFrom(&r.work, streams.Stdout, stdout, e.count),
		pumpFrom(&r.work, streams.Stderr, e.logs[Stderr], e.count),
	}
	if st.exec.NoInput {
		e.run(s.id, process)
		_ = e.endInput() // which fails where the step has ended already
		return r, nil
	}
	e.typing <- struct{}{} // what is to be read first comes before Input's
	e.run(s.id, process)
	r.work.Go(func() {
		defer func() { <-e.typing }()
		// A program that ends without reading all of it is no error.
		_ = e.typeIn(context.WithoutCancel(ctx), streams.Stdin, opts.Stdin, !opts.StdinOpen)
	})
	return r, nil
}

// withTerm returns the environment of a program on a terminal, which says what
// kind that is: what everybody's is today, unless it says so itself.
func withTerm(env []string) []string {
	if slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "TERM=") }) {
		return env
	}
	return append(env, "TERM=xterm-256color")
}

func or(n, def uint16) uint16 {
	if n == 0 {
		return def
	}
	return n
}

// drive sees an execution to its end, step after step until one fails, and
// returns what came of it.
func (s *session) drive(ctx context.Context, e *Execution, p *plan, r *running, opts *ProgramOptions) (*Outcome, error) {
	var never <-chan time.Time
	deadline, timeout := never, opts.Timeout
	if timeout == 0 {
		timeout = s.opts.ExecTimeout
	}
	started := e.Info().StartedAt
	if timeout > 0 {
		timer := time.NewTimer(timeout - time.Since(started))
		defer timer.Stop()
		deadline = timer.C
	}
	result := &ExecutionResult{ID: e.id}
	for n := 0; ; {
		failed, err := s.endStep(ctx, e, r, deadline, result)
		if err != nil {
			return nil, err
		}
		if n++; failed || n == len(p.steps) {
			break
		}
		if r, err = s.startStep(ctx, e, p, n, opts); err != nil {
			return nil, s.because(err)
		}
	}
	result.Duration = time.Since(started)
	outcome := &Outcome{Result: result, Success: result.EndReason == EndExited && result.ExitCode == 0, Duration: result.Duration}
	if !outcome.Success {
		outcome.Error = failure(result, timeout, r.step.failure)
	}
	return outcome, nil
}

// endStep waits for the end of a step and adds what came of it to result. It
// says whether the step failed.
func (s *session) endStep(ctx context.Context, e *Execution, r *running, deadline <-chan time.Time, result *ExecutionResult) (failed bool, err error) {
	cause, status, err := s.await(ctx, e, r.process, deadline)
	if errdefs.IsUnavailable(err) {
		// Its shim is gone, and with it the only one who could know.
		status, err = runtime.ExitStatus{Code: lostExitCode}, nil
	}
	lost := s.wasLost(cause, status)
	e.rest()
	if err != nil {
		s.release(ctx, r)
		return true, err
	}
	usage, err := r.process.Usage()
	if err != nil {
		// The cgroup goes with a session that is closed meanwhile.
		s.opts.Log.WarnContext(ctx, "read what an execution used", "container", s.containerID, "error", err)
	}
	result.Usage.CPU += usage.CPU
	result.Usage.PeakMemoryBytes = max(result.Usage.PeakMemoryBytes, usage.PeakMemoryBytes)
	result.Usage.MaxRSSBytes = max(result.Usage.MaxRSSBytes, status.MaxRSSBytes)
	result.Usage.OOMKills += usage.OOMKills
	if lost && (usage.OOMKills == 0 || status.Code == lostExitCode) {
		cause = EndLost
	}
	populated := func() bool {
		left, err := r.process.Populated()
		return err == nil && left
	}
	if !settle(populated, r.pumps...) {
		s.opts.Log.WarnContext(ctx, "the end of an execution's output did not come", "container", s.containerID)
	}
	if r.step.exec.Fork {
		s.opts.Observer.ProgramRan(s.language, status.Forked)
	}
	result.ExitCode = status.Code
	result.EndReason, result.Signal = ending(cause, status, usage.OOMKills > 0)
	s.release(ctx, r)
	return result.EndReason != EndExited || result.ExitCode != 0, nil
}

// wasLost says whether a program ended with its container, which nobody here ended.
func (s *session) wasLost(cause EndReason, status runtime.ExitStatus) bool {
	switch {
	case status.Code == lostExitCode && cause == "":
		return true
	case status.Code != lostExitCode && status.Signal != unix.SIGKILL:
		return false
	case cause == "":
		return s.container.Dying()
	default:
		return cause == EndSessionClosed && s.closedFor() == ReasonLost
	}
}

// await waits for the end of a program, and kills it and all that it started
// where its time is over, it prints too much, it is cancelled or the session
// closes. It returns the reason for killing it, empty where there was none.
func (s *session) await(ctx context.Context, e *Execution, process Process, deadline <-chan time.Time) (EndReason, runtime.ExitStatus, error) {
	ended := make(chan struct{})
	var status runtime.ExitStatus
	var err error
	detached, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(ended)
		status, err = process.Wait(detached)
	}()
	var cause EndReason
	select {
	case <-ended:
		return "", status, err
	case <-deadline:
		cause = EndTimeout
	case <-e.overflow:
		cause = EndOutputLimit
	case <-e.cancelled:
		cause = EndCancelled
	case <-s.closing:
		cause = EndSessionClosed
	}
	killErr := process.Kill()
	grace := time.NewTimer(killTimeout)
	defer grace.Stop()
	select {
	case <-ended:
		return cause, status, err
	case <-grace.C:
		cancel()
		<-ended
		return cause, status, errors.Join(fmt.Errorf("end program: it did not end within %s of its kill", killTimeout), killErr)
	}
}

// ending says how a program ended: killed for a cause that we had, where it
// did die of that, and otherwise what its status tells.
func ending(cause EndReason, status runtime.ExitStatus, oom bool) (reason EndReason, signal string) {
	if status.Signal != 0 {
		if signal = unix.SignalName(status.Signal); signal == "" {
			signal = "SIG" + strconv.Itoa(int(status.Signal)) // a real-time one
		}
	}
	killed := status.Signal == unix.SIGKILL
	switch {
	case status.Code == lostExitCode:
		return cause, ""
	case killed && cause != "":
		return cause, signal
	case killed && oom:
		return EndOOM, signal
	case signal != "":
		return EndSignaled, signal
	default:
		return EndExited, ""
	}
}

// failure says why an execution did not succeed, and what may be behind that.
// meaning is that of an exit code above 0, where it has one.
func failure(r *ExecutionResult, timeout time.Duration, meaning string) string {
	seen := endText(r, timeout, meaning)
	if r.Usage.OOMKills == 0 || r.EndReason == EndOOM {
		return seen
	}
	return fmt.Sprintf("%s Of its processes, the kernel killed %d because the session's memory limit was reached.", seen, r.Usage.OOMKills)
}

// endText says in a sentence how an execution ended that did not succeed.
func endText(r *ExecutionResult, timeout time.Duration, meaning string) string {
	switch r.EndReason {
	case EndTimeout:
		return fmt.Sprintf("The program was killed after its time limit of %s.", timeout)
	case EndOOM:
		return "The program was killed because the session's memory limit was reached."
	case EndOutputLimit:
		return "The program was killed because it printed more than this server allows."
	case EndSignaled:
		return fmt.Sprintf("The program was ended by %s.", r.Signal)
	case EndCancelled:
		return "The program was killed because it was cancelled."
	case EndSessionClosed:
		return "The program was killed because its session closed."
	case EndLost:
		return "The end of the program was not seen."
	default: // by itself
		if meaning != "" {
			return fmt.Sprintf("%s: exit code %d.", meaning, r.ExitCode)
		}
		return fmt.Sprintf("The program exited with code %d.", r.ExitCode)
	}
}

// release gives a step's process back, behind whoever waits for what the step
// did. Where others still hold its streams, as a background program does, they
// are read, and what they bring is dropped, until those end or the session does;
// closing the streams would kill the writer.
func (s *session) release(ctx context.Context, r *running) {
	held := true
	for _, p := range r.pumps {
		held = held && p.ended()
	}
	if held { // and so about to be released
		select {
		case s.releasing <- struct{}{}:
		case <-s.closing:
			held = false
		}
	}
	s.lingering.Go(func() {
		for _, p := range r.pumps {
			select {
			case <-p.done:
			case <-s.closing:
			}
		}
		ctx, cancel := context.WithTimeout(ctx, removeTimeout)
		defer cancel()
		if err := r.process.Close(ctx); err != nil {
			s.opts.Log.WarnContext(ctx, "clean up after an execution", "container", s.containerID, "error", err)
		}
		r.work.Wait()
		if held {
			<-s.releasing
		}
	})
}
