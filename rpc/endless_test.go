package rpc

import (
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// heap returns how many bytes are in use.
func heap() int64 {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// endless is a program that prints without end, and how far it is.
type endless struct {
	*stage
	c         *client
	execution *session.Execution
	before    int64 // bytes in use
}

func startEndless(t *testing.T, opts Options) *endless {
	t.Helper()
	e := &endless{stage: startStage(t, nil, opts)}
	e.c = e.dial(t)
	s := e.c.session()
	e.before = heap()
	var err error
	if e.execution, err = e.manager.Execution(t.Context(), e.c.start(s, "yes")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.execution.Cancel)
	return e
}

// printed returns how many bytes the program has printed.
func (e *endless) printed() int64 { return e.execution.Info().Stdout.End }

// wantBounded waits until the program has printed more, and fails where that
// took memory.
func (e *endless) wantBounded(t *testing.T, more int64) {
	t.Helper()
	const bound, looks = 8 << 20, 10
	from := e.printed()
	for i := range int64(looks) {
		eventually(t, "the program prints", func() bool { return e.printed() >= from+more*(i+1)/looks })
		if grown := heap() - e.before; grown > bound {
			t.Fatalf("%d bytes more are in use than before, at %d bytes of output", grown, e.printed())
		}
	}
	e.states(func(st *state) {
		if most := st.maxNotified + 64<<10; st.notified > most {
			t.Errorf("%d bytes of notifications are queued, the bound is %d", st.notified, most)
		}
	})
}

func TestEndlessOutputWithoutAReader(t *testing.T) {
	startEndless(t, Options{}).wantBounded(t, 512<<20)
}

func TestEndlessOutputWithAReaderThatKeepsUp(t *testing.T) {
	const piece, total = 64 << 10, 64 << 20
	tokens := make(chan struct{}, 4)
	text := []byte(strings.Repeat("0123456789abcde\n", piece/16))
	st := startStage(t, map[string]sessiontest.Program{"paced": func(p *sessiontest.Process) sessiontest.ExitStatus {
		for {
			select {
			case _, ok := <-tokens:
				if !ok {
					return sessiontest.ExitStatus{}
				}
				_, _ = p.Stdout.Write(text)
			case <-p.Killed():
				return sessiontest.ExitStatus{}
			}
		}
	}}, Options{})
	c := st.dial(t)
	s := c.session()
	before := heap()
	c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("paced", nil), "stream": true})
	c.wantHeard("started python")
	got := 0
	for range cap(tokens) {
		tokens <- struct{}{}
	}
	for asked := cap(tokens); got < total; {
		h := c.hear()
		if h.Method != "execution.output" || h.Params.Offset != int64(got) || h.Params.Text[0] != text[got%16] {
			t.Fatalf("after %d bytes: %.100s", got, h)
		}
		got += len(h.Params.Text)
		for ; asked < total/piece && asked-got/piece < cap(tokens); asked++ {
			tokens <- struct{}{}
		}
	}
	close(tokens)
	c.wantHeard("completed 0 exited", `reply "1"`)
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("%d bytes more are in use than before", grown)
	}
}

func TestEndlessOutputWithASlowReader(t *testing.T) {
	e := startEndless(t, Options{WriteTimeout: time.Minute})
	c := e.c
	at := as[attachResult](c, c.call("execution.attach", map[string]any{"executionId": e.execution.ID()})).StdoutOffset
	e.wantBounded(t, 256<<20) // while the client reads nothing
	var lost heard
	for lost.Method == "" {
		switch h := c.hear(); h.Method {
		case "execution.output":
			if h.Params.Offset != at {
				t.Fatalf("output goes on at %d after %d", h.Params.Offset, at)
			}
			at = h.Params.Offset + int64(len(h.Params.Text))
		case "execution.error":
			lost = h
		default:
			t.Fatalf("heard %s", h)
		}
	}
	if p := lost.Params; p.Stream != "stdout" || p.From != at || p.To <= p.From || !strings.Contains(p.Error, "execution.attach") {
		t.Errorf("after %d bytes it was told %+v", at, p)
	}
	e.wantBounded(t, 64<<20)
	c.request("cancel", "execution.cancel", map[string]any{"executionId": e.execution.ID()})
	c.wantAny(`reply "cancel"`, "completed 137 cancelled") // and no output any more
	// It can attach again, behind the gap.
	r := as[attachResult](c, c.call("execution.attach", map[string]any{"executionId": e.execution.ID(), "stdoutOffset": lost.Params.To}))
	if r.StdoutOffset < lost.Params.To {
		t.Errorf("it was attached at %d, the gap ends at %d", r.StdoutOffset, lost.Params.To)
	}
}

func TestEndlessOutputWithAClientThatStopsReading(t *testing.T) {
	e := startEndless(t, Options{WriteTimeout: 200 * time.Millisecond})
	other, s := e.dial(t), e.execution.Info().SessionID
	var attaches []string
	for range 16 { // together they have more to replay than the kernel takes
		id := other.start(s, "yes")
		other.call("execution.cancel", map[string]any{"executionId": id})
		execution, err := e.manager.Execution(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		receiveFrom(t, "the program ends", execution.Done())
		attaches = append(attaches, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execution.attach","params":{"executionId":%q}}`, id))
	}
	e.c.send("[" + strings.Join(attaches, ",") + "]")
	e.before = heap()
	most := int64(0)
	eventually(t, "the deaf client is dropped", func() bool {
		e.states(func(st *state) { most = max(most, st.notified) })
		other.call("session.list", nil)
		return e.connections() == 1
	})
	if most < e.opts.MaxNotifiedBytes || most > e.opts.MaxNotifiedBytes+64<<10 {
		t.Errorf("%d bytes of notifications were queued, the bound is %d", most, e.opts.MaxNotifiedBytes)
	}
	if !strings.Contains(e.logs.String(), "does not read its replies") {
		t.Error("no log line says so")
	}
	e.wantBounded(t, 64<<20) // and the program has not noticed
}

func TestStatusOfMuchOutputIsBounded(t *testing.T) {
	const bound, number = 4 << 20, 100
	e := startEndless(t, Options{MaxQueuedBytes: bound, WriteTimeout: time.Minute})
	e.execution.Cancel()
	receiveFrom(t, "the program ends", e.execution.Done())
	for range number {
		e.c.request("1", "execution.status", map[string]any{"executionId": e.execution.ID()})
	}
	eventually(t, "the server waits for the client", func() bool {
		full := false
		e.states(func(st *state) { full = st.queued >= bound && st.requests > number/2 })
		return full
	})
	if grown := heap() - e.before; grown > 4*bound {
		t.Errorf("%d bytes more are in use than before", grown)
	}
	for range number {
		if got := e.c.receive(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":"1","result"`) {
			t.Fatalf("got %.100s", got)
		}
	}
}
