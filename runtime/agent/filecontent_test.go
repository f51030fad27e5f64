package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A program of the session may put a FIFO where a file was, or hold a lease.
func TestOpeningWaitsForNobody(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openNow(dir+"/fifo", unix.O_WRONLY); !errors.Is(err, unix.ENXIO) {
		t.Errorf("a FIFO without a reader: %v", err)
	}
	fd, err := openNow(dir+"/fifo", unix.O_RDONLY)
	if err != nil {
		t.Fatalf("a FIFO without a writer: %v", err)
	}
	defer closeFD(fd)
	leased, err := os.OpenFile(dir+"/leased", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer leased.Close()
	if _, err := unix.FcntlInt(leased.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("needs a file system with leases: %v", err)
	}
	if _, err := openNow(dir+"/leased", unix.O_RDONLY); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a file with a lease: %v", err)
	}
}

// A file that fails within is answered once, and the rest of it is dropped.
func TestWriteThatFailsIsAnsweredOnce(t *testing.T) {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0) // which cannot be written to
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := &fileServer{packets: NewPackets(nil, &out), writes: map[uint32]*fileWrite{7: {fd: fd}}}
	for _, more := range []bool{true, true, false} {
		if err := s.write(7, &FileRequest{Op: WriteFile, More: more}, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	answers := NewPackets(&out, nil)
	id, head, _, err := answers.Receive()
	var reply FileReply
	if jerr := json.Unmarshal(head, &reply); id != 7 || err != nil || jerr != nil || reply.Errno != unix.EBADF {
		t.Errorf("answer %d %s, %v", id, head, err)
	}
	if id, head, _, err := answers.Receive(); err == nil {
		t.Errorf("answered again: %d %s", id, head)
	}
	if len(s.writes) != 0 {
		t.Error("the file is remembered after its end")
	}
}
