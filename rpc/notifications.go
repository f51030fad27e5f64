package rpc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"codebeaker/session"
	"codebeaker/session/output"
)

// notification is what the server tells a client unasked: an execution.started,
// execution.output, execution.completed, execution.error or session.closed. The
// types below are their params.
type notification interface {
	// method names the notification.
	method() string
	// doc says what it tells.
	doc() string
}

type startedNote struct {
	ExecutionID string `json:"executionId" doc:"Which execution."`
	SessionID   string `json:"sessionId" doc:"Where it runs."`
	Language    string `json:"language" doc:"Its language."`
}

type outputNote struct {
	ExecutionID string `json:"executionId" doc:"Which execution."`
	SessionID   string `json:"sessionId" doc:"Where it runs."`
	Stream      string `json:"stream" doc:"stdout or stderr."`
	Text        string `json:"text" doc:"What was printed."`
	Offset      int64  `json:"offset" doc:"How many bytes the stream had before."`
	Encoding    string `json:"encoding" doc:"utf-8, or base64 where it is no text."`
}

type completedNote struct {
	ExecutionID string            `json:"executionId" doc:"Which execution."`
	SessionID   string            `json:"sessionId" doc:"Where it ran."`
	ExitCode    int               `json:"exitCode" doc:"The program's, or 128 plus the number of the signal that ended it, or -1 where nobody saw its end."`
	DurationMs  int64             `json:"durationMs" doc:"How long it ran."`
	Timeout     bool              `json:"timeout" doc:"It was killed at its time limit."`
	EndReason   session.EndReason `json:"endReason" doc:"How it ended, as it was seen."`
}

type errorNote struct {
	ExecutionID string `json:"executionId" doc:"Which execution."`
	SessionID   string `json:"sessionId" doc:"Where it runs; empty where it never did."`
	Error       string `json:"error" doc:"What went wrong, for a person."`
	*lostOutput
}

// lostOutput is output that a client missed.
type lostOutput struct {
	Stream string `json:"stream,omitempty" doc:"The stream of which output is lost to this client, and no more follows."`
	From   int64  `json:"from,omitempty" doc:"Offset of the first byte that is lost."`
	To     int64  `json:"to,omitempty" doc:"Offset of the byte after the last one that is lost."`
}

type closedNote struct {
	SessionID string         `json:"sessionId" doc:"Which session."`
	Reason    session.Reason `json:"reason" doc:"Why it closed."`
}

func (*startedNote) method() string   { return "execution.started" }
func (*outputNote) method() string    { return "execution.output" }
func (*completedNote) method() string { return "execution.completed" }
func (*errorNote) method() string     { return "execution.error" }
func (*closedNote) method() string    { return "session.closed" }

func (*startedNote) doc() string   { return "A program began to run." }
func (*outputNote) doc() string    { return "A program printed something." }
func (*completedNote) doc() string { return "A program ended. Everything it printed came before." }
func (*errorNote) doc() string {
	return "A program never ran, or output is lost to a client that reads too slowly."
}

func (*closedNote) doc() string {
	return "A session closed. Everything about its executions came before."
}

// notifications has one of each.
func notifications() []notification {
	return []notification{&startedNote{}, &outputNote{}, &completedNote{}, &errorNote{}, &closedNote{}}
}

func newOutputNote(executionID, sessionID string, stream session.Stream, c output.Chunk) *outputNote {
	n := &outputNote{ExecutionID: executionID, SessionID: sessionID, Stream: stream.String(), Offset: c.Offset, Encoding: "utf-8"}
	if c.Text {
		n.Text = string(c.Data)
	} else {
		n.Text, n.Encoding = base64.StdEncoding.EncodeToString(c.Data), "base64"
	}
	return n
}

// encodeNotification returns the message that a notification is.
func encodeNotification(n notification) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"jsonrpc":"2.0","method":%q,"params":`, n.method())
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(n); err != nil { // they hold strings and numbers
		panic(err)
	}
	b.Truncate(b.Len() - 1)
	b.WriteByte('}')
	return b.Bytes()
}
