package agent

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// starter starts programs for the shim.
type starter struct {
	link     *link
	children children
	// launch makes a program's process, and takes its descriptors.
	launch func(p *program, fds []int) error
	// errors are the texts of the system's errors, by number.
	errors []string
	// slack is the timer slack that programs have, in nanoseconds.
	slack uintptr
	// sched is the scheduling that programs have; nil for the agent's own.
	sched *unix.SchedAttr

	mu sync.Mutex
	// zygote is the container's, from the making of its process to its end.
	zygote *zygote
}

// program is one that the shim asked for.
type program struct {
	id      uint32
	spec    *wire.Program
	streams [3]int
	forked  bool // from the zygote
}

func newStarter(fd int) *starter {
	s := &starter{link: newLink(fd), errors: errorTexts()}
	s.children = children{programs: map[int]*program{}, born: make(chan struct{}, 1), ended: s.end}
	s.launch = s.run
	return s
}

// serve does what the shim asks for until the shim ends, which is no error.
func (s *starter) serve() error {
	if err := s.link.send(wire.Message{Kind: wire.Hello, Argument: wire.Version}); err != nil {
		return fmt.Errorf("greet the shim: %w", err)
	}
	for {
		m, body, fds, err := s.link.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.handle(m, body, fds)
		}
		if err != nil {
			return fmt.Errorf("serve the shim: %w", err)
		}
	}
}

// handle takes fds.
func (s *starter) handle(m wire.Message, body []byte, fds []int) error {
	if m.Kind == wire.Start {
		return s.begin(m, body, fds)
	}
	closeAll(fds)
	return fmt.Errorf("message %d from the shim: %w", m.Kind, frame.ErrProtocol)
}

// begin takes fds.
func (s *starter) begin(m wire.Message, body []byte, fds []int) error {
	if m.Detail == wire.InFile {
		if len(fds) == 0 {
			return fmt.Errorf("program %d without its file: %w", m.ID, frame.ErrProtocol)
		}
		var err error
		if body, err = readBody(fds[len(fds)-1], m.Argument); err != nil {
			return err
		}
		fds = fds[:len(fds)-1]
	}
	spec, err := wire.ParseProgram(body)
	if err == nil && len(fds) != spec.FDs() {
		err = fmt.Errorf("program with %d descriptors: %w", len(fds), frame.ErrProtocol)
	}
	if err != nil {
		closeAll(fds)
		return err
	}
	return s.launch(&program{id: m.ID, spec: spec}, fds)
}

// run makes a program's process, and says so or why there is none. It takes fds.
func (s *starter) run(p *program, fds []int) error {
	err := s.make(p, fds)
	if f, ok := errors.AsType[*failure](err); ok {
		return s.link.send(wire.Message{Kind: wire.Failed, ID: p.id, Argument: uint32(f.stage), Detail: uint32(f.errno)})
	}
	return err
}

// end is called when a program was reaped.
func (s *starter) end(p *program, status unix.WaitStatus, maxRSS int64) {
	s.forget(p) // before another one is asked for
	// A link that is broken ends serve as well.
	_ = s.link.send(wire.Message{
		Kind: wire.Exited, ID: p.id, Argument: uint32(status) & 0xffff, Detail: uint32(min(maxRSS, math.MaxUint32)),
	})
}

// claimZygote makes the program the container's zygote, or fails where there is
// one. It returns the descriptor that is for the interpreter.
func (s *starter) claimZygote(p *program) (int, error) {
	z, theirs, err := newZygote(p)
	if err != nil {
		return -1, &failure{wire.StageExec, errno(err)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zygote != nil {
		closeAll([]int{z.fd, theirs})
		return -1, unix.EBUSY
	}
	s.zygote = z
	return theirs, nil
}

// zygoteOf returns the zygote that the program is, nil where it is none.
func (s *starter) zygoteOf(p *program) *zygote {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zygote == nil || s.zygote.program != p {
		return nil
	}
	return s.zygote
}

// forget forgets the zygote that the program is, where it is one.
func (s *starter) forget(p *program) {
	z := s.zygoteOf(p)
	if z == nil {
		return
	}
	s.mu.Lock()
	s.zygote = nil
	s.mu.Unlock()
	z.greeting.Wait() // its end ends that
	z.mu.Lock()
	defer z.mu.Unlock()
	z.ready = false
	closeFD(z.fd)
}

// make makes a program's process, which goes on to wait at its gate, and says
// Ready. It takes fds.
func (s *starter) make(p *program, fds []int) error {
	defer func() { closeAll(fds) }()
	rest, gate := fds[:len(fds)-1], fds[len(fds)-1]
	var terminal []int
	if p.spec.Terminal {
		master, slave, err := openTerminal(p.spec)
		if err != nil {
			return &failure{wire.StageTerminal, errno(err)}
		}
		fds = append(fds, slave, master)
		terminal = []int{master}
		p.streams = [3]int{slave, slave, slave}
	} else {
		p.streams, rest = [3]int(rest[:3]), rest[3:]
	}
	inherited := -1
	var err error
	if p.spec.Zygote {
		if inherited, err = s.claimZygote(p); err != nil {
			return err
		}
		fds = append(fds, inherited)
	}
	c, err := newChild(p.spec, p.streams, gate, rest)
	if err == nil && p.spec.Soft {
		c.soft, err = newComplaint(p.spec, s.errors)
	}
	if err != nil {
		s.forget(p)
		return &failure{wire.StagePrepare, errno(err)}
	}
	c.slack, c.sched = s.slack, s.sched
	if inherited >= 0 {
		c.zygote = uintptr(inherited)
	}
	return s.fork(p, c, gate, rest, terminal)
}

// fork makes a program's process, through the zygote where that can be, and says
// Ready before its end can be said. The descriptors stay the caller's.
func (s *starter) fork(p *program, c *child, gate int, rest, terminal []int) error {
	var z *zygote
	if p.spec.Fork {
		s.mu.Lock()
		z = s.zygote
		s.mu.Unlock()
	}
	s.children.mu.Lock()
	defer s.children.mu.Unlock()
	var pid, pidfd int
	err := errDeclined
	if z != nil {
		pid, pidfd, err = z.fork(p.spec, slices.Concat(p.streams[:], rest, []int{gate}))
		p.forked = err == nil
	}
	if err != nil && !errors.Is(err, errDeclined) {
		// A process of its may wait at the gate. The shim knows how to end that, once
		// there will be no other.
		s.children.stop(z.program)
		return &failure{wire.StageFork, wire.ErrZygoteSilent}
	}
	if err != nil {
		pid, pidfd, err = c.fork()
	}
	if err != nil {
		s.forget(p)
		return &failure{wire.StageFork, errno(err)}
	}
	defer closeFD(pidfd)
	s.children.add(pid, p)
	if z := s.zygoteOf(p); z != nil {
		z.greeting.Go(z.greet)
	}
	ready := wire.Message{Kind: wire.Ready, ID: p.id}
	if p.forked {
		ready.Detail = wire.Forked
	}
	return s.link.send(ready, append([]int{pidfd}, terminal...)...)
}

// failure is why a program could not be started.
type failure struct {
	stage wire.Stage
	errno unix.Errno
}

func (f *failure) Error() string { return fmt.Sprintf("stage %d: %v", f.stage, f.errno) }

func errno(err error) unix.Errno {
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return e
	}
	return unix.EINVAL
}
