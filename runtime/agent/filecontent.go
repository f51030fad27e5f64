package agent

import (
	"context"
	"errors"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// fileWrite is a file that is being written. It was answered already where err
// is set, and what still comes for it is dropped.
type fileWrite struct {
	fd  int
	err error
}

// write writes a piece of a file, of which the first request opens it and the
// last one, which says that no more follow, closes it. The answer comes then, or
// as soon as something went wrong.
func (s *fileServer) write(id uint32, req *FileRequest, data []byte) error {
	w := s.writes[id]
	if w == nil {
		w = &fileWrite{}
		w.fd, w.err = openForWriting(req)
		if w.err != nil && req.More {
			s.writes[id] = w
		}
		if w.err != nil {
			return s.packets.Send(id, failed(w.err), nil)
		}
		s.writes[id] = w
	}
	if w.err == nil {
		err := writeAll(w.fd, data)
		if err != nil || !req.More {
			w.err = errors.Join(err, unix.Close(w.fd))
			if err := s.packets.Send(id, failed(w.err), nil); err != nil {
				return err
			}
		}
	}
	if !req.More {
		delete(s.writes, id)
	}
	return nil
}

// abandon closes what the host has not finished.
func (s *fileServer) abandon() {
	for _, w := range s.writes {
		if w.err == nil {
			closeFD(w.fd)
		}
	}
}

// failed answers with an error, or without one.
func failed(err error) FileReply {
	if err == nil {
		return FileReply{}
	}
	return FileReply{Errno: errnoOf(err)}
}

// openForWriting opens a file for writing, and makes its parents only where they
// turn out to be missing.
//
// What one packet replaces is not emptied first: a file that was emptied and
// then written is on its way to the disk before ext4 lets it be closed (mount
// option auto_da_alloc), which takes ten times as long as all the rest.
func openForWriting(req *FileRequest) (int, error) {
	flags := unix.O_WRONLY | unix.O_CREAT
	switch {
	case req.Append:
		flags |= unix.O_APPEND
	case req.More || req.Size == 0:
		flags |= unix.O_TRUNC
	}
	fd, size, err := openRegular(string(req.Path), flags)
	if errors.Is(err, unix.ENOENT) && !req.NoParents {
		// As the path reads, and not as its links lead.
		if err := makeParents(path.Dir(string(req.Path))); err != nil {
			return -1, err
		}
		fd, size, err = openRegular(string(req.Path), flags)
	}
	if err != nil {
		return -1, err
	}
	if req.Permissions != nil {
		err = unix.Fchmod(fd, *req.Permissions&permissionBits)
	}
	if err == nil && !req.Append && size > req.Size {
		err = unix.Ftruncate(fd, req.Size)
	}
	if err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

const permissionBits = 0o777

// openRegular opens a regular file, which may have to be made, and returns its
// size. It looks before it opens, since to open a device does something, and
// after it, since a program of the session may have put another file there.
func openRegular(name string, flags int) (fd int, size int64, err error) {
	var st unix.Stat_t
	if err = unix.Stat(name, &st); err == nil {
		err = regular(&st)
	}
	if err != nil && (flags&unix.O_CREAT == 0 || !errors.Is(err, unix.ENOENT)) {
		return -1, 0, err
	}
	if fd, err = openNow(name, flags); err != nil {
		return -1, 0, err
	}
	if err = unix.Fstat(fd, &st); err == nil {
		err = regular(&st)
	}
	if err != nil {
		closeFD(fd)
		return -1, 0, err
	}
	return fd, st.Size, nil
}

// openNow opens a file and waits for nobody: neither for the other end of a FIFO
// nor for a lease to be given back.
func openNow(name string, flags int) (int, error) {
	return unhurried(func() (int, error) {
		return unix.Open(name, flags|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0o644)
	})
}

// unhurried makes a system call again where a signal interrupted it. Package os
// would do so as well, and have its poller look at each file, of which it has
// no use for regular ones.
func unhurried(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unhurried(func() (int, error) { return unix.Write(fd, data) })
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// readAt reads until buf is full or the file ends.
func readAt(fd int, buf []byte, offset int64) (n int, err error) {
	for n < len(buf) {
		more, err := unhurried(func() (int, error) { return unix.Pread(fd, buf[n:], offset+int64(n)) })
		if err != nil || more == 0 {
			return n, err
		}
		n += more
	}
	return n, nil
}

func regular(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return unix.ENXIO
	}
}

// fileRead is a file that is being read.
type fileRead struct {
	fd     int
	offset int64
	left   int64 // that may still be read; more than is allowed, by one
	most   int64 // that are allowed
	size   int64 // that are to be expected
}

// read reads a range of a file: at once what fits into a packet, and what is
// more later.
func (s *fileServer) read(ctx context.Context, id uint32, req *FileRequest) error {
	r, err := openForReading(req)
	if err != nil {
		return s.packets.Send(id, failed(err), nil)
	}
	// One more than is expected, which shows that there is no more. Files of
	// /proc say that they have nothing, and may have something.
	const least = 4 << 10
	size := int(min(max(r.size+1, least), MaxChunk))
	s.buf = slices.Grow(s.buf[:0], size)[:size]
	reply, data := r.next(s.buf)
	if !reply.More {
		closeFD(r.fd)
		return s.packets.Send(id, reply, data)
	}
	if err := s.packets.Send(id, reply, data); err != nil {
		closeFD(r.fd)
		return err
	}
	s.later(ctx, func() error {
		defer closeFD(r.fd)
		buf := make([]byte, MaxChunk)
		for {
			reply, data := r.next(buf)
			if err := s.packets.Send(id, reply, data); err != nil || !reply.More {
				return err
			}
		}
	})
	return nil
}

func openForReading(req *FileRequest) (*fileRead, error) {
	fd, size, err := openRegular(string(req.Path), unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	r := &fileRead{fd: fd, offset: req.Offset, left: int64(req.MaxBytes) + 1, most: int64(req.MaxBytes)}
	if req.Length >= 0 {
		r.left = min(r.left, req.Length)
	}
	if r.size = min(max(size-req.Offset, 0), r.left); r.size > r.most {
		closeFD(fd)
		return nil, unix.EFBIG
	}
	return r, nil
}

// next reads what comes next, and says whether more follows. There is always
// more but after an end that was seen: files grow.
func (r *fileRead) next(buf []byte) (FileReply, []byte) {
	buf = buf[:min(int64(len(buf)), r.left)]
	n, err := readAt(r.fd, buf, r.offset)
	ended := n < len(buf)
	r.offset += int64(n)
	r.left -= int64(n)
	r.most -= int64(n)
	switch {
	case err != nil:
		return failed(err), nil
	case r.most < 0:
		return failed(unix.EFBIG), nil
	}
	return FileReply{Size: r.size, More: !ended && r.left > 0}, buf[:n]
}
