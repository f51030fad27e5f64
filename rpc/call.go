package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
)

// prepare completes a call, or says why it cannot be one.
func (s *Server) prepare(call *call) *wireError {
	m, ok := s.methods[call.request.method]
	switch {
	case !ok:
		return &wireError{Code: codeNoMethod, Message: "method not found: " + shorten(call.request.method)}
	case call.params == nil:
		call.params = json.RawMessage("{}")
	}
	call.method = m
	call.queue = m.queueOf(call.request.method, call.params)
	if !s.beginCall() {
		return shuttingDown()
	}
	return nil
}

// respond carries out a call and returns the response, nil for a notification.
// It never panics.
func (s *Server) respond(ctx context.Context, from *conn, c *call) []byte {
	log := from.log
	result, err := s.carryOut(ctx, from, c)
	if c.id == nil {
		if err != nil {
			log.Debug("notification failed", "method", c.request.method, "error", err)
		}
		return nil
	}
	if err == nil {
		var response []byte
		if response, err = encodeResult(c.id, result); err == nil {
			return response
		}
	}
	return encodeError(c.id, wireErrorOf(log.With("method", c.request.method), err))
}

func (s *Server) carryOut(ctx context.Context, from *conn, c *call) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, internalError(from.log, fmt.Errorf("panic: %v", r),
				"method", c.request.method, "stack", string(debug.Stack()))
		}
	}()
	if c.refused != nil {
		return nil, c.refused
	}
	if ctx.Err() != nil {
		return nil, shuttingDown()
	}
	caller := &caller{conn: from}
	result, err = c.method.call(ctx, caller, c.params)
	c.after = caller.after
	return result, err
}
