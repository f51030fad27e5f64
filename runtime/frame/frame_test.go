package frame

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPacketComesBackAsItWasSent(t *testing.T) {
	want := Header{Kind: 7, ID: 1 << 31, Argument: 2, Detail: 3}
	for _, body := range []string{"", "a body"} {
		packet := append(want.Append(nil), body...)
		h, got, err := Parse(packet, len(packet))
		if err != nil || h != want || string(got) != body || (got == nil) != (body == "") {
			t.Errorf("got %+v, %q, %v; sent %+v, %q", h, got, err, want, body)
		}
	}
}

func TestPacketsOutOfBoundsAreRefused(t *testing.T) {
	for _, packet := range [][]byte{nil, make([]byte, HeaderLen-1), make([]byte, HeaderLen+2)} {
		if _, _, err := Parse(packet, HeaderLen+1); !errors.Is(err, ErrProtocol) {
			t.Errorf("%d bytes: %v", len(packet), err)
		}
	}
}

func TestDescriptorsComeOutOfAncillaryData(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	// As they would arrive, in two messages.
	oob := append(unix.UnixRights(int(r.Fd())), unix.UnixRights(int(w.Fd()))...)
	fds, err := Rights(oob)
	if err != nil || len(fds) != 2 || fds[0] != int(r.Fd()) || fds[1] != int(w.Fd()) {
		t.Errorf("got %v, %v", fds, err)
	}
	if fds, err := Rights(nil); fds != nil || err != nil {
		t.Errorf("of nothing come %v, %v", fds, err)
	}
	oob[0] = 255 // the length of the first message
	if _, err := Rights(oob); !errors.Is(err, ErrProtocol) {
		t.Errorf("of a message that is longer than all comes %v", err)
	}
}

func TestOtherAncillaryDataClosesTheDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd, err := unix.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	oob := append(unix.UnixRights(fd), unix.UnixCredentials(&unix.Ucred{})...)
	if _, err := Rights(oob); !errors.Is(err, ErrProtocol) {
		t.Errorf("error is %v", err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 { // it ends when nobody can write
		t.Errorf("read %q, %v", rest, err)
	}
}

func TestSealedFilesCannotBeChanged(t *testing.T) {
	f, err := Seal("test", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it was written to")
	}
	if err := f.Truncate(1); err == nil {
		t.Error("it was cut")
	}
	if got, err := io.ReadAll(io.NewSectionReader(f, 0, 100)); err != nil || string(got) != "content" {
		t.Errorf("it holds %q, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Header{Kind: 1, ID: 2, Argument: 3, Detail: 4}.Append(nil))
	f.Fuzz(func(t *testing.T, packet []byte) {
		h, body, err := Parse(packet, 1<<10)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("error is %v", err)
			}
			return
		}
		if !bytes.Equal(append(h.Append(nil), body...), packet) {
			t.Errorf("%+v and %q were %q", h, body, packet)
		}
	})
}
