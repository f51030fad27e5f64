package shim

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/pkg/sys"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/shim/direct"
)

const (
	// sharedFile marks the directory that a shared shim is started in.
	sharedFile = "shared"
	sharedSock = "sock"
	// callSock is the socket of package direct.
	callSock = "call"
	// wantedFD is the end of a pipe in a shared shim's process, of which its
	// starter has the other: once that is closed, or its holder gone, nobody
	// gives the shim another container.
	wantedFD = 4
	// callFD is the listening callSock in a shared shim's process.
	callFD = 5
)

// SharedOptions say what a shared shim works with.
type SharedOptions struct {
	// Program is the shim's binary.
	Program string
	// Dir has a directory for each shared shim. It is short, as sockets in it
	// have to fit their address.
	Dir string
	// Address and EventAddress are containerd's sockets: that which its clients
	// use, and that which takes events.
	Address, EventAddress string
	Namespace             string
	// TempDir is where it puts mount points for a moment.
	TempDir string
	// Publish gets the shim's events, one after another.
	Publish func(*types.Envelope)
	Log     *slog.Logger
}

// Shared is a shim for many containers, as whoever started it has it.
//
// containerd starts a shim for each container, in the container's bundle.
// A shared one is started without it, in a directory of its own below
// SharedOptions.Dir, and containerd is told in each create where it is. It
// outlives whoever started it as any other does, as long as it has containers;
// once it has none, and is not wanted any more, it ends and removes its
// directory.
type Shared struct {
	dir    string
	client *direct.Client
	wanted *os.File
	ended  chan struct{}
	once   sync.Once
}

// StartShared starts a shared shim. It takes containers at once.
func StartShared(opts SharedOptions) (_ *Shared, retErr error) {
	id := strings.ToLower(rand.Text())
	s := &Shared{dir: filepath.Join(opts.Dir, id), ended: make(chan struct{})}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(fmt.Errorf("start a shim: %w", retErr), os.RemoveAll(s.dir))
		}
	}()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, sharedFile), nil, 0o600); err != nil {
		return nil, err
	}
	socket, err := listenFile("unix", filepath.Join(s.dir, sharedSock))
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	calls, err := listenFile("unixpacket", filepath.Join(s.dir, callSock))
	if err != nil {
		return nil, err
	}
	defer calls.Close()
	if s.client, err = direct.Dial(filepath.Join(s.dir, callSock), opts.Publish); err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			s.client.Close()
		}
	}()
	log, err := openLog(s.dir)
	if err != nil {
		return nil, err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		log.Close()
		return nil, err
	}
	defer theirs.Close()
	cmd := osexec.Command(running(opts.Program), "-namespace", opts.Namespace, "-id", id, "-address", opts.Address) //nolint:noctx // it outlives its starter
	cmd.Args[0], cmd.Dir = opts.Program, s.dir
	cmd.Env = append(os.Environ(), "TTRPC_ADDRESS="+opts.EventAddress, "GRPC_ADDRESS="+opts.Address, "TMPDIR="+opts.TempDir)
	cmd.ExtraFiles = []*os.File{socket, theirs, calls} // 3, wantedFD, callFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		log.Close()
		ours.Close()
		return nil, err
	}
	s.wanted = ours
	// It dies after its containers and before its starter, where memory is short.
	if err := raiseOOMScore(cmd.Process.Pid); err != nil {
		opts.Log.Warn("let the OOM killer choose a shim before the server", "error", err)
	}
	go func() {
		defer close(s.ended)
		var said sync.WaitGroup
		said.Go(func() { repeat(log, opts.Log.With("component", "shim", "shim", id)) })
		err := cmd.Wait()
		log.Close()
		said.Wait()
		s.Release()
		s.client.Close()
		if err != nil {
			opts.Log.Error("a shim has ended, and its sessions with it", "shim", id, "error", err)
		}
		// One that was killed did not.
		if err := os.RemoveAll(s.dir); err != nil {
			opts.Log.Warn("remove what a shim left", "shim", id, "error", err)
		}
	}()
	return s, nil
}

// Address is where containerd reaches the shim, as its clients have to name it,
// and the version of the service there.
func (s *Shared) Address() (string, uint32) {
	return "ttrpc+unix://" + filepath.Join(s.dir, sharedSock), 3
}

// Client is the connection over which it starts programs. It ends with the shim.
func (s *Shared) Client() *direct.Client { return s.client }

// Takes says whether the shim takes another container: that it listens where
// containerd is going to call.
func (s *Shared) Takes() bool {
	conn, err := net.Dial("unix", filepath.Join(s.dir, sharedSock)) //nolint:noctx // it does not wait
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// Ended is closed when the shim has ended.
func (s *Shared) Ended() <-chan struct{} { return s.ended }

// Release says that the shim gets no more containers. It ends when it has none.
func (s *Shared) Release() { s.once.Do(func() { s.wanted.Close() }) }

// RemoveShared removes what shared shims left in a directory that do not run any
// more. Those that do have containers of an earlier server, and end after them.
func RemoveShared(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		own := filepath.Join(dir, e.Name())
		conn, err := net.Dial("unix", filepath.Join(own, sharedSock)) //nolint:noctx // it does not wait
		if err == nil {
			conn.Close()
			continue
		}
		errs = append(errs, os.RemoveAll(own))
	}
	return errors.Join(errs...)
}

// running returns a path of a program which, where this process runs it, is not
// that of a newer one that was installed in its place.
func running(program string) string {
	const self = "/proc/self/exe"
	if path, err := os.Executable(); err == nil && strings.TrimSuffix(path, " (deleted)") == program {
		return self
	}
	return program
}

// listenFile returns a socket that listens, for another process.
func listenFile(network, path string) (*os.File, error) {
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	return f, errors.Join(err, l.Close())
}

// openLog makes the FIFO that a shared shim logs to. Who opens it for reading
// and for writing has never to wait for the other, and loses nothing when it is
// gone.
func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, "log")
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
}

// repeat logs what a shim says, until its FIFO is closed.
func repeat(from io.Reader, to *slog.Logger) {
	lines := bufio.NewReaderSize(from, 4<<10)
	for {
		line, _, err := lines.ReadLine() // a long one is more than one
		if err != nil {
			return
		}
		to.Warn(string(line))
	}
}

func raiseOOMScore(pid int) error {
	score, err := sys.GetOOMScoreAdj(os.Getpid())
	if err != nil {
		return err
	}
	return sys.AdjustOOMScore(pid, min(score+1, 1000))
}

// isShared says whether this process was started as a shared shim.
func isShared() bool {
	_, err := os.Stat(sharedFile)
	return err == nil
}

// calls returns the socket on which servers call a shared shim.
func calls() (*net.UnixListener, error) {
	unix.CloseOnExec(callFD)
	f := os.NewFile(callFD, callSock)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen for servers: %w", err)
	}
	return l.(*net.UnixListener), nil //nolint:errcheck // it is a Unix socket
}

// awaitUnwanted returns when nobody gives this process another container.
func awaitUnwanted(ctx context.Context) {
	pipe := os.NewFile(wantedFD, "wanted")
	defer pipe.Close()
	unix.CloseOnExec(wantedFD)
	stop := context.AfterFunc(ctx, func() { pipe.Close() })
	defer stop()
	_, _ = pipe.Read(make([]byte, 1)) // nobody writes to it
}

// logToStarter sends warnings and errors, and what a crash says, to the FIFO
// that the starter copies from while it lives.
func logToStarter() error {
	f, err := openLog(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Dup3(int(f.Fd()), int(os.Stderr.Fd()), 0)
}
