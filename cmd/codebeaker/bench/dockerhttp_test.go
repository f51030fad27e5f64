package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// fakeDocker answers on a socket as dockerd does, and returns a client of it.
func fakeDocker(t *testing.T, answers map[string]http.HandlerFunc) *dockerClient {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.41") })
	for pattern, answer := range answers {
		mux.HandleFunc(pattern, answer)
	}
	server := httptest.NewUnstartedServer(mux)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	d := newDockerClient(socket)
	t.Cleanup(d.http.CloseIdleConnections)
	if err := d.ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func frame(stream byte, text string) string {
	header := make([]byte, 8)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

func answerJSON(t *testing.T, v any) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
}

// execs are the answers of an exec that prints stream and exits with code.
func execs(t *testing.T, stream string, code int, seen *[]string) map[string]http.HandlerFunc {
	t.Helper()
	return map[string]http.HandlerFunc{
		"POST /v1.41/containers/c1/exec": func(w http.ResponseWriter, r *http.Request) {
			var body struct{ Cmd []string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			*seen = body.Cmd
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"Id":"e1"}`)
		},
		"POST /v1.41/exec/e1/start": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
			fmt.Fprint(w, stream)
		},
		"GET /v1.41/exec/e1/json": answerJSON(t, map[string]any{"ExitCode": code, "Running": false}),
	}
}

func TestDockerExecReturnsWhatWasPrinted(t *testing.T) {
	var seen []string
	d := fakeDocker(t, execs(t, frame(1, "2")+frame(2, "noise")+frame(1, "0\n"), 0, &seen))
	text, err := d.exec(t.Context(), "c1", []string{"echo", "20"})
	if err != nil || text != "20\n" {
		t.Errorf("exec returns %q, %v", text, err)
	}
	if strings.Join(seen, " ") != "echo 20" {
		t.Errorf("it ran %q", seen)
	}
}

func TestDockerExecOfProgramThatFailsIsAnError(t *testing.T) {
	var seen []string
	d := fakeDocker(t, execs(t, frame(2, "no such file"), 3, &seen))
	_, err := d.exec(t.Context(), "c1", []string{"cat", "x"})
	if err == nil || !strings.Contains(err.Error(), "exit code 3: no such file") {
		t.Errorf("exec returns %v", err)
	}
}

func TestDockerErrorsSayWhatDockerSaid(t *testing.T) {
	d := fakeDocker(t, map[string]http.HandlerFunc{
		"DELETE /v1.41/containers/c1": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"message":"removal is in progress"}`)
		},
	})
	err := d.call(t.Context(), http.MethodDelete, "/containers/c1", nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "409 Conflict: removal is in progress") {
		t.Errorf("call returns %v", err)
	}
}

func TestDockerLoadFindsTheErrorInItsProgress(t *testing.T) {
	answer := `{"stream":"Loaded image"}`
	d := fakeDocker(t, map[string]http.HandlerFunc{
		"POST /v1.41/images/load": func(w http.ResponseWriter, r *http.Request) {
			if text, err := io.ReadAll(r.Body); err != nil || string(text) != "archive" {
				t.Errorf("loaded %q, %v", text, err)
			}
			fmt.Fprintln(w, answer)
		},
	})
	if err := d.load(t.Context(), strings.NewReader("archive")); err != nil {
		t.Error(err)
	}
	answer += `{"error":"no space"}`
	if err := d.load(t.Context(), strings.NewReader("archive")); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("load returns %v", err)
	}
}

func TestDemultiplexRefusesWhatIsNoStream(t *testing.T) {
	long := []byte(frame(1, ""))
	binary.BigEndian.PutUint32(long[4:], maxFrame+1)
	for name, stream := range map[string]string{
		"unknown stream": frame(9, "x"), "cut header": frame(1, "")[:5], "cut piece": frame(1, "abc")[:9], "too long": string(long),
	} {
		var out bytes.Buffer
		if err := demultiplex(strings.NewReader(stream), &out, &out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDockerSandboxCopiesFiles(t *testing.T) {
	var stored []byte
	d := fakeDocker(t, map[string]http.HandlerFunc{
		"PUT /v1.41/containers/c1/archive": func(_ http.ResponseWriter, r *http.Request) {
			if dir := r.URL.Query().Get("path"); dir != "/workspace" {
				t.Errorf("written to %s", dir)
			}
			var err error
			if stored, err = io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
		},
		"GET /v1.41/containers/c1/archive": func(w http.ResponseWriter, r *http.Request) {
			if path := r.URL.Query().Get("path"); path != "/workspace/a" {
				t.Errorf("read from %s", path)
			}
			if _, err := w.Write(stored); err != nil {
				t.Error(err)
			}
		},
	})
	box := &dockerSandbox{docker: &docker{client: d}, id: "c1"}
	if err := box.Write(t.Context(), "a", []byte("content")); err != nil {
		t.Fatal(err)
	}
	got, err := box.Read(t.Context(), "a")
	if err != nil || string(got) != "content" {
		t.Errorf("read %q, %v", got, err)
	}
}
