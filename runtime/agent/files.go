package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// MaxPacket is the most data of a file in one SFTP packet, in bytes. Client
// and server must agree: where the client asks for more than the server sends
// at once, its concurrent reads come back short without an error.
const MaxPacket = 128 << 10

// maxFileOps is how many requests of ours are carried out at one time.
const maxFileOps = 4

// Files serves files on stdin and stdout until stdin ends, and returns the exit
// code of the process.
func Files(ctx context.Context, stdin io.Reader, stdout io.WriteCloser, stderr io.Writer) int {
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

// ServeFiles serves files over SFTP on stdin and stdout, and FileRequests
// between, until stdin or ctx ends.
func ServeFiles(ctx context.Context, stdin io.Reader, stdout io.WriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	free := make(chan struct{}, maxFileOps)
	var conn *Packets
	conn = NewPackets(stdin, stdout, RequestPacket, func(id uint32, payload []byte) error {
		var req FileRequest
		if err := json.Unmarshal(payload, &req); err != nil {
			return fmt.Errorf("read file request: %w", err)
		}
		work.Go(func() {
			select {
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-ctx.Done():
				return
			}
			for _, reply := range req.do(ctx) {
				// Where the host is gone, the connection says so.
				_ = conn.sendReply(id, reply)
			}
		})
		return nil
	})
	server, err := sftp.NewServer(serverConn{conn, stdout}, sftp.WithMaxTxPacket(MaxPacket))
	if err != nil {
		return fmt.Errorf("serve files: %w", err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("serve files: %w", err)
	}
	return nil
}

func (p *Packets) sendReply(id uint32, reply FileReply) error {
	payload, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	return p.Send(ReplyPacket, id, payload)
}

type serverConn struct {
	*Packets
	io.Closer
}
