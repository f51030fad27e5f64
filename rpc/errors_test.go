package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"codebeaker/session"
)

func TestErrorsHaveTheirCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{
			fmt.Errorf("open /var/lib/codebeaker: %w", session.ErrNotFound),
			`{"code":-32001,"message":"session not found: it was closed or never created"}`,
		},
		{fmt.Errorf("execute: %w", session.ErrClosed), `{"code":-32002,"message":"session is closing or closed"}`},
		{
			fmt.Errorf("ruby: %w", session.ErrLanguage),
			`{"code":-32003,"message":"ruby: language not available"}`,
		},
		{
			fmt.Errorf("create: %w", &session.LimitError{Limit: "100 sessions", RetryAfter: time.Second}),
			`{"code":-32004,"message":"limit reached: 100 sessions","data":{"retryAfterMs":1000}}`,
		},
		{&session.LimitError{Limit: "100 sessions"}, `{"code":-32004,"message":"limit reached: 100 sessions"}`},
		{
			fmt.Errorf("create: %w", &session.InvalidError{Field: "memoryLimitMB", Takes: "16 to 65536"}),
			`{"code":-32602,"message":"invalid params: memoryLimitMB takes 16 to 65536","data":{"field":"memoryLimitMB"}}`,
		},
		{
			fmt.Errorf("open /var/lib/codebeaker: %w", &session.PathError{Path: "a/b", Reason: "not found"}),
			`{"code":-32007,"message":"a/b: not found","data":{"path":"a/b","reason":"not found"}}`,
		},
		{fmt.Errorf("run: %w", session.ErrCancelled), `{"code":-32008,"message":"the execution was cancelled before its program ran"}`},
		{fmt.Errorf("create: %w", session.ErrShutdown), `{"code":-32008,"message":"the server is shutting down"}`},
		{fmt.Errorf("create: %w", context.Canceled), `{"code":-32008,"message":"the request was cancelled"}`},
	} {
		got, err := json.Marshal(wireErrorOf(slog.New(slog.DiscardHandler), test.err))
		if err != nil || string(got) != test.want {
			t.Errorf("%v:\ngot  %s (%v)\nwant %s", test.err, got, err, test.want)
		}
	}
	for _, err := range []error{errors.New("x"), context.DeadlineExceeded} {
		if e := wireErrorOf(slog.New(slog.DiscardHandler), err); e.Code != codeInternal || e.Message != "internal error" {
			t.Errorf("%v: got %v, want code %d", err, e, codeInternal)
		}
	}
}
