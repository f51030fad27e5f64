package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// npmInstall installs what the lock file of a directory names, in a copy of it,
// which it returns.
func npmInstall(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

// The original's document, as a client that was written from it would do it.
func TestSeedExampleWithNpmWs(t *testing.T) {
	s := python(t)
	dir := npmInstall(t, "clients")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	endpoint := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	cmd := exec.CommandContext(ctx, "node", "seed.mjs", endpoint)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got struct {
		Stdout string
		Closed struct {
			SessionID string
			Closed    bool
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.Stdout != "20\n" || !got.Closed.Closed || got.Closed.SessionID == "" {
		t.Errorf("it printed %s", out)
	}
}

func TestSessionThroughWscat(t *testing.T) {
	s := python(t)
	wscat := filepath.Join(npmInstall(t, "clients"), "node_modules/wscat/bin/wscat")
	// ask sends requests on one connection, one after another without waiting,
	// and returns the answers that wscat shows.
	ask := func(requests ...string) []string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		args := []string{wscat, "--no-color", "--wait", "-1", "--connect", s.url}
		for _, r := range requests {
			args = append(args, "--execute", r)
		}
		cmd := exec.CommandContext(ctx, "node", args...)
		in, err := cmd.StdinPipe() // its end ends wscat
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer in.Close()
		var answers []string
		for lines := bufio.NewScanner(out); len(answers) < len(requests) && lines.Scan(); {
			if at := strings.Index(lines.Text(), `{"jsonrpc"`); at >= 0 {
				answers = append(answers, lines.Text()[at:])
			}
		}
		if len(answers) < len(requests) {
			t.Fatalf("wscat showed %q for %q", answers, requests)
		}
		return answers
	}
	var created struct{ Result sessionInfo }
	if err := json.Unmarshal([]byte(ask(`{"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"python"}}`)[0]), &created); err != nil {
		t.Fatal(err)
	}
	id := `"sessionId":"` + created.Result.SessionID + `"`
	answers := ask(
		`{"jsonrpc":"2.0","id":2,"method":"session.execute","params":{`+id+`,"command":{"type":"write_file","path":"a.py","content":"print(10*2)"}}}`,
		`{"jsonrpc":"2.0","id":3,"method":"session.execute","params":{`+id+`,"command":{"type":"shell","command":"python3","args":["a.py"]}}}`,
		`{"jsonrpc":"2.0","id":4,"method":"session.close","params":{`+id+`}}`,
	)
	for i, want := range []string{`"bytes":11`, `"stdout":"20\n"`, `"closed":true`} {
		if !strings.Contains(answers[i], want) {
			t.Errorf("answer %d is %s; want %s", i, answers[i], want)
		}
	}
}

func TestStreamThroughPythonWebsockets(t *testing.T) {
	s := python(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// Debian's, whose package it is, whatever else is in PATH.
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "clients/stream.py", s.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got struct {
		Told     []string
		Text     string
		ExitCode *int
		Closed   bool
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.Text != "Who? Hello, Zoë €😀!\n" || got.ExitCode == nil || *got.ExitCode != 0 || !got.Closed {
		t.Errorf("it printed %s", out)
	}
	if n := len(got.Told); n < 5 || got.Told[0] != "execution.started" || got.Told[n-2] != "execution.completed" || got.Told[n-1] != "session.closed" {
		t.Errorf("it was told %q", got.Told)
	}
}

// shown is what a page has in its document.
type shown struct{ Text, End string }

func TestStreamThroughABrowser(t *testing.T) {
	pages := http.NewServeMux()
	web := httptest.NewServer(pages)
	t.Cleanup(web.Close)
	s := private(t, "--allow-origin", web.URL)
	pages.Handle("GET /", http.FileServer(http.Dir("clients")))
	// The same page from another origin, inside of the first.
	other := strings.Replace(web.URL, "127.0.0.1", "localhost", 1)
	address := "/page.html?server=" + url.QueryEscape(s.url)
	pages.HandleFunc("GET /both.html", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><iframe src="%s%s"></iframe><iframe src="%s%s"></iframe>`, web.URL, address, other, address)
	})
	results := map[string]chan shown{web.URL: make(chan shown, 1), other: make(chan shown, 1)}
	pages.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		var got shown
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Errorf("a page sent: %v", err)
		}
		results[r.Header.Get("Origin")] <- got
	})
	browse(t, web.URL+"/both.html")
	for origin, want := range map[string]shown{
		web.URL: {"ready\ngrüße 😀", "exited 0, closed true"},
		other:   {"", "no connection"},
	} {
		select {
		case got := <-results[origin]:
			if got != want {
				t.Errorf("the page of %s shows %+v; want %+v", origin, got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the page of %s shows nothing after %s", origin, patience)
		}
	}
}

// browse opens a page in a headless Chromium until the test ends.
func browse(t *testing.T, page string) {
	t.Helper()
	home, err := os.MkdirTemp("", "browser-") //nolint:usetesting // what chromium leaves behind may be writing there for a while
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eventually(t, func() error { return os.RemoveAll(home) }) })
	cmd := exec.CommandContext(t.Context(), "chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-breakpad", "--remote-debugging-port=0", "--user-data-dir="+home, page)
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	// Its processes are a group, which ends together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the test's context has ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("chromium said:\n%s", said.String())
		}
	})
}
