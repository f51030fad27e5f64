package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/rpc/client"
)

const (
	// controlTimeout bounds a signal, a cancellation or a new size on its way.
	controlTimeout = 15 * time.Second
	// leaveTimeout bounds how long leaving waits for a terminal that takes no
	// output, and for a signal on its way.
	leaveTimeout = 2 * time.Second
	// inputBytes is how much input is sent at one time.
	inputBytes = 32 << 10
)

// foreground is an execution that has this command's terminal: what it prints is
// printed, keys and signals go to it.
type foreground struct {
	dial client.Dialer
	// start makes the follower follow an execution.
	start func(ctx context.Context, f *client.Follower) error

	stdin          io.Reader // nil where the execution gets none
	stdout, stderr io.Writer
	tty            bool // the execution has a terminal
	// detaches says that a signal leaves the execution alone; else it goes there.
	detaches bool
	// private says that what is left ends by itself.
	private bool
}

// outcome is how a foreground ended.
type outcome struct {
	end client.End
	err error
}

// attended is a foreground at work.
type attended struct {
	*foreground
	control  *client.Control
	terminal *terminal // nil where this command's is as usual

	// stopOutput ends what shows output. Nothing is printed after it, as a rule.
	stopOutput func()

	id      string        // set before started is closed
	started chan struct{} // the execution's id is known

	calls sync.WaitGroup // signals and so on, on their way
	stops int            // how often somebody asked it to stop
}

// show runs until the execution ends, and returns how, or until somebody leaves.
// A program that did not exit with 0 is an exitError.
func (f *foreground) show(parent context.Context) (retErr error) {
	// From here on, signals are the execution's. The context that ends with them
	// is not: work goes on.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGWINCH, unix.SIGPIPE)
	if !signal.Ignored(unix.SIGHUP) { // nohup
		signal.Notify(signals, unix.SIGHUP)
	}
	defer signal.Stop(signals)
	if err := parent.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	defer cancel()

	a := &attended{foreground: f, control: client.NewControl(f.dial), started: make(chan struct{})}
	defer a.control.Close()
	defer a.calls.Wait()
	defer cancel() // which ends calls
	if file := terminalOf(f.stdin); f.tty && file != nil {
		var err error
		if a.terminal, err = openTerminal(file); err != nil {
			return err
		}
	}
	defer func() { retErr = errors.Join(retErr, a.terminal.restore()) }()

	follower := client.NewFollower(client.FollowerOptions{
		Dial: f.dial, Stdout: f.stdout, Stderr: f.stderr,
		Started: func(id string) {
			a.id = id
			close(a.started)
		},
		Lost: func(stream string, bytes int64) {
			a.note("%d bytes of the program's %s are missing here: the server keeps them no longer", bytes, stream)
		},
	})
	followed := make(chan outcome, 1)
	followerDone := make(chan struct{})
	go func() {
		defer a.terminal.guard()
		defer close(followerDone)
		defer follower.Close()
		err := f.start(ctx, follower)
		var end client.End
		if err == nil {
			end, err = follower.Follow(ctx)
		}
		followed <- outcome{end, err}
	}()
	a.stopOutput = func() {
		cancel()
		select {
		case <-followerDone:
		case <-time.After(leaveTimeout): // a terminal takes no output
		}
	}
	defer a.stopOutput()
	input, stopInput, err := a.forwardInput(ctx, followerDone)
	if err != nil {
		return err
	}
	defer stopInput()
	resized, stopResizing := a.forwardSize(ctx)
	defer stopResizing()
	for {
		select {
		case o := <-followed:
			return a.exit(ctx, o)
		case err := <-input:
			return a.inputFailed(err)
		case sig := <-signals:
			switch sig {
			case unix.SIGWINCH:
				resized()
			case unix.SIGPIPE: // the write that met it says so
			default:
				if err, leave := a.signalled(ctx, sig); leave {
					return err
				}
			}
		}
	}
}

// note says something beside what the program prints.
func (a *attended) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, "codebeaker: "+format+"%s", append(args, a.newline())...)
}

// newline ends a line also where the terminal, in raw mode, takes it literally.
func (a *attended) newline() string {
	if a.terminal.isRaw() {
		return "\r\n"
	}
	return "\n"
}

// exit says how the execution ended.
func (a *attended) exit(ctx context.Context, o outcome) error {
	if err := a.terminal.restore(); err != nil {
		return err
	}
	switch {
	case errors.Is(o.err, unix.EPIPE):
		// Nobody reads the output: what a program of this host dies of. One that
		// was attached to goes on.
		if !a.detaches {
			a.ask(ctx, "execution.cancel", nil)
		}
		return exitError(128 + int(unix.SIGPIPE))
	case errors.Is(o.err, client.ErrDisconnected):
		return a.hint(o.err)
	case o.err != nil:
		return explain(o.err)
	}
	// Who stopped it knows.
	if stopped := a.stops > 0 && slices.Contains([]string{"signaled", "cancelled"}, o.end.Reason); !stopped {
		if text := endText(o.end); text != "" {
			a.note("%s", text)
		}
	}
	return exitCode(o.end)
}

// inputFailed leaves where input ended in a way that is no end of input.
func (a *attended) inputFailed(err error) error {
	if errors.Is(err, errDetached) {
		return a.leave(nil)
	}
	a.stopOutput()
	return errors.Join(a.terminal.restore(), a.hint(err))
}

// leave leaves the execution alone, says how to come back, and returns err.
func (a *attended) leave(err error) error {
	a.stopOutput()
	if restoreErr := a.terminal.restore(); restoreErr != nil {
		return restoreErr
	}
	select {
	case <-a.started:
		if !a.private {
			a.note("detached; it goes on: codebeaker attach %s", a.id)
		}
	default:
	}
	return err
}

// hint adds to an error how to come back.
func (a *attended) hint(err error) error {
	select {
	case <-a.started:
		if !a.private {
			return fmt.Errorf("%w (the program may go on: codebeaker attach %s)", err, a.id)
		}
	default:
	}
	return err
}

// signalled does what a signal asks for and says whether that is to leave. The
// first goes to the program, as it would to one of this host; the second ends
// it; with the third nobody waits for that any longer.
func (a *attended) signalled(ctx context.Context, sig os.Signal) (err error, leave bool) {
	number, _ := sig.(unix.Signal)
	code := exitError(128 + int(number))
	if a.detaches {
		return a.leave(code), true
	}
	a.stops++
	switch {
	case number == unix.SIGHUP: // the terminal is gone
		ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
		defer cancel()
		a.ask(ctx, "execution.signal", map[string]any{"signal": "SIGHUP"})
		return code, true
	case a.stops == 1:
		a.calls.Go(func() { a.ask(ctx, "execution.signal", map[string]any{"signal": unix.SignalName(number)}) })
		return nil, false
	case a.stops == 2:
		a.note("ending the program; once more to leave without waiting for its end")
		a.calls.Go(func() { a.ask(ctx, "execution.cancel", nil) })
		return nil, false
	default:
		return a.leave(code), true
	}
}

// ask asks the server to do something to the execution, once that is known. It
// may be asked twice.
func (a *attended) ask(ctx context.Context, method string, params map[string]any) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	select {
	case <-a.started:
	case <-ctx.Done():
		return
	}
	if params == nil {
		params = map[string]any{}
	}
	params["executionId"] = a.id
	err := a.control.Call(ctx, method, params, nil)
	// That it has ended meanwhile is what was wanted.
	if err != nil && ctx.Err() == nil && (errors.Is(err, client.ErrDisconnected) || answeredWith(err, codeNoExecution)) {
		a.note("%s: %v", method, explain(err))
	}
}
