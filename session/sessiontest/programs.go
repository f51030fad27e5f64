package sessiontest

import (
	"fmt"
	"io"
	"strconv"
	"syscall"

	"codebeaker/runtime"
)

// ExitStatus is how a program ended.
type ExitStatus = runtime.ExitStatus

// Program is what runs in a process. It returns when the program ends, which it
// has to when one of its streams fails or Killed is closed.
type Program func(*Process) runtime.ExitStatus

// StandardPrograms are the programs of every host.
func StandardPrograms() map[string]Program {
	return map[string]Program{
		"exit":    printing(runtime.ExitStatus{}),
		"fail":    printing(runtime.ExitStatus{Code: 3}),
		"exit137": printing(runtime.ExitStatus{Code: 137}),
		"term":    printing(signaled(syscall.SIGTERM)),
		"kill":    printing(signaled(syscall.SIGKILL)),
		"lost": func(p *Process) runtime.ExitStatus {
			p.Lose()
			return printing(runtime.ExitStatus{})(p)
		},
		"block":  block,
		"cat":    cat,
		"yes":    yes,
		"echo":   echo,
		"seq":    seq,
		"signal": untilSignal,
	}
}

// printing prints "out" and "err" and ends.
func printing(status runtime.ExitStatus) Program {
	return func(p *Process) runtime.ExitStatus {
		_, _ = io.WriteString(p.Stdout, "out")
		_, _ = io.WriteString(p.Stderr, "err")
		return status
	}
}

// block prints as exit does and runs until it is killed.
func block(p *Process) runtime.ExitStatus {
	status := printing(signaled(syscall.SIGKILL))(p)
	<-p.Killed()
	return status
}

func cat(p *Process) runtime.ExitStatus {
	_, _ = io.Copy(p.Stdout, p.Stdin)
	return runtime.ExitStatus{}
}

// yes prints without end.
func yes(p *Process) runtime.ExitStatus {
	line := make([]byte, 0, 8<<10)
	for len(line) < cap(line) {
		line = append(line, "y\n"...)
	}
	for {
		if _, err := p.Stdout.Write(line); err != nil {
			return signaled(syscall.SIGPIPE)
		}
	}
}

func echo(p *Process) runtime.ExitStatus {
	for i, arg := range p.Options.Args[1:] {
		if i > 0 {
			arg = " " + arg
		}
		_, _ = io.WriteString(p.Stdout, arg)
	}
	_, _ = io.WriteString(p.Stdout, "\n")
	return runtime.ExitStatus{}
}

// seq prints the numbers from 1 to its argument.
func seq(p *Process) runtime.ExitStatus {
	n, err := strconv.Atoi(p.Options.Args[len(p.Options.Args)-1])
	if err != nil {
		return runtime.ExitStatus{Code: 2}
	}
	for i := 1; i <= n; i++ {
		if _, err := fmt.Fprintln(p.Stdout, i); err != nil {
			return signaled(syscall.SIGPIPE)
		}
	}
	return runtime.ExitStatus{}
}

// untilSignal prints the name of the first signal and ends by it.
func untilSignal(p *Process) runtime.ExitStatus {
	select {
	case s := <-p.Signals():
		_, _ = fmt.Fprintln(p.Stdout, s)
		return signaled(s)
	case <-p.Killed():
		return signaled(syscall.SIGKILL)
	}
}

func notFound(p *Process) runtime.ExitStatus {
	_, _ = fmt.Fprintf(p.Stderr, "codebeaker: %s: not found\n", p.Options.Args[0])
	return runtime.ExitStatus{Code: 127}
}
