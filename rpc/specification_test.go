package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// specification has the examples of section 7 of the JSON-RPC 2.0 specification
// as they are written there: --> is what the client sends, <-- what it gets. An
// answer that is commented out there is left out here: nothing comes.
const specification = `
--> {"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}
<-- {"jsonrpc": "2.0", "result": 19, "id": 1}

--> {"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}
<-- {"jsonrpc": "2.0", "result": -19, "id": 2}

--> {"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}
<-- {"jsonrpc": "2.0", "result": 19, "id": 3}

--> {"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}
<-- {"jsonrpc": "2.0", "result": 19, "id": 4}

--> {"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}

--> {"jsonrpc": "2.0", "method": "foobar"}

--> {"jsonrpc": "2.0", "method": "foobar", "id": "1"}
<-- {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}

--> {"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]
<-- {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}

--> {"jsonrpc": "2.0", "method": 1, "params": "bar"}
<-- {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}

--> [
  {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
  {"jsonrpc": "2.0", "method"
]
<-- {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}

--> []
<-- {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}

--> [1]
<-- [
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]

--> [1,2,3]
<-- [
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]

--> [
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"} 
    ]
<-- [
        {"jsonrpc": "2.0", "result": 7, "id": "1"},
        {"jsonrpc": "2.0", "result": 19, "id": "2"},
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
        {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
    ]

--> [
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ]
`

// addSpecified adds the methods that the specification's examples call. Called
// gets the names of those that want no answer.
func (s *Server) addSpecified(called chan<- string) {
	decoded := func(params json.RawMessage, v any) error {
		if err := json.Unmarshal(params, v); err != nil {
			return invalidParams("", "%v", err)
		}
		return nil
	}
	s.methods["subtract"] = method{call: func(_ context.Context, _ *caller, params json.RawMessage) (any, error) {
		if params[0] == '[' {
			var n [2]int
			err := decoded(params, &n)
			return n[0] - n[1], err
		}
		var n struct{ Minuend, Subtrahend int }
		err := decoded(params, &n)
		return n.Minuend - n.Subtrahend, err
	}}
	s.methods["sum"] = method{call: func(_ context.Context, _ *caller, params json.RawMessage) (any, error) {
		var terms []int
		err := decoded(params, &terms)
		sum := 0
		for _, n := range terms {
			sum += n
		}
		return sum, err
	}}
	s.methods["get_data"] = method{call: func(context.Context, *caller, json.RawMessage) (any, error) {
		return []any{"hello", 5}, nil
	}}
	for _, name := range []string{"update", "notify_hello", "notify_sum"} {
		s.methods[name] = method{call: func(context.Context, *caller, json.RawMessage) (any, error) {
			called <- name
			return nil, nil
		}}
	}
}

// answers reads a message of the server as the specification lets it be read:
// batches have no order, and texts of errors are free.
func answers(t *testing.T, text string) (list []string, batch bool) {
	t.Helper()
	batch = strings.HasPrefix(text, "[")
	if !batch {
		text = "[" + text + "]"
	}
	var all []map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, a := range all {
		if e, ok := a["error"].(map[string]any); ok {
			if e["message"] == "" {
				t.Errorf("error without a message: %s", text)
			}
			a["error"] = e["code"]
		}
		one, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(one))
	}
	slices.Sort(list)
	return list, batch
}

func TestExamplesOfTheSpecification(t *testing.T) {
	s := startServer(t, Options{})
	called := make(chan string, 10)
	s.addSpecified(called)
	c := s.dial(t)
	examples := strings.Split(specification, "-->")[1:]
	for i, example := range examples {
		sent, want, answered := strings.Cut(example, "<--")
		c.send(strings.TrimSpace(sent))
		if !answered {
			want = fmt.Sprintf(`{"jsonrpc":"2.0","result":0,"id":"behind %d"}`, i)
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"sum","params":[],"id":"behind %d"}`, i))
		}
		got := c.receive()
		gotList, gotBatch := answers(t, got)
		wantList, wantBatch := answers(t, strings.TrimSpace(want))
		if !reflect.DeepEqual(gotList, wantList) || gotBatch != wantBatch {
			t.Errorf("-->%sgot %s\nwant %s", sent, got, want)
		}
	}
	if len(examples) != 15 {
		t.Errorf("there are %d examples, the specification has 15", len(examples))
	}
	var names []string
	for range 4 {
		names = append(names, receiveFrom(t, "notifications are carried out", called))
	}
	slices.Sort(names)
	if want := []string{"notify_hello", "notify_hello", "notify_sum", "update"}; !slices.Equal(names, want) {
		t.Errorf("carried out %q, want %q", names, want)
	}
}
