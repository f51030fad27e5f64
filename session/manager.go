package session

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/session/output"
)

// Labels of a container: all that is recorded of a session. One that is in the
// pool has a language alone, and one that is claimed has all of them.
const (
	labelSession  = "org.codebeaker.session"
	labelLanguage = "org.codebeaker.language"
	labelCreated  = "org.codebeaker.created"
	labelIdle     = "org.codebeaker.idle-timeout"
	labelLifetime = "org.codebeaker.max-lifetime"
)

// Options say what a Manager works with. Zero values ask for the defaults.
type Options struct {
	// Catalogue is the languages that there are; images.NewCatalogue's.
	Catalogue  *images.Catalogue
	Images     Images
	Snapshots  Snapshots
	Containers Containers
	Log        *slog.Logger
	// Observer is told what happens; nobody is where it is nil.
	Observer Observer

	// Pool says what is kept ready; nothing where it is zero.
	Pool PoolOptions
	// Zygotes are the languages, by name, whose sessions have a zygote, and the
	// modules that it loads; nil for none. The language's programs are run by the
	// interpreter that its Run names first, with the file and its arguments
	// behind.
	Zygotes map[string][]string
	// MaxSessions bounds the sessions at one time, without those that were
	// closed and are being removed; 256.
	MaxSessions int
	// MaxRemoving bounds those whose removal was not tried yet; 64. A session that
	// closes beyond waits.
	MaxRemoving int
	// IdleTimeout is a session's that asked for none; 30 minutes.
	IdleTimeout time.Duration
	// MaxLifetime is a session's that asked for none; 120 minutes.
	MaxLifetime time.Duration
	// Limits are a session's that asked for none; 512 MiB, 1 core, 256 pids.
	Limits Limits
	// MaxLimits are the most that a session may ask for; 64 GiB, 256 cores,
	// 32768 pids.
	MaxLimits Limits
	// CreateTimeout is how long making a session or a member of the pool may take;
	// 1 minute.
	CreateTimeout time.Duration
	// ExecTimeout is a program's deadline that asked for none; 5 minutes.
	ExecTimeout time.Duration
	// FileTimeout is the deadline of a file command; 1 minute.
	FileTimeout time.Duration
	// MaxOutputBytes is how much of each stream of a program is kept in memory
	// and told with its result; 1 MiB.
	MaxOutputBytes int
	// Spill keeps more of the streams, in files; nil for nothing more.
	Spill *output.Spill
	// Kept counts what is kept of the streams; nil for nobody.
	Kept *output.Kept
	// MaxPrintedBytes ends an execution that prints more, on both streams
	// together; 0 is no limit.
	MaxPrintedBytes int64
	// KeepExecutions is for how long an execution that has ended is kept; 10
	// minutes. At most MaxKept are, 1024, which take at most MaxKeptBytes of
	// memory, 64 MiB.
	KeepExecutions time.Duration
	MaxKept        int
	MaxKeptBytes   int
	// MaxQueued bounds the executions that wait for a session of their own; 256.
	MaxQueued int
	// MaxFileBytes is the most that one ReadFile returns; 8 MiB.
	MaxFileBytes int64
	// MaxListEntries is the most that one ListDirectory returns; 10000.
	MaxListEntries int
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.IdleTimeout, 30*time.Minute)
	def(&o.MaxLifetime, 120*time.Minute)
	def(&o.CreateTimeout, time.Minute)
	def(&o.ExecTimeout, 5*time.Minute)
	def(&o.FileTimeout, time.Minute)
	o.Limits = o.Limits.or(Limits{MemoryBytes: 512 << 20, CPUs: 1, Pids: 256})
	o.Limits.MemoryBytes &^= 4095 // the kernel counts in pages
	o.Pool = o.Pool.withDefaults()
	o.MaxLimits = o.MaxLimits.or(Limits{MemoryBytes: 64 << 30, CPUs: 256, Pids: 32768})
	if o.Catalogue == nil {
		o.Catalogue = images.NewCatalogue()
	}
	number := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	number(&o.MaxSessions, 256)
	number(&o.MaxRemoving, 64)
	number(&o.MaxOutputBytes, 1<<20)
	number(&o.MaxKept, 1024)
	number(&o.MaxKeptBytes, 64<<20)
	number(&o.MaxQueued, 256)
	def(&o.KeepExecutions, 10*time.Minute)
	if o.MaxFileBytes == 0 {
		o.MaxFileBytes = 8 << 20
	}
	if o.MaxListEntries == 0 {
		o.MaxListEntries = 10000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	return o
}

// Manager owns the sessions and the executions.
type Manager struct {
	opts       Options
	ids        runtime.IDPool
	executions *registry
	pool       *pool
	removal    *removal

	mu sync.Mutex
	// sessions has those that are being created, too, and not those that ended
	// and are being removed.
	sessions map[string]*session
	gone     gone
	// queued counts executions that wait for a session of their own.
	queued int
	// waiters are those of them whose turn has not come, the first first. There
	// are none while there is a place.
	waiters []*waiter
	// creating ends the creates under way, by number, of which there were creates.
	creating map[uint64]context.CancelCauseFunc
	creates  uint64
	shutdown bool

	// work counts everything under way, so that Shutdown can wait for it.
	work sync.WaitGroup
	// watchers are the goroutines that remove sessions in the end, and behind
	// those that make bodies and remove such as nobody got.
	watchers, behind sync.WaitGroup
}

// New returns a Manager without sessions. Recover belongs before its use.
func New(opts Options) *Manager {
	m := &Manager{opts: opts.withDefaults(), sessions: map[string]*session{}, creating: map[uint64]context.CancelCauseFunc{}}
	m.executions = newRegistry(&m.opts)
	m.removal = newRemoval(m.opts.MaxRemoving)
	m.pool = newPool(m)
	return m
}

// Stats counts sessions and what waits.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	stats := Stats{
		Sessions: map[State]int{}, MaxSessions: m.opts.MaxSessions, Queued: m.queued,
		Removing: len(m.removal.places), RemovalsWaiting: int(m.removal.waiting.Load()), RemovalFailures: m.removal.failures.Load(),
	}
	for _, s := range m.sessions {
		stats.Sessions[s.info().State]++
	}
	m.mu.Unlock()
	stats.Pool = m.pool.stats()
	return stats
}

// newID returns an id that cannot be guessed.
func newID() string { return strings.ToLower(rand.Text()) }

// find returns a session that takes commands, or did; one that is being created
// is waited for.
func (m *Manager) find(ctx context.Context, id string) (*session, error) {
	m.mu.Lock()
	s, ok := m.sessions[id]
	m.mu.Unlock()
	if !ok {
		return nil, ErrNotFound
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.container == nil {
		return nil, ErrNotFound // it could not be created
	}
	return s, nil
}

// Get describes a session.
func (m *Manager) Get(ctx context.Context, id string) (Info, error) {
	s, err := m.find(ctx, id)
	if err != nil {
		return Info{}, err
	}
	return s.info(), nil
}

// Touch moves a session's idle deadline and describes it.
func (m *Manager) Touch(ctx context.Context, id string) (Info, error) {
	s, err := m.find(ctx, id)
	if err != nil {
		return Info{}, err
	}
	if err := s.touch(); err != nil {
		return Info{}, err
	}
	return s.info(), nil
}

// Execute carries out a command and returns its outcome. A program that fails
// is an outcome; errors are ErrNotFound, ErrClosed, *PathError, *InvalidError,
// *LimitError, ErrShutdown or the host's. A program is cancelled when ctx ends,
// unless the cause is ErrLeft.
func (m *Manager) Execute(ctx context.Context, id string, cmd Command) (*Outcome, error) {
	if p, ok := cmd.(Program); ok {
		return m.runProgram(ctx, id, p)
	}
	s, err := m.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := m.begin(s); err != nil {
		return nil, err
	}
	defer m.work.Done()
	defer s.commands.Done()
	defer s.rest()
	started := time.Now()
	s.awaitCleared(ctx)
	result, err := s.executeFile(ctx, cmd)
	if err != nil {
		return nil, s.because(err)
	}
	return &Outcome{Result: result, Success: true, Duration: time.Since(started)}, nil
}

func (m *Manager) begin(s *session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown {
		return ErrShutdown
	}
	if err := s.begin(); err != nil {
		return err
	}
	m.work.Add(1)
	return nil
}

// List describes all sessions, oldest first.
func (m *Manager) List(context.Context) ([]Info, error) {
	m.mu.Lock()
	infos := make([]Info, 0, len(m.sessions))
	for _, s := range m.sessions {
		infos = append(infos, s.info())
	}
	m.mu.Unlock()
	slices.SortFunc(infos, func(a, b Info) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return infos, nil
}

// Languages describes the catalogue.
func (m *Manager) Languages(ctx context.Context) ([]Language, error) {
	var languages []Language
	for _, l := range m.opts.Catalogue.Languages() {
		lang := Language{Name: l.Name, Aliases: l.Aliases, Image: images.ImageName(l.Name)}
		image, err := m.opts.Images.Resolve(ctx, l.Name)
		switch {
		case err == nil:
			lang.Version, lang.Ready = image.Version, true
		case !errdefs.IsNotFound(err):
			return nil, err
		}
		languages = append(languages, lang)
	}
	return languages, nil
}

// Close ends a session with all that runs in it and returns when that has ended
// and its executions are done. What the session was made of is removed behind;
// Close waits for that only where too much is to be removed already. It returns
// early with the error of ctx, and the session closes all the same.
func (m *Manager) Close(ctx context.Context, id string) error {
	s, err := m.find(ctx, id)
	if err != nil {
		return err
	}
	if !s.beginClose(ReasonClosed) {
		return ErrClosed
	}
	select {
	case <-s.answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Closed waits until a session closes and everything that ran in it has ended,
// and says why it did. Of a session that is gone it says so at once, if that is
// not too long ago.
func (m *Manager) Closed(ctx context.Context, id string) (Reason, error) {
	m.mu.Lock()
	s, ok := m.sessions[id]
	why, known := m.gone.reasons[id]
	m.mu.Unlock()
	switch {
	case known:
		return why, nil
	case !ok:
		return "", ErrNotFound
	}
	select {
	case <-s.ended:
		if why := s.closedFor(); why != "" {
			return why, nil
		}
		return "", ErrNotFound // it could not be created
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
