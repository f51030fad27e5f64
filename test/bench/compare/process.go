package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout is how long a daemon may take to serve, stopTimeout to end.
	startTimeout = 60 * time.Second
	stopTimeout  = 90 * time.Second
	// keptLines are of a daemon's log, to show where it fails.
	keptLines = 100
)

// process is a daemon of a subject.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}

	mu  sync.Mutex
	log []string
}

// startProcess starts a daemon in a process group of its own, as Ctrl-C is for
// the bench, which ends its daemons in order. A bench that is killed takes them
// with it.
func startProcess(name, path string, args ...string) (*process, error) {
	//nolint:noctx // it runs what the bench compares, and stop ends it
	cmd := exec.Command(path, args...)
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		scanner := bufio.NewScanner(stderr)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			p.note(scanner.Text())
		}
		_ = cmd.Wait() // its state is asked for
	}()
	return p, nil
}

func (p *process) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, line)
	if len(p.log) > keptLines {
		p.log = p.log[1:]
	}
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// await returns when ready returns no error, which it is asked again and again.
func (p *process) await(ctx context.Context, ready func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("start %s: it ended with %d:\n%s", p.name, p.cmd.ProcessState.ExitCode(), p.logged())
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w: %w\n%s", p.name, ctx.Err(), err, p.logged())
		}
	}
}

// stop asks the process to end, and ends it where it does not.
func (p *process) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		err := p.cmd.Process.Kill()
		<-p.exited
		return errors.Join(fmt.Errorf("stop %s: it did not end within %s and was killed:\n%s", p.name, stopTimeout, p.logged()), err)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("stop %s: it ended with %d:\n%s", p.name, code, p.logged())
	}
	return nil
}

// environment is the bench's own without the options of a server, which would
// hold for the one that is measured.
func environment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CODEBEAKER_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// runProgram runs a program to its end.
func runProgram(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environment()
	var out output
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s %s: %w: %.500s", filepath.Base(path), args[0], err, out.stderr.String())
	}
	return out.stdout.String(), nil
}
