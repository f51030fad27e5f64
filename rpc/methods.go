package rpc

import (
	"context"
	"encoding/json"
	"reflect"
	"time"
)

// protocolVersion changes when a client has to know of a change.
const protocolVersion = "1.0"

// method is what a request can name. To add one is to add an entry to
// Server.methodTable.
type method struct {
	doc string
	// ordered is the field of params whose value calls have in common that wait
	// for each other; "" for calls that wait for none.
	ordered string
	// oneByOne says that the method's calls on a connection wait for each other, as
	// their results are large and nothing else bounds how many there are at a time.
	oneByOne bool
	// forClient says that a call waits for nothing but the sake of its client, and
	// soon ends when that has left.
	forClient bool
	// ends says that the method ends others. It does not wait for the client to read.
	ends bool
	// params is the plan of the params, result the type of the results, and
	// errors are the codes that the method may answer beyond those of JSON-RPC.
	params *object
	result reflect.Type
	errors []int
	// call carries out a request. The params are a valid JSON object or array.
	// Errors go through wireErrorOf.
	call func(ctx context.Context, from *caller, params json.RawMessage) (any, error)
	// ended is the Observer's.
	ended func(code int, took time.Duration)
}

// caller is where a call comes from, for methods that send notifications there.
type caller struct {
	*conn
	frame *frame
	// reserved is what is held of the budget for the reply.
	reserved int64
	// after are followers to begin once the reply is queued.
	after []*follower
	// undo takes back what the call did, if the call is cancelled before the client
	// is told of it.
	undo []func(ctx context.Context)
}

// followAfter tells the client what becomes of an execution, once the reply is
// queued.
func (from *caller) followAfter(f *follower) {
	from.after = append(from.after, f)
	from.undo = append(from.undo, func(context.Context) { f.stop() })
}

// noParams are the params of methods that need none.
type noParams struct{}

func (s *Server) methodTable() map[string]method {
	sessionErrors := []int{codeNoSession, codeSessionClosed, codeCancelled}
	return map[string]method{
		"initialize":    newMethod(s, "Says who the server is and what it can do. No client has to call it.", s.initialize),
		"language.list": newMethod(s, "Lists the languages of the catalogue.", s.languageList),
		"session.create": newMethod(s, "Makes a session: a container of its own, with a file system that lasts as long as it.",
			s.sessionCreate, codeLanguage, codeLimit, codeCancelled),
		"session.execute": newMethod(s, "Carries out a command in a session.",
			s.sessionExecute, append(sessionErrors, codeLanguage, codeLimit, codePath)...).orderedBy("sessionId"),
		"session.list": newMethod(s, "Lists the sessions, oldest first.", s.sessionList),
		"session.get":  newMethod(s, "Describes a session.", s.sessionGet, codeNoSession).orderedBy("sessionId"),
		"session.touch": newMethod(s, "Moves a session's idle deadline as a command would.",
			s.sessionTouch, sessionErrors...).orderedBy("sessionId"),
		"session.close": newMethod(s, "Ends a session with all that runs in it, and removes its files.",
			s.sessionClose, sessionErrors...).orderedBy("sessionId"),
		"execution.run": newMethod(s, "Runs source code in a session of its own, which closes when the program has ended, and tells the client what becomes of it.",
			s.executionRun, codeLanguage, codeLimit, codeCancelled),
		"execution.status": newMethod(s, "Says how far an execution is, with what it printed last.", s.executionStatus).oneAtATime(),
		"execution.list":   newMethod(s, "Lists the executions that run, and those that ended not long ago.", s.executionList).oneAtATime(),
		"execution.attach": newMethod(s, "Sends what is kept of an execution's output from a byte offset on, and then all that follows. "+
			"It takes the place of what the connection followed of the execution before.",
			s.executionAttach, codeNoExecution, codeLimit),
		"execution.detach": newMethod(s, "Ends the notifications of an execution on this connection. The program goes on.",
			s.executionDetach, codeNoExecution),
		"execution.input": newMethod(s, "Writes to a program's standard input. The reply comes when there was room for all of it.",
			s.executionInput, codeNoExecution, codeState).orderedBy("executionId").endsWithClient(),
		"execution.signal": newMethod(s, "Sends a signal to a program.", s.executionSignal, codeNoExecution, codeState),
		"execution.cancel": newMethod(s, "Kills a program with all that it started.", s.executionCancel, codeNoExecution).endsOthers(),
		"execution.resize": newMethod(s, "Gives a program's terminal another size.", s.executionResize, codeNoExecution, codeState),
		"rpc.cancel": newMethod(s, "Ends a request of this connection that has no answer yet: it answers -32008, and what it started is cancelled as execution.cancel would.",
			s.rpcCancel).endsOthers(),
		"rpc.discover": newMethod(s, "Returns this document.", s.discover),
	}
}

// newMethod is a method that f carries out, with params that are a P.
func newMethod[P, R any](s *Server, doc string, f func(context.Context, *caller, *P) (R, error), errors ...int) method {
	params := newObject(reflect.TypeFor[P](), map[reflect.Type]shape{reflect.TypeFor[command](): s.commands.shape()})
	return method{
		doc: doc, params: params, result: reflect.TypeFor[R](), errors: errors,
		call: func(ctx context.Context, from *caller, raw json.RawMessage) (any, error) {
			if raw[0] == '[' {
				return nil, invalidParams("", "params takes an object with named fields, got an array")
			}
			p := new(P)
			if err := params.decode("", raw, reflect.ValueOf(p).Elem()); err != nil {
				return nil, err
			}
			return f(ctx, from, p)
		},
	}
}

// orderedBy says that calls with the same value of a field wait for each other.
func (m method) orderedBy(field string) method {
	m.ordered = field
	return m
}

// oneAtATime says that calls of the method wait for each other.
func (m method) oneAtATime() method {
	m.oneByOne = true
	return m
}

// endsWithClient says that calls of the method end when their client has left.
func (m method) endsWithClient() method {
	m.forClient = true
	return m
}

// endsOthers says that the method ends others, and waits for nobody.
func (m method) endsOthers() method {
	m.ends = true
	return m
}

// queueOf returns what a call has in common with those that it waits for: its
// method, or a field of its params and the value of that. It is "" for a call
// that waits for none, and where params do not have the field, which the method
// will complain about.
func (m method) queueOf(name string, params json.RawMessage) string {
	if m.oneByOne {
		return name
	}
	field := m.ordered
	if field == "" || params[0] != '{' {
		return ""
	}
	queue := ""
	_ = eachField(params, func(name, value []byte) error {
		if string(name) == field && value[0] == '"' {
			queue = field + " " + string(unquote(value))
		}
		return nil
	})
	return queue
}
