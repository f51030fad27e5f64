package test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"codebeaker/rpc/client"
)

// startedExecution is the answer to a program in the background.
type startedExecution struct {
	Success bool
	Result  struct{ ExecutionID, Status string }
}

// executionState is the answer to execution.status.
type executionState struct {
	ExecutionID, Status, SessionID string
	ExitCode                       *int
	Stdout, Stderr                 string
	DurationMs                     int64
	Timeout                        bool
	EndReason, Signal, Error       *string
	Usage                          *struct{ CPUMs, PeakMemoryBytes, OOMKills int64 }
}

// shell is the command that runs a script, with more fields.
func shell(script string, more object) object {
	command := object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", script}}
	maps.Copy(command, more)
	return command
}

// listedExecution is an entry of execution.list.
type listedExecution struct {
	ExecutionID, SessionID, Language, Command, Status string
	Background, TTY                                   bool
	StartedAt, EndedAt                                *string
	Stdout                                            struct{ Start, End int64 }
}

// background starts a script that is followed on the connection and returns its
// execution.
func (w *wire) background(b *sandbox, script string, more object) string {
	w.t.Helper()
	all := object{"background": true}
	maps.Copy(all, more)
	var started startedExecution
	w.call("session.execute", object{"sessionId": b.id, "stream": true, "command": shell(script, all)}, &started)
	if !started.Success || started.Result.ExecutionID == "" || started.Result.Status != "running" {
		w.t.Fatalf("a program in the background was answered with %+v", started)
	}
	return started.Result.ExecutionID
}

// status asks for the state of an execution.
func (w *wire) status(executionID string) executionState {
	w.t.Helper()
	var st executionState
	w.call("execution.status", object{"executionId": executionID}, &st)
	return st
}

// TestBackgroundExecutionIsAnObjectOfItsOwn walks through everything that can be
// done to one, from connections that did not start it.
func TestBackgroundExecutionIsAnObjectOfItsOwn(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	starter, other := s.wire(t), s.wire(t)
	id := starter.background(b, `echo begun; while read line; do echo "got $line"; done; echo ended >&2; exit 4`, nil)
	starter.printed(id, 0, "begun\n")
	starter.conn.Close()

	var list struct {
		Count      int
		Executions []listedExecution
	}
	other.call("execution.list", object{"sessionId": b.id}, &list)
	if len(list.Executions) != 1 || list.Count != 1 {
		t.Fatalf("execution.list answered %+v", list)
	}
	if e := list.Executions[0]; e.ExecutionID != id || e.SessionID != b.id || e.Language != "python" || e.Command != "sh" ||
		e.Status != "running" || !e.Background || e.TTY || e.StartedAt == nil || e.EndedAt != nil || e.Stdout.Start != 0 || e.Stdout.End != 6 {
		t.Errorf("execution.list answered %+v", e)
	}
	if st := other.status(id); st.Status != "running" || st.SessionID != b.id || st.ExitCode != nil || st.EndReason != nil || st.Stdout != "begun\n" {
		t.Errorf("execution.status answered %+v", st)
	}

	var attached struct {
		Status                     string
		StdoutOffset, StderrOffset int64
	}
	other.call("execution.attach", object{"executionId": id, "stdoutOffset": 2}, &attached)
	if attached.Status != "running" || attached.StdoutOffset != 2 {
		t.Errorf("execution.attach answered %+v", attached)
	}
	var typed struct{ Bytes int }
	other.call("execution.input", object{"executionId": id, "data": "one\n"}, &typed)
	if typed.Bytes != 4 {
		t.Errorf("execution.input answered %+v", typed)
	}
	other.printed(id, 2, "gun\ngot one\n")

	var detached struct{ Detached bool }
	other.call("execution.detach", object{"executionId": id}, &detached)
	if !detached.Detached {
		t.Error("execution.detach says that the connection did not follow")
	}
	third := s.wire(t)
	third.call("execution.attach", object{"executionId": id}, nil)
	third.call("execution.input", object{"executionId": id, "data": "dHdvCg==", "encoding": "base64"}, nil)
	third.printed(id, 0, "begun\ngot one\ngot two\n")
	if got := string(other.output(id, "stdout", 2)); got != "gun\ngot one\n" {
		t.Errorf("a connection that has detached got %q", got)
	}

	third.call("execution.input", object{"executionId": id, "data": "", "eof": true}, nil)
	if end := third.finished(id); end.ExitCode != 4 || end.EndReason != "exited" || end.Timeout || end.SessionID != b.id {
		t.Errorf("it ended with %+v", end)
	}
	if got := string(third.output(id, "stderr", 0)); got != "ended\n" {
		t.Errorf("stderr is %q", got)
	}
	st := other.status(id)
	if st.Status != "completed" || st.ExitCode == nil || *st.ExitCode != 4 || st.EndReason == nil || *st.EndReason != "exited" ||
		st.Stdout != "begun\ngot one\ngot two\n" || st.Stderr != "ended\n" || st.Usage == nil {
		t.Errorf("execution.status answered %+v", st)
	}
	other.call("execution.list", object{}, &list)
	ended := func(e listedExecution) bool {
		return e.ExecutionID == id && e.Status == "completed" && e.EndedAt != nil
	}
	if !slices.ContainsFunc(list.Executions, ended) {
		t.Errorf("execution.list does not have it among %+v", list)
	}

	// It outlives its session, too.
	b.close()
	late := s.wire(t)
	late.call("execution.attach", object{"executionId": id, "stdoutOffset": 14, "stderrOffset": 1}, nil)
	late.finished(id)
	if out, errOut := string(late.output(id, "stdout", 14)), string(late.output(id, "stderr", 1)); out != "got two\n" || errOut != "nded\n" {
		t.Errorf("after its session it is replayed as %q, %q", out, errOut)
	}
	if st := late.status(id); st.Status != "completed" || st.Stdout != "begun\ngot one\ngot two\n" {
		t.Errorf("after its session execution.status answered %+v", st)
	}
}

func TestUnknownExecutionIsSaidToBeSo(t *testing.T) {
	w := busybox(t).wire(t)
	if st := w.status("none"); st.Status != "not_found" || st.ExecutionID != "none" {
		t.Errorf("execution.status answered %+v", st)
	}
	for method, params := range map[string]object{
		"execution.attach": {}, "execution.detach": {}, "execution.cancel": {}, "execution.input": {"data": "x"},
		"execution.signal": {"signal": "TERM"}, "execution.resize": {"rows": 10, "cols": 10},
	} {
		params["executionId"] = "none"
		refused(t, w.ask(method, params, nil), -32006, "execution not found")
	}
}

// The program waits for what is only sent when its output has arrived, so
// output that came with the program's end would never come.
func TestOutputArrivesWhileTheProgramRuns(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	t.Run("in the background", func(t *testing.T) {
		w := s.wire(t)
		id := w.background(b, `for i in 1 2 3; do echo ready $i; read line; done; echo done`, nil)
		var text string
		for i := range 3 {
			text += fmt.Sprintf("ready %d\n", i+1)
			w.printed(id, 0, text)
			w.call("execution.input", object{"executionId": id, "data": "go on\n"}, nil)
		}
		w.finished(id)
		w.printed(id, 0, text+"done\n")
	})
	t.Run("in the foreground", func(t *testing.T) {
		w := s.wire(t)
		request := w.send("session.execute", object{"sessionId": b.id, "stream": true, "command": shell(`printf first; while ! [ -e go ]; do sleep 0.02; done; echo second`, nil)})
		begun, _ := w.until("execution.started", func(e message) bool { return e.Method == "execution.started" })
		id := begun.Params.ExecutionID
		w.printed(id, 0, "first") // without a newline: nothing waits for one
		b.do(object{"type": "write_file", "path": "go", "content": ""})
		var done outcome
		if _, err := w.reply(request, &done); err != nil {
			t.Fatal(err)
		}
		if done.Result.ExecutionID != id || done.Result.Stdout != "firstsecond\n" {
			t.Errorf("the reply is %+v", done)
		}
		w.printed(id, 0, "firstsecond\n")
	})
}

func TestNotificationsComeInOrderAndBeforeTheReply(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	// So much, and read so late, that it is still being sent when the program has
	// ended.
	w := s.deafWire(t)
	request := w.send("session.execute", object{"sessionId": b.id, "stream": true, "command": shell(`seq 2000000; for i in 1 2 3 4 5; do echo err $i >&2; done; exit 2`, nil)})
	eventually(t, func() error {
		var list struct{ Executions []listedExecution }
		if err := b.c.Call(t.Context(), "execution.list", object{"sessionId": b.id}, &list); err != nil {
			return err
		}
		if len(list.Executions) != 1 || list.Executions[0].Status != "completed" {
			return fmt.Errorf("its executions are %+v", list.Executions)
		}
		return nil
	})
	w.listen()
	var done outcome
	at, err := w.reply(request, &done)
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for i := range 2_000_000 {
		fmt.Fprintln(&printed, i+1)
	}
	if done.Success || done.Result.ExitCode != 2 || !done.Result.Truncated.Stdout || !strings.HasSuffix(printed.String(), done.Result.Stdout) {
		t.Errorf("the reply is exit code %d, with %d bytes of stdout", done.Result.ExitCode, len(done.Result.Stdout))
	}
	id := done.Result.ExecutionID
	before := w.seen()[:at]
	for i, e := range before {
		want := "execution.output"
		switch i {
		case 0:
			want = "execution.started"
		case len(before) - 1:
			want = "execution.completed"
		}
		if e.Method != want || e.Params.ExecutionID != id || e.Params.SessionID != b.id {
			t.Fatalf("notification %d of %d is %.300s; want %s", i+1, len(before), fmt.Sprintf("%+v", e), want)
		}
	}
	if end := before[len(before)-1].Params; before[0].Params.Language != "python" || end.ExitCode != 2 || end.EndReason != "exited" || end.Timeout {
		t.Errorf("started %+v, completed %+v", before[0].Params, end)
	}
	if out, errOut := string(w.output(id, "stdout", 0)), string(w.output(id, "stderr", 0)); out != printed.String() || errOut != "err 1\nerr 2\nerr 3\nerr 4\nerr 5\n" {
		t.Errorf("notifications brought %d bytes of %d, and %q", len(out), printed.Len(), errOut)
	}
	// What comes without stream brings none.
	var quiet outcome
	to, err := w.reply(w.send("session.execute", object{"sessionId": b.id, "command": shell("echo quiet", nil)}), &quiet)
	if err != nil || to != at+1 {
		t.Errorf("a program without stream brought %d notifications, %v", to-at-1, err)
	}
	if to, err = w.reply(w.send("session.close", object{"sessionId": b.id}), nil); err != nil {
		t.Fatal(err)
	}
	if closed, from := w.notice("session.closed", b.id); from != to-1 || closed.Reason != "closed" {
		t.Errorf("session.closed is message %d, its reply %d: %+v", from, to, closed)
	}
}

func TestStandardInputIsWhatTheClientSaid(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	w := s.wire(t)
	const count = "wc -c; echo end"
	for _, tc := range []struct {
		name    string
		command object
		stdout  string
	}{
		{"none", shell(count, nil), "0\nend\n"},
		{"given", shell(count, object{"stdin": "12345"}), "5\nend\n"},
		{"empty", shell(count, object{"stdin": ""}), "0\nend\n"},
		{"given, streamed", shell(count, object{"stdin": "12345"}), "5\nend\n"},
		{"much", shell(count, object{"stdin": strings.Repeat("é", 1<<20)}), "2097152\nend\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var done outcome
			w.call("session.execute", object{"sessionId": b.id, "stream": strings.HasSuffix(tc.name, "streamed"), "command": tc.command}, &done)
			if done.Result.Stdout != tc.stdout {
				t.Errorf("it printed %q; want %q", done.Result.Stdout, tc.stdout)
			}
		})
	}
	t.Run("given in the background", func(t *testing.T) {
		id := w.background(b, count, object{"stdin": "123"})
		w.finished(id)
		if got := string(w.output(id, "stdout", 0)); got != "3\nend\n" {
			t.Errorf("it printed %q", got)
		}
	})
	t.Run("after its end", func(t *testing.T) {
		id := w.background(b, `cat; echo end; while ! [ -e ended ]; do sleep 0.02; done`, nil)
		w.call("execution.input", object{"executionId": id, "data": "x", "eof": true}, nil)
		w.printed(id, 0, "xend\n")
		refused(t, w.ask("execution.input", object{"executionId": id, "data": "y"}, nil), -32009, "standard input has ended")
		b.do(object{"type": "write_file", "path": "ended", "content": ""})
		w.finished(id)
		refused(t, w.ask("execution.input", object{"executionId": id, "data": "y"}, nil), -32009, "completed")
	})
	t.Run("in order without waiting", func(t *testing.T) {
		id := w.background(b, "cat", nil)
		var want strings.Builder
		var requests []int
		for i := range 200 {
			line := fmt.Sprintf("line %d\n", i)
			want.WriteString(line)
			requests = append(requests, w.send("execution.input", object{"executionId": id, "data": line, "eof": i == 199}))
		}
		for _, r := range requests {
			if _, err := w.reply(r, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.finished(id)
		if got := string(w.output(id, "stdout", 0)); got != want.String() {
			t.Errorf("cat printed %q", got)
		}
	})
}

func TestSignalReachesTheProgramAlone(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	w := s.wire(t)
	for _, name := range []string{"SIGTERM", "TERM", "15"} {
		id := w.background(b, `trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.02; done`, nil)
		w.printed(id, 0, "ready\n")
		w.call("execution.signal", object{"executionId": id, "signal": name}, nil)
		if end := w.finished(id); end.ExitCode != 5 || end.EndReason != "exited" {
			t.Errorf("after %s it ended with %+v", name, end)
		}
		w.printed(id, 0, "ready\ncaught\n")
	}
	id := w.background(b, `(trap '' TERM; exec sleep 1000) & echo ready; wait`, nil)
	w.printed(id, 0, "ready\n")
	w.call("execution.signal", object{"executionId": id, "signal": "SIGTERM"}, nil)
	if end := w.finished(id); end.ExitCode != 143 || end.EndReason != "signaled" {
		t.Errorf("it ended with %+v", end)
	}
	if ps := b.sh("ps").Stdout; !strings.Contains(ps, "sleep 1000") {
		t.Errorf("what the program started is gone with it:\n%s", ps)
	}
	refused(t, w.ask("execution.signal", object{"executionId": id, "signal": "TERM"}, nil), -32009, "completed")
	refused(t, w.ask("execution.signal", object{"executionId": id, "signal": "SIGSOMETHING"}, nil), -32602, "signal")
}

func TestCancelEndsAllThatTheProgramStarted(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	w := s.wire(t)
	id := w.background(b, `(trap '' TERM HUP INT; sleep 1000 & sleep 1001) & echo ready; sleep 1002`, nil)
	w.printed(id, 0, "ready\n")
	w.call("execution.cancel", object{"executionId": id}, nil)
	if end := w.finished(id); end.ExitCode != 137 || end.EndReason != "cancelled" {
		t.Errorf("it ended with %+v", end)
	}
	eventually(t, func() error {
		if ps := b.sh("ps").Stdout; strings.Contains(ps, "sleep 100") {
			return errors.New("still there:\n" + ps)
		}
		return nil
	})
	// Again, which changes nothing.
	w.call("execution.cancel", object{"executionId": id}, nil)
	if st := w.status(id); st.EndReason == nil || *st.EndReason != "cancelled" || st.Signal == nil || *st.Signal != "SIGKILL" || st.Error == nil {
		t.Errorf("execution.status answered %+v", st)
	}
	// In the foreground, by another connection.
	request := w.send("session.execute", object{"sessionId": b.id, "stream": true, "command": shell("echo foreground; sleep 1000", nil)})
	e, _ := w.until("its output", func(e message) bool { return e.Params.Text == "foreground\n" })
	s.wire(t).call("execution.cancel", object{"executionId": e.Params.ExecutionID}, nil)
	var done outcome
	if _, err := w.reply(request, &done); err != nil || done.Success || done.Result.EndReason != "cancelled" || done.Result.Stdout != "foreground\n" {
		t.Errorf("the reply is %+v, %v", done, err)
	}
}

// However much input waits for a program that reads nothing, on one connection.
func TestCancelIsNotHeldUpByInputThatNobodyReads(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	id := b.do(object{"type": "execute_shell", "commandName": "sleep", "args": []string{"1000"}, "background": true}).Result.ExecutionID
	conn := s.raw(t)
	const inputs = 1000 // of which a pipe takes the first
	send := func(id any, method string, params object) {
		t.Helper()
		if err := conn.WriteJSON(object{"jsonrpc": "2.0", "id": id, "method": method, "params": params}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range inputs {
		send(i, "execution.input", object{"executionId": id, "data": strings.Repeat("x", 1024)})
	}
	send("cancel", "execution.cancel", object{"executionId": id})
	taken := 0
	for answers := 0; answers <= inputs; answers++ {
		var a struct {
			ID    any
			Error *client.Error
		}
		if err := conn.ReadJSON(&a); err != nil {
			t.Fatalf("after %d answers: %v", answers, err)
		}
		switch {
		case a.ID == "cancel" && a.Error != nil:
			t.Errorf("it is not cancelled: %v", a.Error)
		case a.ID != "cancel" && a.Error == nil:
			taken++
		}
	}
	if taken == inputs {
		t.Error("the program's input took all")
	}
}

// Input that a program does not read is ended by its client, and the program reads
// what comes after.
func TestInputThatNobodyReadsIsCancelled(t *testing.T) {
	s := busybox(t)
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("terminal %v", tty), func(t *testing.T) {
			b := s.session(t, nil)
			id := b.do(object{
				"type": "execute_shell", "command": "until [ -e go ]; do sleep 0.05; done; exec cat > /dev/null", "background": true, "tty": tty,
			}).Result.ExecutionID
			conn := s.raw(t)
			send := func(id any, method string, params object) {
				t.Helper()
				if err := conn.WriteJSON(object{"jsonrpc": "2.0", "id": id, "method": method, "params": params}); err != nil {
					t.Fatal(err)
				}
			}
			receive := func(id any) (err *client.Error) {
				t.Helper()
				var a struct {
					ID    any
					Error *client.Error
				}
				if err := conn.ReadJSON(&a); err != nil || a.ID != id {
					t.Fatalf("got the answer to %v, %v; want that to %v", a.ID, err, id)
				}
				return a.Error
			}
			send("input", "execution.input", object{"executionId": id, "data": strings.Repeat("x\n", 1<<20)})
			send("cancel", "rpc.cancel", object{"id": "input"})
			if err := receive("cancel"); err != nil {
				t.Error(err)
			}
			if err := receive("input"); err == nil || err.Code != -32008 {
				t.Errorf("the input is answered with %v", err)
			}
			b.do(object{"type": "write_file", "path": "go", "content": ""})
			send("end", "execution.input", object{"executionId": id, "data": "\n", "eof": true})
			if err := receive("end"); err != nil {
				t.Errorf("input behind it: %v", err)
			}
			w := s.wire(t)
			eventually(t, func() error {
				if st := w.status(id); st.ExitCode == nil || *st.ExitCode != 0 {
					return fmt.Errorf("the program is %+v", st)
				}
				return nil
			})
		})
	}
}

func TestTerminalIsARealOne(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	w := s.wire(t)
	// The trap comes before what says that the size may change.
	const script = `trap 'busybox stty size' WINCH
[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal
busybox stty size
until read -t 1 line; do :; done; echo "<$line>" # a signal may end read, or come right before it
busybox stty -echo && echo quiet
cat | wc -c
echo to stderr >&2
trap 'echo interrupted; exit 6' INT
while :; do sleep 0.02; done`
	id := w.background(b, script, object{"tty": true, "rows": 30, "cols": 100})
	text := "terminal\r\n30 100\r\n"
	w.printed(id, 0, text)
	w.call("execution.resize", object{"executionId": id, "rows": 50, "cols": 132}, nil)
	text += "50 132\r\n"
	w.printed(id, 0, text)
	w.call("execution.input", object{"executionId": id, "data": "typed\n"}, nil)
	text += "typed\r\n<typed>\r\nquiet\r\n" // the terminal's echo, and the program
	w.printed(id, 0, text)
	w.call("execution.input", object{"executionId": id, "data": "1234567\n", "eof": true}, nil)
	text += "8\r\nto stderr\r\n"
	w.printed(id, 0, text)
	// The trap may be set a moment after the line was printed: then the signal
	// ends the program.
	w.call("execution.input", object{"executionId": id, "data": "\x03"}, nil)
	end := w.finished(id)
	if interrupted := end.EndReason == "signaled" && end.ExitCode == 130; !interrupted && (end.EndReason != "exited" || end.ExitCode != 6) {
		t.Errorf("after Ctrl-C it ended with %+v", end)
	}
	if got := w.output(id, "stderr", 0); len(got) > 0 {
		t.Errorf("a terminal has one stream, and stderr has %q", got)
	}

	t.Run("of the usual size", func(*testing.T) {
		id := w.background(b, "busybox stty size", object{"tty": true})
		w.finished(id)
		w.printed(id, 0, "24 80\r\n")
	})
	t.Run("in the foreground", func(t *testing.T) {
		o := b.do(shell("[ -t 1 ] && echo terminal", object{"tty": true}))
		if o.Result.Stdout != "terminal\r\n" || !o.Success {
			t.Errorf("answer %+v", o)
		}
	})
	t.Run("not without asking", func(t *testing.T) {
		id := w.background(b, "[ -t 0 ] || [ -t 1 ] || echo none; cat", nil)
		w.printed(id, 0, "none\n")
		refused(t, w.ask("execution.resize", object{"executionId": id, "rows": 10, "cols": 10}, nil), -32009, "terminal")
		w.call("execution.cancel", object{"executionId": id}, nil)
	})
}
