package test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"codebeaker/runtime/shim"
)

// sharedServer is a server that tests use which do not change it. The first of
// them starts it.
type sharedServer struct {
	args []string // of serve
	once sync.Once
	s    *server
	err  error
}

var (
	pythonServer, busyboxServer sharedServer
	// stockServer is busyboxServer for TestOnTheStockRuntime.
	stockServer = sharedServer{args: []string{"--runtime", shim.StockName}}
)

// otherImages are those of the languages beside Python, on pythonServer.
var otherImages struct {
	once sync.Once
	err  error
}

// get returns the server, which prepare makes ready where it is the first time.
func (sh *sharedServer) get(tb testing.TB, prepare func(*server) error) *server {
	tb.Helper()
	sh.once.Do(func() {
		if sh.s, sh.err = newServer(); sh.err != nil {
			return
		}
		if sh.err = sh.s.start(sh.args...); sh.err != nil {
			return
		}
		// While it runs: it has to see the new image.
		sh.err = prepare(sh.s)
	})
	if sh.err != nil {
		tb.Fatalf("start a shared server: %v", sh.err)
	}
	logOnFailure(tb, sh.s)
	return sh.s
}

func (sh *sharedServer) close() error {
	if sh.s == nil {
		return nil
	}
	return sh.s.close()
}

// python returns a server with a Python image: the installed one where
// $CODEBEAKER_TEST_SERVER says where it is, and else one that built it.
func python(tb testing.TB) *server {
	tb.Helper()
	if url := os.Getenv("CODEBEAKER_TEST_SERVER"); url != "" {
		return installed(url)
	}
	return pythonServer.get(tb, func(s *server) error { return s.images(tb.Context(), "build", "python") })
}

// languages returns a server with the images of all languages, or the installed
// one. It is python's, which has one of them already.
func languages(tb testing.TB) *server {
	tb.Helper()
	s := python(tb)
	if os.Getenv("CODEBEAKER_TEST_SERVER") != "" {
		return s
	}
	otherImages.once.Do(func() { otherImages.err = s.images(tb.Context(), "build", "--all", "--missing") })
	if otherImages.err != nil {
		tb.Fatalf("build the languages' images: %v", otherImages.err)
	}
	return s
}

// busybox returns a server whose python is busybox, and whose javascript is that
// with bash.
func busybox(t *testing.T) *server {
	t.Helper()
	shared := &busyboxServer
	if onStock(t) {
		shared = &stockServer
	}
	return shared.get(t, func(s *server) error {
		return errors.Join(
			s.images(t.Context(), "import", "python", busyboxArchive(t)),
			s.images(t.Context(), "import", "javascript", writeArchive(t, busyboxLayer(t, hostsBash(t)))),
		)
	})
}

// installed is the server that packaging/install.sh installed and systemd runs.
func installed(url string) *server {
	return &server{
		root: "/var/lib/codebeaker", state: "/run/codebeaker", parent: "/codebeaker.slice/codebeaker-sessions.service",
		url: url, base: httpURL(url),
	}
}

// httpURL returns the URL of HTTP of an endpoint.
func httpURL(url string) string {
	return "http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), "/ws/jsonrpc")
}
