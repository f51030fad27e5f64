package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// maxFrame bounds a piece of a program's output, which dockerd sends as it
// reads it, in 32 KiB.
const maxFrame = 1 << 20

// dockerClient speaks Docker's HTTP API over a unix socket, as much of it as is
// measured.
type dockerClient struct {
	http    *http.Client
	version string // of the API, as in "v1.41"; empty until ping
}

func newDockerClient(socket string) *dockerClient {
	return &dockerClient{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 256,
		DisableCompression:  true,
	}}}
}

// ping asks whether Docker serves, and which version of its API.
func (d *dockerClient) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	version := resp.Header.Get("Api-Version")
	if resp.StatusCode != http.StatusOK || version == "" {
		return fmt.Errorf("ask Docker for its version: %s", resp.Status)
	}
	d.version = "v" + version
	return nil
}

// do makes a request and returns the answer's body, which is the caller's to
// close.
func (d *dockerClient) do(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "docker", Path: "/" + d.version + path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var said struct{ Message string }
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil {
		said.Message = string(text)
	}
	return nil, fmt.Errorf("docker %s %s: %s: %s", method, path, resp.Status, said.Message)
}

// call makes a request with a JSON body, if any, and decodes the answer into
// result, which may be nil.
func (d *dockerClient) call(ctx context.Context, method, path string, query url.Values, params, result any) error {
	var body io.Reader
	contentType := ""
	if params != nil {
		text, err := json.Marshal(params)
		if err != nil {
			return err
		}
		body, contentType = bytes.NewReader(text), "application/json"
	}
	answer, err := d.do(ctx, method, path, query, contentType, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if result != nil {
		err = json.NewDecoder(answer).Decode(result)
	}
	// The connection is used again when the answer was read to its end.
	_, drained := io.Copy(io.Discard, answer)
	return errors.Join(err, drained)
}

// load loads the images of an archive.
func (d *dockerClient) load(ctx context.Context, archive io.Reader) error {
	answer, err := d.do(ctx, http.MethodPost, "/images/load", url.Values{"quiet": {"1"}}, "application/x-tar", archive)
	if err != nil {
		return err
	}
	defer answer.Close()
	decoder := json.NewDecoder(answer)
	for {
		var progress struct{ Error string }
		switch err := decoder.Decode(&progress); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("load image into Docker: %w", err)
		case progress.Error != "":
			return fmt.Errorf("load image into Docker: %s", progress.Error)
		}
	}
}

// exec runs a program in a container: it makes the exec, starts it attached,
// and asks for its exit code, as docker exec does.
func (d *dockerClient) exec(ctx context.Context, container string, args []string) (string, error) {
	var created struct{ ID string }
	err := d.call(ctx, http.MethodPost, "/containers/"+container+"/exec", nil, map[string]any{
		"AttachStdout": true, "AttachStderr": true, "Cmd": args,
	}, &created)
	if err != nil {
		return "", err
	}
	stream, err := d.do(ctx, http.MethodPost, "/exec/"+created.ID+"/start", nil, "application/json", bytes.NewReader([]byte(`{}`)))
	if err != nil {
		return "", err
	}
	defer stream.Close()
	var out output
	if err := demultiplex(stream, &out.stdout, &out.stderr); err != nil {
		return "", fmt.Errorf("run %s: %w", args[0], err)
	}
	var state struct {
		Running  bool
		ExitCode int
	}
	if err := d.call(ctx, http.MethodGet, "/exec/"+created.ID+"/json", nil, nil, &state); err != nil {
		return "", err
	}
	if state.Running {
		return "", fmt.Errorf("run %s: its output ended and it still runs", args[0])
	}
	return out.result(args, state.ExitCode)
}

// demultiplex takes apart what an attached program printed: pieces of its
// streams, each behind eight bytes with the stream's number and the length.
func demultiplex(r io.Reader, stdout, stderr io.Writer) error {
	for {
		var header [8]byte
		switch _, err := io.ReadFull(r, header[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read output: %w", err)
		}
		to := stdout
		switch header[0] {
		case 1:
		case 2:
			to = stderr
		default:
			return fmt.Errorf("read output: there is no stream %d", header[0])
		}
		length := int64(binary.BigEndian.Uint32(header[4:]))
		if length > maxFrame {
			return fmt.Errorf("read output: a piece has %d bytes, which is more than %d", length, maxFrame)
		}
		if _, err := io.CopyN(to, r, length); err != nil {
			return fmt.Errorf("read output: %w", err)
		}
	}
}
