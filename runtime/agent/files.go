package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFileOps is how many requests are carried out at one time, of those that
// may take long.
const maxFileOps = 4

// Files serves files on stdin and stdout until stdin ends, and returns the exit
// code of the process.
func Files(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) int {
	// A second line of defence behind the binary's mode: programs run by the
	// same user must not reach into this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintf(stderr, "codebeaker: files: hide process: %v\n", err)
		return 1
	}
	if err := ServeFiles(ctx, stdin, stdout); err != nil {
		fmt.Fprintf(stderr, "codebeaker: files: %v\n", err)
		return 1
	}
	return 0
}

// fileServer carries out FileRequests.
//
// What is short is done by the goroutine that reads: writing what a packet
// brings, and reading what fits into one. So a small file costs a packet each
// way and wakes nobody, and the pieces of a large one need not wait in memory.
type fileServer struct {
	packets *Packets
	// writes are the files of which more is to come, by the id of their request.
	writes map[uint32]*fileWrite
	buf    []byte
	work   sync.WaitGroup
	free   chan struct{} // a place for each request that may take long
}

// ServeFiles answers FileRequests until stdin or ctx ends.
func ServeFiles(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &fileServer{
		packets: NewPackets(stdin, stdout), writes: map[uint32]*fileWrite{}, free: make(chan struct{}, maxFileOps),
	}
	defer s.work.Wait()
	defer cancel()
	defer s.abandon()
	for {
		id, head, data, err := s.packets.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.handle(ctx, id, head, data)
		}
		if err != nil {
			return fmt.Errorf("serve files: %w", err)
		}
	}
}

// handle carries out a request, or sees to it that it is. The error is the
// connection's.
func (s *fileServer) handle(ctx context.Context, id uint32, head, data []byte) error {
	req := &FileRequest{}
	if err := json.Unmarshal(head, req); err != nil {
		return fmt.Errorf("read file request: %w", err)
	}
	switch req.Op {
	case WriteFile:
		return s.write(id, req, data)
	case ReadFile:
		return s.read(ctx, id, req)
	default:
		s.later(ctx, func() error {
			for _, reply := range req.do(ctx) {
				if err := s.packets.Send(id, reply, nil); err != nil {
					return err
				}
			}
			return nil
		})
		return nil
	}
}

// later does something once there is a place for it. Where it fails the host is
// gone, which the connection says as well.
func (s *fileServer) later(ctx context.Context, do func() error) {
	s.work.Go(func() {
		select {
		case s.free <- struct{}{}:
			defer func() { <-s.free }()
			_ = do()
		case <-ctx.Done():
		}
	})
}
