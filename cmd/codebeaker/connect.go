package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"codebeaker/rpc"
	"codebeaker/rpc/client"
)

// serverEnv is the variable that stands for --server.
const serverEnv = envPrefix + "SERVER"

// Codes of the wire that a person is told more about.
const (
	codeNoSession   = -32001
	codeNoExecution = -32006
	codePath        = -32007
)

// remote is the server that a client command speaks to.
type remote struct {
	flag string // --server
	// hint is what else a person can do where no server is there.
	hint string
}

func (r *remote) bind(f *pflag.FlagSet) {
	f.StringVar(&r.flag, "server", "", "`URL` of the server (default: $"+serverEnv+", or ws://"+defaultListen+rpc.Path+")")
}

// endpoint returns the server's URL. HOST:PORT is enough.
func (r *remote) endpoint() (string, error) {
	text := cmp.Or(r.flag, os.Getenv(serverEnv), defaultListen)
	full := text
	if !strings.Contains(full, "://") {
		full = "ws://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("server %q: takes a URL such as ws://%s%s, or HOST:PORT", text, defaultListen, rpc.Path)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http", "https":
		u.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
	default:
		return "", fmt.Errorf("server %q: takes ws, wss, http or https, not %s", text, u.Scheme)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = rpc.Path
	}
	return u.String(), nil
}

// dial connects. The caller closes the client.
func (r *remote) dial(ctx context.Context) (*client.Client, error) {
	endpoint, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, endpoint)
	if err != nil && ctx.Err() == nil {
		hint := "start a server with codebeaker serve, or say with --server where one is"
		if r.hint != "" {
			hint += ", or " + r.hint
		}
		return nil, fmt.Errorf("%w (%s)", err, hint)
	}
	return c, err
}

// call makes one call on a connection of its own.
func (r *remote) call(ctx context.Context, method string, params, result any) error {
	c, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return explain(c.Call(ctx, method, params, result))
}

// explain turns a server's no into a sentence for a person. What a session can
// have put into it does nothing to a terminal.
func explain(err error) error {
	no := (*client.Error)(nil)
	if !errors.As(err, &no) {
		return err
	}
	text := printable(no.Message)
	switch no.Code {
	case codeNoSession:
		text += "; codebeaker ps lists those there are"
	case codeNoExecution:
		text += "; codebeaker ps -a lists those there are"
	}
	return &explained{text: text, cause: err}
}

// explained is an error with a text for a person.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

// answeredWith says whether err is a server's answer with a code.
func answeredWith(err error, code int) bool {
	no := (*client.Error)(nil)
	return errors.As(err, &no) && no.Code == code
}

// pathReason returns why the server could not do something with a path, or an
// empty text.
func pathReason(err error) string {
	no := (*client.Error)(nil)
	if !errors.As(err, &no) || no.Code != codePath {
		return ""
	}
	var data struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(no.Data, &data) != nil {
		return ""
	}
	return data.Reason
}

// printable replaces what would do more to a terminal than to be seen.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
