package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// Methods of notifications.
const (
	MethodStarted       = "execution.started"
	MethodOutput        = "execution.output"
	MethodCompleted     = "execution.completed"
	MethodError         = "execution.error"
	MethodSessionClosed = "session.closed"
)

// Event is a notification.
type Event struct {
	// Method is its method, one of those above. It is empty where the event is the
	// answer to the call of a Stream, which is then Answer.
	Method string
	Answer json.RawMessage

	// ExecutionID is empty for MethodSessionClosed.
	ExecutionID, SessionID string

	// Stream, Offset and Data are of MethodOutput: "stdout" or "stderr", and what
	// was printed there after that many bytes.
	Stream string
	Offset int64
	Data   []byte

	// End is of MethodCompleted.
	End End

	// Error is of MethodError, for a person.
	Error string
}

// End is how an execution ended.
type End struct {
	ExitCode int
	// Reason is the wire's endReason, "exited" where the program ended by itself.
	Reason string
	// Error is a sentence for a person where the server gave one.
	Error    string
	Duration time.Duration
}

// wireEvent is the params of any notification.
type wireEvent struct {
	ExecutionID string  `json:"executionId"`
	SessionID   string  `json:"sessionId"`
	Stream      string  `json:"stream"`
	Text        string  `json:"text"`
	Offset      int64   `json:"offset"`
	Encoding    string  `json:"encoding"`
	ExitCode    int     `json:"exitCode"`
	DurationMs  float64 `json:"durationMs"`
	EndReason   string  `json:"endReason"`
	Error       string  `json:"error"`
}

func (w *wireEvent) end() End {
	return End{
		ExitCode: w.ExitCode, Reason: w.EndReason, Error: w.Error,
		Duration: time.Duration(w.DurationMs * float64(time.Millisecond)),
	}
}

func decodeEvent(method string, params json.RawMessage) (Event, error) {
	var w wireEvent
	if err := json.Unmarshal(params, &w); err != nil {
		return Event{}, fmt.Errorf("decode notification %s: %w", method, err)
	}
	data, err := DecodeText(w.Text, w.Encoding)
	if err != nil {
		return Event{}, fmt.Errorf("decode notification %s: %w", method, err)
	}
	return Event{
		Method: method, ExecutionID: w.ExecutionID, SessionID: w.SessionID,
		Stream: w.Stream, Offset: w.Offset, Data: data, Error: w.Error,
		End: w.end(),
	}, nil
}

// DecodeText returns the bytes of a text of the wire, whose encoding is
// "base64" where they are no text.
func DecodeText(text, encoding string) ([]byte, error) {
	if encoding == "base64" {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(text), nil
}
