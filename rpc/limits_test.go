package rpc

import (
	"context"
	"testing"

	"codebeaker/session"
)

// The bounds of a limit are the session's, which says them: two ranges in two
// errors would help nobody.
func TestLimitsOutOfRangeAreTheSessionsToRefuse(t *testing.T) {
	var asked session.CreateRequest
	c := startServer(t, Options{Sessions: &fakeSessions{create: func(_ context.Context, req session.CreateRequest) (session.Info, error) {
		asked = req
		return session.Info{}, &session.InvalidError{Field: "memoryLimitMB", Takes: "a number from 16 to 64"}
	}}}).dial(t)
	for _, value := range []string{"0", "-5", "1e18"} {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"go","memoryLimitMB":` + value +
			`,"cpuLimit":` + value + `,"pidsLimit":` + value + `,"idleTimeoutMinutes":` + value + `}}`)
		if r := c.receiveResponse(); r.Error == nil || r.Error.Message != "invalid params: memoryLimitMB takes a number from 16 to 64" {
			t.Errorf("%s: answer %+v", value, r.Error)
		}
		little := asked.Limits.MemoryBytes < 0 && asked.Limits.CPUs < 0 && asked.Limits.Pids < 0 && asked.IdleTimeout < 0
		much := asked.Limits.MemoryBytes > 1<<60 && asked.Limits.CPUs > 1e9 && asked.Limits.Pids >= 1<<22 && asked.IdleTimeout > 1<<60
		if little == (value == "1e18") || much != (value == "1e18") {
			t.Errorf("%s: asked for %+v", value, asked)
		}
	}
}
