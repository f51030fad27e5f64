package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	"codebeaker/runtime"
)

// Input writes to the program's standard input and, where eof, ends it. It
// waits while the program does not read, so that one call after another keeps
// their order. If ctx ends before, a part of data may have been written. A
// *StateError says that there is no standard input any more.
func (e *Execution) Input(ctx context.Context, data []byte, eof bool) error {
	select {
	case e.typing <- struct{}{}:
		defer func() { <-e.typing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	stdin := e.stdin
	e.mu.Unlock()
	if stdin == nil {
		return e.stateError("standard input has ended")
	}
	return e.typeIn(ctx, stdin, data, eof)
}

// typeIn writes to stdin until that is done or ctx ends. The caller holds typing.
func (e *Execution) typeIn(ctx context.Context, stdin runtime.Input, data []byte, eof bool) error {
	if eof && e.tty {
		data = append(slices.Clip(data), endOfFile(data)...)
	}
	if len(data) > 0 {
		if err := writeUntil(ctx, stdin, data); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("write to the program: %w", ctx.Err())
			}
			return e.stateError("the program does not read any more")
		}
	}
	if eof && !e.tty {
		return e.endInput()
	}
	return nil
}

// writeUntil writes until ctx ends.
func writeUntil(ctx context.Context, to runtime.Input, data []byte) error {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = to.SetWriteDeadline(time.Unix(1, 0)) // which fails if it is closed, as the write does
	})
	_, err := to.Write(data)
	if !stop() { // the next write has all its time
		<-over
		_ = to.SetWriteDeadline(time.Time{})
	}
	return err
}

// endOfFile is what a person types to end the input of a terminal after data:
// the character counts for what stands before it in its line, if anything, and
// only then for the end.
func endOfFile(data []byte) []byte {
	const eot = 0x04
	if len(data) == 0 || data[len(data)-1] == '\n' {
		return []byte{eot}
	}
	return []byte{eot, eot}
}

// endInput ends standard input, once.
func (e *Execution) endInput() error {
	e.mu.Lock()
	stdin := e.stdin
	e.stdin = nil
	e.mu.Unlock()
	if stdin == nil {
		return nil
	}
	return stdin.Close()
}
