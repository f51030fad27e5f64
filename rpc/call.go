package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"
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
// The response is held of the budget of replies. It never panics.
func (s *Server) respond(ctx context.Context, from *conn, c *call) (response []byte) {
	log := from.log
	caller := &caller{conn: from, frame: c.frame}
	defer func() { c.added = caller.addReply(response) }()
	result, err := s.carryOut(ctx, caller, c)
	c.after = caller.after
	if !c.fate.settle() {
		for _, undo := range caller.undo {
			undo(context.WithoutCancel(ctx))
		}
		err = cancelled()
	}
	if c.id == nil {
		if err != nil {
			log.Debug("notification failed", "method", c.request.method, "error", err)
		}
		s.observe(c, codeOf(err))
		return nil
	}
	if err == nil {
		if response, err = encodeResult(c.id, result); err == nil {
			s.observe(c, 0)
			return response
		}
	}
	told := wireErrorOf(log.With("method", c.request.method), err)
	s.observe(c, told.Code)
	return encodeError(c.id, told)
}

// observe tells the observer of a request that has a response.
func (s *Server) observe(c *call, code int) {
	ended := c.method.ended
	if ended == nil { // it was refused before its method was known
		ended = s.unnamed
	}
	ended(code, time.Since(c.received))
}

func (s *Server) carryOut(ctx context.Context, from *caller, c *call) (result any, err error) {
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
	return c.method.call(ctx, from, c.params)
}
