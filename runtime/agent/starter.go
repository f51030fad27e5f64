package agent

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// starter starts programs for the shim.
type starter struct {
	link     *link
	children children
	// launch takes a program from its start to its end, and its descriptors.
	launch func(p *program, fds []int) error

	mu sync.Mutex
	// waiting are the programs that were not told to go yet, by id.
	waiting map[uint32]*program
	// zygote is the container's, from the making of its process to its end.
	zygote *zygote
}

// program is one that the shim asked for.
type program struct {
	id      uint32
	spec    *wire.Program
	streams [3]int
	forked  bool                 // from the zygote
	exited  chan unix.WaitStatus // one value
	goes    chan bool            // one value: whether it may become the program
}

func newStarter(fd int) *starter {
	s := &starter{link: newLink(fd), waiting: map[uint32]*program{}, children: children{programs: map[int]*program{}}}
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
	if m.Kind != wire.Go && m.Kind != wire.Cancel || len(fds) > 0 {
		return fmt.Errorf("message %d from the shim: %w", m.Kind, wire.ErrProtocol)
	}
	s.mu.Lock()
	p := s.waiting[m.ID]
	delete(s.waiting, m.ID)
	s.mu.Unlock()
	if p == nil {
		return fmt.Errorf("message %d about program %d, which does not wait: %w", m.Kind, m.ID, wire.ErrProtocol)
	}
	p.goes <- m.Kind == wire.Go
	return nil
}

// begin takes fds.
func (s *starter) begin(m wire.Message, body []byte, fds []int) error {
	if m.Detail == wire.InFile {
		if len(fds) == 0 {
			return fmt.Errorf("program %d without its file: %w", m.ID, wire.ErrProtocol)
		}
		var err error
		if body, err = readBody(fds[len(fds)-1], m.Argument); err != nil {
			return err
		}
		fds = fds[:len(fds)-1]
	}
	spec, err := wire.ParseProgram(body)
	if err == nil && len(fds) != spec.FDs() {
		err = fmt.Errorf("program with %d descriptors: %w", len(fds), wire.ErrProtocol)
	}
	if err != nil {
		closeAll(fds)
		return err
	}
	p := &program{id: m.ID, spec: spec, exited: make(chan unix.WaitStatus, 1), goes: make(chan bool, 1)}
	go func() {
		// A link that is broken ends serve as well.
		_ = s.launch(p, fds)
	}()
	return nil
}

// run takes a program from its start to its end.
func (s *starter) run(p *program, fds []int) error {
	gate, master, err := s.make(p, fds)
	if err != nil {
		var f *failure
		if !errors.As(err, &f) {
			f = &failure{wire.StagePrepare, unix.EINVAL}
		}
		return s.fail(p, f)
	}
	defer func() {
		if p.streams[2] >= 0 { // a number that was closed may be another's by now
			closeFD(p.streams[2])
		}
	}()
	defer closeFD(gate)
	defer s.forget(p)
	f := readReport(gate) // in its cgroups, and waiting
	if f == nil {
		// The gate ended: it was killed before it could wait.
		f = &failure{wire.StageFork, unix.ESRCH}
	}
	if f.stage != reportReady {
		closeAll(master)
		return s.fail(p, f)
	}
	s.mu.Lock()
	s.waiting[p.id] = p
	s.mu.Unlock()
	err = s.link.send(wire.Message{Kind: wire.Ready, ID: p.id}, master...)
	closeAll(master)
	if err != nil {
		return err
	}
	if !<-p.goes {
		return nil // the end of the gate ends the process
	}
	if _, err := unix.Write(gate, []byte{1}); err != nil {
		return s.fail(p, &failure{wire.StageFork, unix.ESRCH})
	}
	if f = readReport(gate); f != nil {
		if !p.spec.Soft {
			return s.fail(p, f)
		}
		// A fresh stream has room for a line.
		_, _ = unix.Write(p.streams[2], []byte("codebeaker: "+f.line(p.spec)+"\n"))
	}
	closeFD(p.streams[2])
	p.streams[2] = -1
	running := wire.Message{Kind: wire.Running, ID: p.id}
	if p.forked {
		running.Detail = wire.Forked
	}
	if err := s.link.send(running); err != nil {
		return err
	}
	if z := s.zygoteOf(p); z != nil {
		z.greet()
	}
	status := <-p.exited
	s.forget(p) // before another one is asked for
	return s.link.send(wire.Message{Kind: wire.Exited, ID: p.id, Argument: uint32(status) & 0xffff})
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
	z.mu.Lock()
	defer z.mu.Unlock()
	z.ready = false
	closeFD(z.fd)
}

func (s *starter) fail(p *program, f *failure) error {
	return s.link.send(wire.Message{Kind: wire.Failed, ID: p.id, Argument: uint32(f.stage), Detail: uint32(f.errno)})
}

// make makes a program's process. It returns the gate, on which the process says
// how far it came and waits for a byte, and what Ready brings along. It takes fds,
// and leaves the program's third stream open for what there may be to say on it.
func (s *starter) make(p *program, fds []int) (gate int, ready []int, retErr error) {
	defer func() {
		closeAll(fds)
		if retErr != nil {
			closeAll(ready)
		}
	}()
	rest := fds
	if p.spec.Terminal {
		master, slave, err := openTerminal(p.spec)
		if err != nil {
			return -1, nil, &failure{wire.StageTerminal, errno(err)}
		}
		ready = []int{master}
		fds = append(fds, slave)
		p.streams = [3]int{slave, slave, slave}
	} else {
		p.streams, rest = [3]int(fds[:3]), fds[3:]
	}
	gates, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, ready, &failure{wire.StagePrepare, errno(err)}
	}
	defer closeFD(gates[1])
	said, err := unix.FcntlInt(uintptr(p.streams[2]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		closeFD(gates[0])
		return -1, ready, &failure{wire.StagePrepare, errno(err)}
	}
	pidfd, err := s.fork(p, gates[1], rest)
	if err != nil {
		closeFD(gates[0])
		closeFD(said)
		if f, ok := errors.AsType[*failure](err); ok {
			return -1, ready, f
		}
		return -1, ready, &failure{wire.StageFork, errno(err)}
	}
	ready = append([]int{pidfd}, ready...)
	p.streams[2] = said
	return gates[0], ready, nil
}

// fork makes a program's process, through the zygote where that can be, and
// returns its pidfd. The descriptors stay the caller's.
func (s *starter) fork(p *program, gate int, rest []int) (pidfd int, err error) {
	inherited := -1
	if p.spec.Zygote {
		if inherited, err = s.claimZygote(p); err != nil {
			return -1, err
		}
		defer closeFD(inherited)
		defer func() {
			if err != nil {
				s.forget(p)
			}
		}()
	}
	var z *zygote
	if p.spec.Fork {
		s.mu.Lock()
		z = s.zygote
		s.mu.Unlock()
	}
	c, err := newChild(p.spec, p.streams, gate, rest)
	if err != nil {
		return -1, err
	}
	if inherited >= 0 {
		c.zygote = uintptr(inherited)
	}
	s.children.mu.Lock()
	defer s.children.mu.Unlock()
	var pid int
	err = errDeclined
	if z != nil {
		pid, pidfd, err = z.fork(p.spec, slices.Concat(p.streams[:], rest, []int{gate}))
		p.forked = err == nil
		if err != nil && !errors.Is(err, errDeclined) {
			s.children.kill(z.program)
		}
	}
	if err != nil {
		pid, pidfd, err = c.fork()
	}
	if err == nil {
		s.children.programs[pid] = p
	}
	return pidfd, err
}

// failure is why a program could not be started.
type failure struct {
	stage wire.Stage
	errno unix.Errno
}

func (f *failure) Error() string { return fmt.Sprintf("stage %d: %v", f.stage, f.errno) }

// line is what the program's user is told, as Exec does.
func (f *failure) line(spec *wire.Program) string {
	name := spec.Args[0]
	switch {
	case f.stage == wire.StageDirectory:
		return fmt.Sprintf("working directory %s: %v", spec.Dir, f.errno)
	case f.errno == unix.ENOENT:
		return name + ": not found"
	case f.errno == unix.EACCES && isDirectory(spec, name):
		return fmt.Sprintf("%s: %v", name, unix.EISDIR)
	default:
		return fmt.Sprintf("%s: %v", name, f.errno)
	}
}

func isDirectory(spec *wire.Program, name string) bool {
	if !strings.Contains(name, "/") {
		return false
	}
	if !strings.HasPrefix(name, "/") {
		name = spec.Dir + "/" + name
	}
	var st unix.Stat_t
	return unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

func errno(err error) unix.Errno {
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return e
	}
	return unix.EINVAL
}
