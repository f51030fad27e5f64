package agent

import (
	"fmt"
	"io"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// MaxPacket is the most data of a file in one SFTP packet, in bytes. Client
// and server must agree: where the client asks for more than the server sends
// at once, its concurrent reads come back short without an error.
const MaxPacket = 128 << 10

// Files serves files over SFTP on stdin and stdout until stdin ends, and
// returns the exit code of the process.
func Files(stdin io.Reader, stdout io.WriteCloser, stderr io.Writer) int {
	// A second line of defence behind the binary's mode: programs run by the
	// same user must not reach into this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintf(stderr, "codebeaker: files: hide process: %v\n", err)
		return 1
	}
	server, err := sftp.NewServer(stdio{stdin, stdout}, sftp.WithMaxTxPacket(MaxPacket))
	if err != nil {
		fmt.Fprintf(stderr, "codebeaker: files: %v\n", err)
		return 1
	}
	if err := server.Serve(); err != nil {
		fmt.Fprintf(stderr, "codebeaker: files: serve: %v\n", err)
		return 1
	}
	return 0
}

type stdio struct {
	io.Reader
	io.WriteCloser
}
