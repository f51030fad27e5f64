package test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// npmClients installs the clients that the lock file names and returns their
// directory.
func npmClients(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("clients")); err != nil {
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
	dir := npmClients(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	cmd := exec.CommandContext(ctx, "node", "seed.mjs", url)
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
	wscat := filepath.Join(npmClients(t), "node_modules/wscat/bin/wscat")
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
