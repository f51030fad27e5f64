package test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

// queued is the answer to execution.run.
type queued struct{ ExecutionID, Status string }

// run has a program run in a session of its own.
func (w *wire) run(params object) string {
	w.t.Helper()
	all := object{"language": "python"}
	maps.Copy(all, params)
	var q queued
	w.call("execution.run", all, &q)
	if q.ExecutionID == "" || q.Status != "queued" {
		w.t.Fatalf("execution.run answered %+v", q)
	}
	return q.ExecutionID
}

func TestRunFromItsQueueToTheEndOfItsSession(t *testing.T) {
	s := python(t)
	w := s.wire(t)
	request := w.send("execution.run", object{"language": "py", "code": "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)", "memoryLimit": 128, "cpuLimit": 0.5})
	var q queued
	replied, err := w.reply(request, &q)
	if err != nil || q.Status != "queued" {
		t.Fatalf("execution.run answered %+v, %v", q, err)
	}
	end, ended := w.notice("execution.completed", q.ExecutionID)
	begun, started := w.notice("execution.started", q.ExecutionID)
	closed, gone := w.notice("session.closed", begun.SessionID)
	if replied > started || started > ended || ended > gone {
		t.Errorf("the reply is message %d, the start %d, the end %d, the session's end %d", replied, started, ended, gone)
	}
	if begun.Language != "python" || begun.SessionID == "" || end.SessionID != begun.SessionID || end.ExitCode != 3 || end.EndReason != "exited" || end.Timeout || closed.Reason != "closed" {
		t.Errorf("it was told %+v, %+v, %+v", begun, end, closed)
	}
	if out, errOut := string(w.output(q.ExecutionID, "stdout", 0)), string(w.output(q.ExecutionID, "stderr", 0)); out != "out\n" || errOut != "err\n" {
		t.Errorf("notifications brought %q, %q", out, errOut)
	}
	// Its session is gone, and what became of it is still known.
	eventually(t, func() error {
		if err := w.ask("session.get", object{"sessionId": begun.SessionID}, nil); err == nil {
			return errors.New("its session is still there")
		}
		return nil
	})
	st := w.status(q.ExecutionID)
	if st.Status != "completed" || st.ExitCode == nil || *st.ExitCode != 3 || st.Stdout != "out\n" || st.Stderr != "err\n" || st.Timeout || st.SessionID != begun.SessionID {
		t.Errorf("execution.status answered %+v", st)
	}
}

func TestRunKeepsItsLimits(t *testing.T) {
	s := python(t)
	w := s.wire(t)
	t.Run("memory", func(t *testing.T) {
		id := w.run(object{"code": "print('on', flush=True)\nx = b'x' * (200 << 20)", "memoryLimit": 64})
		if end := w.finished(id); end.EndReason != "oom" || end.ExitCode != 137 || end.Timeout {
			t.Errorf("it ended with %+v", end)
		}
		if st := w.status(id); st.Signal == nil || *st.Signal != "SIGKILL" || st.Error == nil || st.Stdout != "on\n" {
			t.Errorf("execution.status answered %+v", st)
		}
	})
	t.Run("time", func(t *testing.T) {
		limit := scaled(time.Second)
		id := w.run(object{"code": "print('on', flush=True)\nwhile True: pass", "timeout": limit})
		end := w.finished(id)
		if end.EndReason != "timeout" || !end.Timeout || end.ExitCode != 137 || float64(end.DurationMs) < limit*1000 {
			t.Errorf("it ended with %+v", end)
		}
		t.Logf("its limit is %.0f s, and it took %d ms", limit, end.DurationMs)
		if st := w.status(id); !st.Timeout || st.Status != "completed" {
			t.Errorf("execution.status answered %+v", st)
		}
	})
	t.Run("refused", func(t *testing.T) {
		refused(t, w.ask("execution.run", object{"language": "cobol", "code": "x"}, nil), -32003, "cobol")
		refused(t, w.ask("execution.run", object{"language": "python", "code": "x", "memoryLimit": 1}, nil), -32602, "memoryLimit")
		refused(t, w.ask("execution.run", object{"language": "python"}, nil), -32602, "code")
	})
}

// The server has place for one session, which somebody else has.
func TestRunWaitsForItsPlaceAndCanBeCancelledThere(t *testing.T) {
	s := private(t, "--max-sessions", "1")
	b := s.session(t, nil)
	w := s.wire(t)
	refused(t, w.ask("session.create", object{"language": "python"}, nil), -32004, "1 sessions")
	first, second := w.run(object{"code": "ignored"}), w.run(object{"code": "ignored"})
	for _, id := range []string{first, second} {
		if st := w.status(id); st.Status != "queued" || st.SessionID != "" || st.ExitCode != nil {
			t.Errorf("execution.status answered %+v", st)
		}
	}
	w.call("execution.cancel", object{"executionId": first}, nil)
	if failed, _ := w.notice("execution.error", first); !strings.Contains(failed.Error, "cancelled") {
		t.Errorf("it was told %+v", failed)
	}
	if st := w.status(first); st.Status != "failed" || st.Error == nil {
		t.Errorf("execution.status answered %+v", st)
	}
	if st := w.status(second); st.Status != "queued" {
		t.Errorf("execution.status answered %+v", st)
	}
	b.close()
	// The image's python is busybox, so it ends as one whose program is missing.
	if end := w.finished(second); end.ExitCode != 127 || end.EndReason != "exited" {
		t.Errorf("it ended with %+v", end)
	}
	for _, m := range w.seen() {
		if m.Method == "execution.started" && m.Params.ExecutionID == first {
			t.Error("the cancelled one was started")
		}
	}
}
