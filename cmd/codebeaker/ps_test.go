package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"codebeaker/rpc/client/clienttest"
)

func TestPsListsWhatThereIs(t *testing.T) {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }
	s := newFakeServer(t, nil)
	s.intercept = func(c *clienttest.Conn, r clienttest.Request) bool {
		switch r.Method {
		case "session.list":
			c.Reply(r, map[string]any{"count": 1, "sessions": []any{map[string]any{
				"sessionId": "s1", "language": "python", "state": "Idle", "executionCount": 7, "unknown": "kept",
				"createdAt": ago(150 * time.Second), "lastActivity": ago(5*time.Second + 100*time.Millisecond),
			}}})
		case "execution.list":
			ended := ago(3 * time.Hour)
			list := []any{
				map[string]any{
					"executionId": "e1", "sessionId": "s1", "status": "running", "createdAt": ago(0), "command": "evil \x1b[2J" + strings.Repeat("x", 100),
				},
				map[string]any{
					"executionId": "e2", "sessionId": "s1", "status": "completed", "createdAt": ago(72 * time.Hour), "endedAt": ended,
					"exitCode": 3, "endReason": "exited", "command": "ls",
				},
				map[string]any{"executionId": "e3", "sessionId": "s1", "status": "completed", "endReason": "oom", "createdAt": ago(0), "command": "hog"},
				map[string]any{"executionId": "e4", "status": "failed", "createdAt": ago(0), "command": "go"},
			}
			if strings.Contains(string(r.Params), "s9") {
				list = nil
			}
			c.Reply(r, map[string]any{"executions": list})
		default:
			return false
		}
		return true
	}
	for name, tc := range map[string]struct {
		args      []string
		want, not []string
	}{
		"what runs":         {[]string{}, []string{"s1       python    Idle   2m ago   5s    7\n", "e1         s1       running  0s ago   evil \uFFFD[2Jxxx"}, []string{"\x1b", "e2", "e3", strings.Repeat("x", 60)}},
		"all":               {[]string{"-a"}, []string{"exited 3, 3h ago  3d ago   ls\n", "oom ", "e4         -        failed"}, nil},
		"one session":       {[]string{"s1"}, []string{"e1 "}, []string{"LANGUAGE"}},
		"an empty session":  {[]string{"s9"}, []string{"EXECUTION"}, []string{"e1"}},
		"ids":               {[]string{"-q"}, []string{"s1\n"}, []string{"e1"}},
		"ids in a session":  {[]string{"-qa", "s1"}, []string{"e1\ne2\ne3\ne4\n"}, []string{"s1"}},
		"JSON of a session": {[]string{"--json", "s1"}, []string{`"e1"`}, []string{`"e2"`, "sessions"}},
	} {
		stdout, stderr, code := runCommand(t, s, "", append([]string{"ps"}, tc.args...)...)
		if stderr != "" || code != 0 {
			t.Errorf("%s: it printed %q and exited with %d", name, stderr, code)
		}
		for _, text := range tc.want {
			if !strings.Contains(stdout, text) {
				t.Errorf("%s: there is no %q in\n%s", name, text, stdout)
			}
		}
		for _, text := range tc.not {
			if strings.Contains(stdout, text) {
				t.Errorf("%s: there is %q in\n%s", name, text, stdout)
			}
		}
	}
	stdout, _, _ := runCommand(t, s, "", "ps", "-a", "--json")
	var all struct {
		Sessions   []map[string]any `json:"sessions"`
		Executions []map[string]any `json:"executions"`
	}
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all.Executions) != 4 || all.Sessions[0]["unknown"] != "kept" {
		t.Errorf("--json printed %s, %v", stdout, err)
	}
}

func TestEndpointTakesWhatPeopleWrite(t *testing.T) {
	t.Setenv(serverEnv, "")
	for text, want := range map[string]string{
		"":                         "ws://127.0.0.1:5000/ws/jsonrpc",
		"host:1":                   "ws://host:1/ws/jsonrpc",
		"[::1]:5":                  "ws://[::1]:5/ws/jsonrpc",
		"http://host:1/":           "ws://host:1/ws/jsonrpc",
		"https://host/other":       "wss://host/other",
		"wss://host:1/ws/jsonrpc":  "wss://host:1/ws/jsonrpc",
		"://":                      "",
		"unix:///run/x":            "",
		"host:1\x7f":               "",
		"ws://127.0.0.1:x/ws/json": "",
	} {
		got, err := (&remote{flag: text}).endpoint()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	t.Setenv(serverEnv, "of.environment:7")
	if got, err := (&remote{}).endpoint(); err != nil || got != "ws://of.environment:7/ws/jsonrpc" {
		t.Errorf("the environment's is %q, %v", got, err)
	}
}
