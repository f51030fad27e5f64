package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	// quiet is how long the streams of a program that has ended have to bring
	// nothing, before what others still write is no longer counted as its own.
	quiet    = 50 * time.Millisecond
	patience = time.Second
)

// execute carries out a command in a session that admitted it.
func (s *session) execute(ctx context.Context, cmd Command) (*Outcome, error) {
	switch cmd := cmd.(type) {
	case *Shell:
		result, err := s.runShell(ctx, cmd)
		if err != nil {
			return nil, err
		}
		outcome := &Outcome{Result: result, Success: result.EndReason == EndExited && result.ExitCode == 0}
		if !outcome.Success {
			outcome.Error = failure(result, cmd)
		}
		return outcome, nil
	default:
		result, err := s.executeFile(ctx, cmd)
		return &Outcome{Result: result, Success: true}, err
	}
}

// failure says in a sentence why an execution did not succeed.
func failure(r *ExecutionResult, cmd *Shell) string {
	switch r.EndReason {
	case EndTimeout:
		return fmt.Sprintf("The program was killed after its time limit of %s.", cmd.Timeout)
	case EndOOM:
		return "The program was killed because the session's memory limit was reached."
	case EndSignaled:
		return fmt.Sprintf("The program was ended by %s.", r.Signal)
	case EndCancelled:
		return "The program was killed because the request was cancelled."
	case EndSessionClosed:
		return "The program was killed because its session closed."
	case EndLost:
		return "The end of the program was not seen."
	default:
		return fmt.Sprintf("The program exited with code %d.", r.ExitCode)
	}
}

func (s *session) runShell(ctx context.Context, cmd *Shell) (*ExecutionResult, error) {
	if err := validateShell(cmd); err != nil {
		return nil, err
	}
	if cmd.Timeout == 0 {
		cmd.Timeout = s.opts.ExecTimeout
	}
	started := time.Now()
	process, err := s.container.Exec(ctx, runtime.ExecOptions{
		ID:   s.nextExecID(),
		Args: append([]string{cmd.Name}, cmd.Args...),
		Line: len(cmd.Args) == 0,
		Dir:  cmd.Dir,
		Env:  environ(s.env, cmd.Env),
	})
	if err != nil {
		return nil, err
	}
	streams := process.Streams()
	var work sync.WaitGroup
	stdout := collect(&work, streams.Stdout, s.opts.MaxOutputBytes)
	stderr := collect(&work, streams.Stderr, s.opts.MaxOutputBytes)
	work.Go(func() { s.feed(ctx, streams.Stdin, cmd.Stdin) })

	result := &ExecutionResult{ID: strings.ToLower(rand.Text())}
	cause, status, err := s.await(ctx, process, cmd.Timeout)
	result.Duration = time.Since(started)
	if errdefs.IsUnavailable(err) {
		// Its shim is gone, and with it the only one who could know.
		status, err = runtime.ExitStatus{Code: lostExitCode}, nil
		if cause == "" {
			cause = EndLost
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.release(ctx, process, &work, stdout, stderr))
	}
	usage, err := process.Usage()
	if err != nil {
		// The cgroup goes with a session that is closed meanwhile.
		s.opts.Log.WarnContext(ctx, "read what an execution used", "container", s.containerID, "error", err)
	}
	result.Usage = Usage{CPU: usage.CPU, PeakMemoryBytes: usage.PeakMemoryBytes}
	settle(stdout, stderr)
	result.Stdout, result.StdoutTruncated = stdout.text()
	result.Stderr, result.StderrTruncated = stderr.text()
	result.ExitCode = status.Code
	result.EndReason, result.Signal = ending(cause, status.Code, usage.OOMKills > 0)
	if err := s.release(ctx, process, &work, stdout, stderr); err != nil {
		s.opts.Log.WarnContext(ctx, "clean up after an execution", "container", s.containerID, "error", err)
	}
	return result, nil
}

func validateShell(cmd *Shell) error {
	if cmd.Name == "" {
		return &InvalidError{Field: "command.commandName", Takes: "the name of a program"}
	}
	for _, text := range append([]string{cmd.Name, cmd.Dir}, cmd.Args...) {
		if strings.Contains(text, "\x00") {
			return &InvalidError{Field: "command.args", Takes: "texts without NUL"}
		}
	}
	if cmd.Timeout < 0 {
		return &InvalidError{Field: "command.timeout", Takes: "a number of seconds above 0"}
	}
	return validateEnv("command.env", cmd.Env)
}

// nextExecID returns an id for containerd. It is not the execution's id, which
// must not be guessed: containerd's stands in the arguments of processes.
func (s *session) nextExecID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.execs++
	return "e" + strconv.Itoa(s.execs)
}

// await waits for the end of a program, and kills it and all that it started
// where its time is over, the session closes or ctx ends. It returns the reason
// for killing it, empty where there was none.
func (s *session) await(ctx context.Context, process Process, timeout time.Duration) (EndReason, runtime.ExitStatus, error) {
	ended := make(chan struct{})
	var status runtime.ExitStatus
	var err error
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		defer close(ended)
		status, err = process.Wait(detached)
	}()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	var cause EndReason
	select {
	case <-ended:
		return "", status, err
	case <-deadline.C:
		cause = EndTimeout
	case <-s.closing:
		cause = EndSessionClosed
	case <-ctx.Done():
		cause = EndCancelled
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
// did die of that, and otherwise what its status tells. An exit code above 128
// stands for a signal, as in a shell; the status does not tell the two apart.
func ending(cause EndReason, code int, oom bool) (reason EndReason, signal string) {
	if code > 128 {
		signal = unix.SignalName(unix.Signal(code - 128))
	}
	killed := code == 128+int(unix.SIGKILL)
	switch {
	case code == lostExitCode:
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

// feed gives a program its standard input. A program that ends without reading
// all of it is no error.
func (s *session) feed(ctx context.Context, stdin io.WriteCloser, text []byte) {
	_, _ = stdin.Write(text)
	if err := stdin.Close(); err != nil {
		s.opts.Log.DebugContext(ctx, "close standard input", "container", s.containerID, "error", err)
	}
}

// release gives a process back. Where others still hold its streams, as a
// background program does, they are read, and what they bring is dropped, until
// those end or the session does; closing the streams would kill the writer.
func (s *session) release(ctx context.Context, process Process, work *sync.WaitGroup, streams ...*capture) error {
	ctx = context.WithoutCancel(ctx)
	ended := true
	for _, c := range streams {
		ended = ended && c.ended()
	}
	if ended {
		err := process.Close(ctx)
		work.Wait()
		return err
	}
	s.lingering.Go(func() {
		for _, c := range streams {
			select {
			case <-c.done:
			case <-s.closing:
			}
		}
		if err := process.Close(ctx); err != nil {
			s.opts.Log.WarnContext(ctx, "clean up after an execution", "container", s.containerID, "error", err)
		}
		work.Wait()
	})
	return nil
}
