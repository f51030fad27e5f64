package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// message is what a client sent in one frame.
type message struct {
	// batch says that the reply is an array.
	batch   bool
	entries []entry
}

// entry is one request of a message, or the reason why it is none.
type entry struct {
	request
	err *wireError
}

// request is a JSON-RPC request. Its parts share the memory of the message.
type request struct {
	// id is the id as it was sent, byte for byte; nil for a notification.
	id     json.RawMessage
	method string
	// params is an object, an array, or nil where there were none.
	params json.RawMessage
}

// nullID() is the id of a response to what had no id that could be read.
func nullID() json.RawMessage { return json.RawMessage("null") }

// decodeMessage reads a message strictly by the JSON-RPC 2.0 specification,
// but for params that are null, which count as absent, since serializers write
// them. The result has at least one entry.
func decodeMessage(text []byte, maxBatch int) message {
	if err := syntaxError(text); err != nil {
		return refused(codeParse, "not JSON: %v", err)
	}
	text = bytes.Trim(text, " \t\r\n")
	if text[0] != '[' {
		return message{entries: []entry{decodeRequest(text)}}
	}

	msg := message{batch: true}
	err := eachElement(text, func(value []byte) error {
		if len(msg.entries) == maxBatch {
			return errStop
		}
		msg.entries = append(msg.entries, decodeRequest(value))
		return nil
	})
	switch {
	case errors.Is(err, errStop):
		return refused(codeInvalidRequest, "a batch has at most %d entries", maxBatch)
	case len(msg.entries) == 0:
		return refused(codeInvalidRequest, "a batch has at least one entry")
	}
	return msg
}

// refused is a message that is answered with one error.
func refused(code int, format string, args ...any) message {
	return message{entries: []entry{{
		request: request{id: nullID()},
		err:     &wireError{Code: code, Message: fmt.Sprintf(format, args...)},
	}}}
}

// decodeRequest reads one request from valid JSON. Where it returns an error
// the id is the request's if it has a good one, and otherwise null: what is no
// request is no notification either.
func decodeRequest(value []byte) entry {
	var e entry
	if value[0] != '{' {
		return invalidRequest(nil, "a request is an object, got %s", kindOf(value))
	}

	var version, method, id, params []byte
	_ = eachField(value, func(name, value []byte) error {
		switch string(name) {
		case "jsonrpc":
			version = value
		case "method":
			method = value
		case "id":
			id = value
		case "params":
			params = value
		}
		return nil
	})

	switch {
	case id != nil && !isID(id):
		return invalidRequest(nil, "id takes a string, a number or null, got %s", quoteValue(id))
	case version == nil:
		return invalidRequest(id, `jsonrpc is required and takes "2.0"`)
	case version[0] != '"' || string(unquote(version)) != "2.0":
		return invalidRequest(id, `jsonrpc takes "2.0", got %s`, quoteValue(version))
	case method == nil:
		return invalidRequest(id, "method is required and takes a string")
	case method[0] != '"':
		return invalidRequest(id, "method takes a string, got %s", kindOf(method))
	case params != nil && params[0] != '{' && params[0] != '[' && !isNull(params):
		return invalidRequest(id, "params takes an object, got %s", kindOf(params))
	}

	e.id = id
	e.method = string(unquote(method))
	if params != nil && !isNull(params) {
		e.params = params
	}
	return e
}

func invalidRequest(id []byte, format string, args ...any) entry {
	if id == nil {
		id = nullID()
	}
	return entry{
		request: request{id: id},
		err:     &wireError{Code: codeInvalidRequest, Message: "invalid request: " + fmt.Sprintf(format, args...)},
	}
}

// isID says whether a JSON value can be an id. The specification advises against
// numbers with fractions and allows them; each comes back byte for byte.
func isID(value []byte) bool {
	switch kindOf(value) {
	case "a string", "a number", "null":
		return true
	default:
		return false
	}
}

// quoteValue shows a JSON value to a person: itself where it is short, and its
// kind where it is not.
func quoteValue(value []byte) string {
	if k := value[0]; k != '{' && k != '[' && len(value) <= 40 {
		return string(value)
	}
	return kindOf(value)
}

// encodeResult returns the response with a result. It fails where the result
// has a value that JSON does not have, which is a mistake of this package.
func encodeResult(id json.RawMessage, result any) ([]byte, error) {
	return encodeResponse(id, "result", result)
}

// encodeError returns the response with an error.
func encodeError(id json.RawMessage, e *wireError) []byte {
	text, err := encodeResponse(id, "error", e)
	if err != nil { // wireError.Data holds strings and numbers
		panic(err)
	}
	return text
}

// encodeResponse writes the envelope by hand: encoding/json would validate and
// copy the id and a large result once more.
func encodeResponse(id json.RawMessage, member string, value any) ([]byte, error) {
	head := slices.Concat([]byte(`{"jsonrpc":"2.0","id":`), id, []byte(`,"`+member+`":`))
	if long, ok := value.(appender); ok {
		if text, ok := long.appendJSON(head); ok {
			return append(text, '}'), nil
		}
	}
	b := bytes.NewBuffer(head)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // nobody puts a response into HTML unread
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("encode %s: %w", member, err)
	}
	b.Truncate(b.Len() - 1) // Encode ends with a newline
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encodeBatch joins the responses of a batch. Nil responses, which are those
// of notifications, are left out.
func encodeBatch(responses [][]byte) []byte {
	size := 2
	for _, r := range responses {
		size += len(r) + 1
	}
	text := make([]byte, 0, size)
	for _, r := range responses {
		if r == nil {
			continue
		}
		if len(text) == 0 {
			text = append(text, '[')
		} else {
			text = append(text, ',')
		}
		text = append(text, r...)
	}
	return append(text, ']')
}
