package shim

import (
	"io"
	"os"
	"sync"
)

// drains read what others write that programs left behind, and drop it: without a
// reader those would be ended by what they write.
type drains struct {
	work sync.WaitGroup

	mu    sync.Mutex
	files map[*os.File]struct{} // that are read
}

// add reads the streams' output until nobody writes to it any more, or stop.
func (d *drains) add(s *streams) {
	for _, f := range s.release() {
		d.mu.Lock()
		if d.files == nil {
			d.files = map[*os.File]struct{}{}
		}
		d.files[f] = struct{}{}
		d.mu.Unlock()
		d.work.Go(func() {
			_, _ = io.Copy(io.Discard, f)
			f.Close()
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.files, f)
		})
	}
}

// stop ends all reading.
func (d *drains) stop() {
	d.mu.Lock()
	for f := range d.files {
		f.Close()
	}
	d.mu.Unlock()
	d.work.Wait()
}
