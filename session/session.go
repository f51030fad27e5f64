package session

import (
	"context"
	"fmt"
	"maps"
	"math"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"codebeaker/images"
	"codebeaker/runtime"
)

// Reason says why a session closed. The texts are those of the wire.
type Reason string

const (
	// ReasonClosed is a session that was closed on request.
	ReasonClosed Reason = "closed"
	// ReasonIdle is one that nobody used for its idle timeout.
	ReasonIdle Reason = "idle"
	// ReasonLifetime is one that lived as long as it may.
	ReasonLifetime Reason = "lifetime"
	// ReasonLost is one whose container ended by itself.
	ReasonLost Reason = "lost"
	// ReasonShutdown is one that ended with the server.
	ReasonShutdown Reason = "shutdown"
)

// session is one sandbox. What stands above mu does not change once it is ready,
// and but for its id and times is not looked at before.
type session struct {
	id string
	// body is set under mu when the session is made, but for its language.
	body
	opts        *Options
	created     time.Time
	idleTimeout time.Duration
	maxLifetime time.Duration
	// single says that it runs one program and closes.
	single bool
	// env is the environment of every program: the image's, ours, the
	// session's.
	env map[string]string

	// ready is closed when the session takes commands, or never will. closing is
	// closed when it takes no more, ended when those that it took have ended,
	// and answered when its removal has a place and Close may say so.
	ready, closing, ended, answered chan struct{}
	// commands counts those that were admitted and not answered yet.
	commands sync.WaitGroup
	// lingering counts goroutines that wait for what programs left behind, or clean
	// up after them; releasing has a place for each of a number of the latter.
	lingering sync.WaitGroup
	releasing chan struct{}
	files     fileServer

	mu sync.Mutex
	// clearing are closed when the files of a program that has ended are removed,
	// which is behind its answer.
	clearing     []chan struct{}
	limits       Limits
	state        State
	running      int // commands
	used         bool
	lastActivity time.Time
	executions   int
	reason       Reason
	timings      Timings
	// closedAt is when it began to close, endedAt when what ran in it had ended.
	closedAt, endedAt time.Time
}

// open gives a session its body and lets it take commands.
func (s *session) open(b body, t Timings) {
	env := environment(slices.Concat(b.image.Env, withoutNetwork(s.opts.Catalogue)), s.env, b.container.Limits().CPUs)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.env, s.timings = b, env, t
	s.limits = Limits(b.container.Limits()) // those in force
	if s.state == StateCreating {
		s.state = StateActive
	}
}

// begin admits a command.
func (s *session) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == StateClosing || s.state == StateClosed {
		return ErrClosed
	}
	s.state, s.used = StateActive, true
	s.running++
	s.commands.Add(1)
	s.lastActivity = time.Now()
	s.executions++
	return nil
}

// touch moves the idle deadline.
func (s *session) touch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == StateClosing || s.state == StateClosed {
		return ErrClosed
	}
	s.lastActivity = time.Now()
	return nil
}

// rest says that a command that was admitted is done. Whoever admitted it then
// counts it out of commands.
func (s *session) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.lastActivity = time.Now()
	if s.running == 0 && s.state == StateActive {
		s.state = StateIdle
	}
}

// beginClose refuses further commands from now on and lets the session's
// watcher remove it. It says whether this call was the first.
func (s *session) beginClose(why Reason) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == StateClosing || s.state == StateClosed {
		return false
	}
	s.state, s.reason, s.closedAt = StateClosing, why, time.Now()
	close(s.closing)
	return true
}

// expiry says why the session has expired, or when it may next.
func (s *session) expiry(now time.Time) (Reason, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.created.Add(s.maxLifetime).Sub(now)
	if life <= 0 {
		return ReasonLifetime, 0
	}
	if s.running > 0 {
		return "", min(life, s.idleTimeout)
	}
	idle := s.lastActivity.Add(s.idleTimeout).Sub(now)
	if idle <= 0 {
		return ReasonIdle, 0
	}
	return "", min(life, idle)
}

// closedFor returns why the session closes, empty where it does not.
func (s *session) closedFor() Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

func (s *session) info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Info{
		ID: s.id, ContainerID: s.containerID, Language: s.language, CreatedAt: s.created,
		LastActivity: s.lastActivity, State: s.state, ExecutionCount: s.executions,
		IdleTimeout: s.idleTimeout, MaxLifetime: s.maxLifetime, Limits: s.limits, Timings: s.timings,
	}
}

// watch waits for the end of a session, by request, expiry or accident, and
// removes it.
func (m *Manager) watch(ctx context.Context, s *session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lost := make(chan struct{})
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	waiting.Go(func() {
		if s.container.Wait(ctx) == nil {
			close(lost)
		}
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for open := true; open; {
		select {
		case <-s.closing:
			open = false
		case <-lost:
			s.beginClose(ReasonLost)
		case now := <-timer.C:
			why, next := s.expiry(now)
			if why != "" {
				s.beginClose(why)
			} else {
				timer.Reset(next)
			}
		}
	}
	m.end(ctx, s)
}

// end says that all that ran in the session has ended.
func (s *session) end() {
	s.mu.Lock()
	s.endedAt = time.Now()
	s.mu.Unlock()
	close(s.ended)
}

// or returns l with the values of def where it has none.
func (l Limits) or(def Limits) Limits {
	if l.MemoryBytes == 0 {
		l.MemoryBytes = def.MemoryBytes
	}
	if l.CPUs == 0 {
		l.CPUs = def.CPUs
	}
	if l.Pids == 0 {
		l.Pids = def.Pids
	}
	return l
}

// The least that a session can live on.
const (
	minMemoryBytes = 16 << 20
	minCPUs        = 0.05
	minPids        = 16
	maxMinutes     = 365 * 24 * 60
)

func validate(s *session, most Limits) error {
	switch l := s.limits; {
	case l.MemoryBytes < minMemoryBytes || l.MemoryBytes > most.MemoryBytes:
		return &InvalidError{Field: "memoryLimitMB", Takes: fmt.Sprintf("a number from %d to %d", minMemoryBytes>>20, most.MemoryBytes>>20)}
	case math.IsNaN(l.CPUs) || l.CPUs < minCPUs || l.CPUs > most.CPUs:
		return &InvalidError{Field: "cpuLimit", Takes: fmt.Sprintf("a number of cores from %g to %g", minCPUs, most.CPUs)}
	case l.Pids < minPids || l.Pids > most.Pids:
		return &InvalidError{Field: "pidsLimit", Takes: fmt.Sprintf("a whole number from %d to %d", minPids, most.Pids)}
	case s.idleTimeout <= 0 || s.idleTimeout > maxMinutes*time.Minute:
		return &InvalidError{Field: "idleTimeoutMinutes", Takes: fmt.Sprintf("a number above 0, at most %d", maxMinutes)}
	case s.maxLifetime <= 0 || s.maxLifetime > maxMinutes*time.Minute:
		return &InvalidError{Field: "maxLifetimeMinutes", Takes: fmt.Sprintf("a number above 0, at most %d", maxMinutes)}
	}
	return validateEnv("env", s.env)
}

// withoutNetwork returns what a session's environment has, as it has no network.
func withoutNetwork(c *images.Catalogue) []string {
	return append(c.Offline(), "APT_CONFIG="+runtime.AptOffline)
}

// environment merges what every session has, the environment that its image and
// the host give it, and its own; later ones win.
//
// To bound processor time changes the number of processors that programs see by
// nothing, so that variables tell those runtimes that have one for it.
func environment(given []string, own map[string]string, cpus float64) map[string]string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG": "C.UTF-8",
		"HOME": runtime.Workspace,
		"USER": "sandbox",
	}
	maps.Copy(env, processorEnv(cpus, "GOMAXPROCS", "DOTNET_PROCESSOR_COUNT", "OMP_NUM_THREADS", "PYTHON_CPU_COUNT"))
	for _, kv := range given {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	maps.Copy(env, own)
	return env
}

// processorEnv has variables say how many processors there are for a limit.
func processorEnv(cpus float64, names ...string) map[string]string {
	env := make(map[string]string, len(names))
	for _, name := range names {
		env[name] = strconv.Itoa(min(int(math.Ceil(cpus)), goruntime.NumCPU()))
	}
	return env
}

// environ returns env with more on top as KEY=value, sorted.
func environ(env, more map[string]string) []string {
	all := make(map[string]string, len(env)+len(more))
	maps.Copy(all, env)
	maps.Copy(all, more)
	list := make([]string, 0, len(all))
	for k, v := range all {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}
