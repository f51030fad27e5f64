package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

// conversations are what a client sends (>) and receives (<), line by line. A
// server that says more than is written here fails.
var conversations = []struct {
	name     string
	sessions fakeSessions
	text     string
}{
	{name: "session life", text: `
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"python","idleTimeoutMinutes":0.5,"maxLifetimeMinutes":120,"memoryLimitMB":64}}
< {"jsonrpc":"2.0","id":1,"result":{"sessionId":"s1","containerId":"c1","language":"python","createdAt":"2025-10-27T12:00:00Z","state":"Active","config":{"idleTimeoutMinutes":0.5,"maxLifetimeMinutes":120,"memoryLimitMB":64,"cpuLimit":1,"pidsLimit":256}}}
> {"jsonrpc":"2.0","id":2,"method":"session.execute","params":{"sessionId":"s1","command":{"type":"write_file","path":"/workspace/hello.py","content":"print('Hello, World!')\n","mode":"Create"}}}
< {"jsonrpc":"2.0","id":2,"result":{"success":true,"result":{"path":"/workspace/hello.py","bytes":23},"error":null,"durationMs":45}}
> {"jsonrpc":"2.0","id":3,"method":"session.execute","params":{"sessionId":"s1","command":{"type":"read_file","path":"a"}}}
< {"jsonrpc":"2.0","id":3,"result":{"success":true,"result":{"path":"a","content":"text\n","bytes":5,"encoding":"utf-8"},"error":null,"durationMs":45}}
> {"jsonrpc":"2.0","id":4,"method":"session.execute","params":{"sessionId":"s1","command":{"type":"execute_shell","id":"mine","commandName":"python3","args":["hello.py"]}}}
< {"jsonrpc":"2.0","id":4,"result":{"id":"mine","success":true,"result":{"executionId":"e1","exitCode":0,"stdout":"20\n","stderr":"","stdoutOffset":0,"stderrOffset":0,"durationMs":12,"endReason":"exited","signal":null,"truncated":{"stdout":false,"stderr":false},"usage":{"cpuMs":9,"peakMemoryBytes":9437184,"maxRssBytes":8388608,"oomKills":0}},"error":null,"durationMs":45}}
> {"jsonrpc":"2.0","id":5,"method":"session.close","params":{"sessionId":"s1"}}
< {"jsonrpc":"2.0","id":5,"result":{"sessionId":"s1","closed":true}}
`},
	{name: "a failed program is a result", sessions: fakeSessions{
		execute: func(context.Context, string, session.Command) (*session.Outcome, error) {
			return &session.Outcome{
				Error: "python3 was killed by SIGKILL", Duration: time.Second,
				Result: &session.ExecutionResult{
					ID: "e1", ExitCode: 137, Stdout: []byte("\xff\x00"), Stderr: []byte("€"), StderrTruncated: true, StderrOffset: 7,
					Duration: time.Second, EndReason: session.EndOOM, Signal: "SIGKILL", Usage: session.Usage{OOMKills: 1},
				},
			}, nil
		},
	}, text: `
> {"jsonrpc":"2.0","id":1,"method":"session.execute","params":{"sessionId":"s1","command":{"type":"shell","command":"python3"}}}
< {"jsonrpc":"2.0","id":1,"result":{"success":false,"result":{"executionId":"e1","exitCode":137,"stdout":"/wA=","stderr":"€","stdoutOffset":0,"stderrOffset":7,"stdoutEncoding":"base64","durationMs":1000,"endReason":"oom","signal":"SIGKILL","truncated":{"stdout":false,"stderr":true},"usage":{"cpuMs":0,"peakMemoryBytes":0,"maxRssBytes":null,"oomKills":1}},"error":"python3 was killed by SIGKILL","durationMs":1000}}
`},
	{name: "initialize and languages", text: `
> {"jsonrpc":"2.0","id":"i","method":"initialize","params":{"clientInfo":{"name":"x"}}}
< {"jsonrpc":"2.0","id":"i","result":{"serverInfo":{"name":"codebeaker","version":"1.2.3"},"protocolVersion":"1.0","serverCapabilities":{"supportsStreaming":true,"supportedLanguages":["python"],"limits":{"maxMessageBytes":16777216,"maxBatch":1000,"maxPendingRequests":256,"maxFollowed":256}}}}
> {"jsonrpc":"2.0","id":"l","method":"language.list"}
< {"jsonrpc":"2.0","id":"l","result":{"languages":[{"name":"python","aliases":["py"],"version":"3.13","image":"img","ready":true}]}}
`},
	{name: "list", sessions: fakeSessions{
		list: func(context.Context) ([]session.Info, error) {
			return []session.Info{fakeInfo(session.CreateRequest{Language: "go"})}, nil
		},
	}, text: `
> {"jsonrpc":"2.0","id":1,"method":"session.list","params":{}}
< {"jsonrpc":"2.0","id":1,"result":{"count":1,"sessions":[{"sessionId":"s1","containerId":"c1","language":"go","createdAt":"2025-10-27T12:00:00Z","lastActivity":"2025-10-27T12:15:30Z","state":"Active","executionCount":5,"idleMinutes":2.5,"lifetimeMinutes":18}]}}
`},
	{name: "ids come back as sent", text: `
> {"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"session.list"}
< {"jsonrpc":"2.0","id":123456789012345678901234567890,"result":{"count":0,"sessions":[]}}
> {"jsonrpc":"2.0","id":"a\u0041<\n","method":"session.list"}
< {"jsonrpc":"2.0","id":"a\u0041<\n","result":{"count":0,"sessions":[]}}
> {"jsonrpc":"2.0","id":-0,"method":"session.list","params":null}
< {"jsonrpc":"2.0","id":-0,"result":{"count":0,"sessions":[]}}
> {"jsonrpc":"2.0","id":null,"method":"session.list"}
< {"jsonrpc":"2.0","id":null,"result":{"count":0,"sessions":[]}}
> {"jsonrpc":"2.0","id":1.5,"method":"session.list"}
< {"jsonrpc":"2.0","id":1.5,"result":{"count":0,"sessions":[]}}
> {"jsonrpc":"2.0","id":1e2,"method":"session.list"}
< {"jsonrpc":"2.0","id":1e2,"result":{"count":0,"sessions":[]}}
> {"jsonrpc":"2.0","id":1.5,"method":7}
< {"jsonrpc":"2.0","id":1.5,"error":{"code":-32600,"message":"invalid request: method takes a string, got a number"}}
> {"jsonrpc":"2.0","id":{"a":1},"method":"session.list"}
< {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: id takes a string, a number or null, got an object"}}
`},
	{name: "examples of the specification", text: `
> {"jsonrpc": "2.0", "method": "foobar", "id": "1"}
< {"jsonrpc":"2.0","id":"1","error":{"code":-32601,"message":"method not found: foobar"}}
> {"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]
< {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON: invalid character 'p' after object key:value pair"}}
> {"jsonrpc": "2.0", "method": 1, "params": "bar"}
< {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: method takes a string, got a number"}}
> [ {"jsonrpc": "2.0", "method": "session.list", "id": "1"}, {"jsonrpc": "2.0", "method"
< {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON: unexpected end of JSON input"}}
> []
< {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a batch has at least one entry"}}
> [1]
< [{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a request is an object, got a number"}}]
> [1,[],"x"]
< [{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a request is an object, got a number"}},{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a request is an object, got an array"}},{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a request is an object, got a string"}}]
> [{"jsonrpc":"2.0","method":"session.list","id":"1"},{"jsonrpc":"2.0","method":"session.list"},{"foo":"boo"},{"jsonrpc":"2.0","method":"foo.get","params":{"name":"myself"},"id":"5"}]
< [{"jsonrpc":"2.0","id":"1","result":{"count":0,"sessions":[]}},{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: jsonrpc is required and takes \"2.0\""}},{"jsonrpc":"2.0","id":"5","error":{"code":-32601,"message":"method not found: foo.get"}}]
> [{"jsonrpc":"2.0","method":"session.list"},{"jsonrpc":"2.0","method":"nope"}]
`},
	{name: "notifications are never answered", text: `
> {"jsonrpc":"2.0","method":"session.list"}
> {"jsonrpc":"2.0","method":"session.close","params":{}}
> {"jsonrpc":"2.0","method":"session.close","params":[]}
> {"jsonrpc":"2.0","method":"foobar"}
> {"jsonrpc":"2.0","id":1,"method":"session.list"}
< {"jsonrpc":"2.0","id":1,"result":{"count":0,"sessions":[]}}
`},
	{name: "not requests", text: `
> {"jsonrpc":"1.0","id":7,"method":"session.list"}
< {"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"invalid request: jsonrpc takes \"2.0\", got \"1.0\""}}
> {"jsonrpc":2.0,"id":7,"method":"session.list"}
< {"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"invalid request: jsonrpc takes \"2.0\", got 2.0"}}
> {"jsonrpc":"2.0","id":7,"Method":"session.list"}
< {"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"invalid request: method is required and takes a string"}}
> {"jsonrpc":"2.0","id":7,"method":"session.list","params":3}
< {"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"invalid request: params takes an object, got a number"}}
> {"jsonrpc":"2.0","id":7,"method":"session.list","params":[]}
< {"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"invalid params: params takes an object with named fields, got an array"}}
> {"jsonrpc":"2.0","id":7,"method":"rpc.anything"}
< {"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"method not found: rpc.anything"}}
> null
< {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a request is an object, got null"}}
> {"jsonrpc":"2.0","id":8,"id":9,"method":"nope","method":"session.list"}
< {"jsonrpc":"2.0","id":9,"result":{"count":0,"sessions":[]}}
`},
	{name: "params", text: `
> {"jsonrpc":"2.0","id":1,"method":"session.create"}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: language is required and takes a string that is not empty","data":{"field":"language"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":7}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: language takes a string that is not empty, got a number","data":{"field":"language"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","idleTimeoutMinutes":"1"}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: idleTimeoutMinutes takes a number, got a string","data":{"field":"idleTimeoutMinutes"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","maxLifetimeMinutes":1e400}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: maxLifetimeMinutes takes a number, got 1e400","data":{"field":"maxLifetimeMinutes"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","cpuLimit":"0"}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: cpuLimit takes a number, got a string","data":{"field":"cpuLimit"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","memoryLimit":64}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: memoryLimit is unknown: did you mean memoryLimitMB?","data":{"field":"memoryLimit"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.list","params":{"sessionId":"s"}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: sessionId is unknown: the method takes no fields","data":{"field":"sessionId"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.execute","params":{"sessionId":"s","command":{"type":"read_file","path":"a","ofset":3}}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: command.ofset is unknown: did you mean command.offset?","data":{"field":"command.ofset"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.execute","params":{"sessionId":"s","command":{"type":"execute_shell","command":"ls","cwd":"/tmp"}}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: command.cwd is unknown: the fields are args, background, cols, command, commandName, env, id, rows, stdin, timeout, tty, type, workingDirectory","data":{"field":"command.cwd"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","pidsLimit":1.5}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: pidsLimit takes a whole number, got 1.5","data":{"field":"pidsLimit"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","env":{"A":1}}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: env.A takes a string, got a number","data":{"field":"env.A"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","runtimePreference":3,"runtimeType":null,"persistFilesystem":"x","security":[{}],"memoryLimitMB":512.0}}
< {"jsonrpc":"2.0","id":1,"result":{"sessionId":"s1","containerId":"c1","language":"go","createdAt":"2025-10-27T12:00:00Z","state":"Active","config":{"idleTimeoutMinutes":30,"maxLifetimeMinutes":120,"memoryLimitMB":512,"cpuLimit":1,"pidsLimit":256}}}
> {"jsonrpc":"2.0","id":1,"method":"session.execute","params":{"sessionId":"s1"}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: command is required and takes an object","data":{"field":"command"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.execute","params":{"sessionId":"s1","command":{"type":"shell","command":"a"},"stream":1}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: stream takes a boolean, got a number","data":{"field":"stream"}}}
> {"jsonrpc":"2.0","id":1,"method":"session.close","params":{"sessionId":""}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: sessionId takes a string that is not empty, got \"\"","data":{"field":"sessionId"}}}
`},
	{name: "errors of sessions", sessions: fakeSessions{
		close: func(_ context.Context, id string) error {
			return fmt.Errorf("close session %s: %w", id, session.ErrNotFound)
		},
		create: func(context.Context, session.CreateRequest) (session.Info, error) {
			return session.Info{}, &session.LimitError{Limit: "2 sessions", RetryAfter: 1500 * time.Microsecond}
		},
	}, text: `
> {"jsonrpc":"2.0","id":1,"method":"session.close","params":{"sessionId":"x"}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"session not found: it was closed or never created"}}
> {"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go"}}
< {"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"limit reached: 2 sessions","data":{"retryAfterMs":2}}}
`},
}

func TestConversations(t *testing.T) {
	for _, conversation := range conversations {
		t.Run(conversation.name, func(t *testing.T) {
			s := startServer(t, Options{Sessions: &conversation.sessions, Version: "1.2.3"})
			c := s.dial(t)
			for line := range strings.Lines(strings.TrimSpace(conversation.text)) {
				says, text := line[0], line[2:] // with its newline, which is allowed
				if says == '>' {
					c.send(text)
				} else if got, want := c.receive(), strings.TrimSpace(text); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
			// Replies that nobody expected come before the answer to this.
			c.send(`{"jsonrpc":"2.0","id":"last","method":"session.list"}`)
			if got := c.receive(); !strings.Contains(got, `"id":"last"`) {
				t.Errorf("got %s, want nothing more", got)
			}
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(patience))
			if more := c.wantClosed(1000); len(more) > 0 {
				t.Errorf("got %q, want nothing more", more)
			}
		})
	}
}

func TestBatchSizeIsBounded(t *testing.T) {
	s := startServer(t, Options{MaxBatch: 3})
	c := s.dial(t)
	one := `{"jsonrpc":"2.0","id":1,"method":"session.list"}`
	c.send("[" + strings.Repeat(one+",", 3) + one + "]")
	want := `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a batch has at most 3 entries"}}`
	if got := c.receive(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.send("[" + strings.Repeat(one+",", 2) + one + "]")
	if got := c.receive(); strings.Count(got, `"result"`) != 3 {
		t.Errorf("got %s, want three results", got)
	}
}

func TestDepthBombIsAParseError(t *testing.T) {
	c := startServer(t, Options{}).dial(t)
	for _, bomb := range []string{
		strings.Repeat("[", 1<<20),
		strings.Repeat(`{"a":`, 1<<20),
		strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20),
	} {
		c.send(bomb)
		if r := c.receiveResponse(); r.Error == nil || r.Error.Code != codeParse {
			t.Errorf("got %+v, want code %d", r, codeParse)
		}
	}
}

func TestInternalErrorIsOnlyInTheLog(t *testing.T) {
	for _, how := range []string{"error", "panic"} {
		t.Run(how, func(t *testing.T) {
			s := startServer(t, Options{Sessions: &fakeSessions{list: func(context.Context) ([]session.Info, error) {
				if how == "panic" {
					panic("secret /var/lib/x")
				}
				return nil, errors.New("secret /var/lib/x")
			}}})
			c := s.dial(t)
			c.send(`{"jsonrpc":"2.0","id":1,"method":"session.list"}`)
			r := c.receiveResponse()
			if r.Error == nil || r.Error.Code != codeInternal || r.Error.Message != "internal error" || len(r.Error.Data) != 1 {
				t.Fatalf("got %+v, want an internal error with nothing but an id", r.Error)
			}
			id, _ := r.Error.Data["id"].(string)
			logs := s.logs.String()
			if len(id) < 12 || !strings.Contains(logs, id) || !strings.Contains(logs, "secret /var/lib/x") {
				t.Errorf("log does not have id %q with the error", id)
			}
			if how == "panic" && !strings.Contains(logs, "conversation_test.go") {
				t.Error("log does not have the stack")
			}
			c.send(`{"jsonrpc":"2.0","id":2,"method":"language.list"}`)
			if r := c.receiveResponse(); r.Error != nil {
				t.Errorf("after it: %v", r.Error)
			}
		})
	}
}
