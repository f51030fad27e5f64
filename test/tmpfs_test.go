package test

import (
	"fmt"
	"strings"
	"testing"
)

// filesystems returns the sizes, in KiB, that a session's filesystems in memory
// should have, and those that they have.
func (b *sandbox) filesystems(memoryMB int) (want, got string) {
	b.t.Helper()
	got = b.sh(`for dir in /tmp /dev/shm; do
	set -- $(busybox df -k $dir | tail -n 1)
	echo $2
done`).Stdout
	return fmt.Sprintf("%d\n%d\n", memoryMB*1024*3/8, memoryMB*1024/8), got
}

func TestFullFilesystemsInMemoryLeaveTheSessionAlive(t *testing.T) {
	for _, memory := range []int{16, 64, 256} {
		t.Run(fmt.Sprintf("%d MiB", memory), func(t *testing.T) {
			b := busybox(t).session(t, object{"memoryLimitMB": memory})
			if want, got := b.filesystems(memory); got != want {
				t.Errorf("they have %q KiB; want %q", got, want)
			}
			for _, fill := range []string{
				"cat /dev/zero > /tmp/x", "cat /dev/zero > /dev/shm/x",
				"i=0; while : > /tmp/$i; do i=$((i+1)); done", "i=0; while : > /dev/shm/$i; do i=$((i+1)); done",
			} {
				r := b.sh(fill)
				if r.ExitCode == 0 || r.EndReason != "exited" || !strings.Contains(r.Stderr, "No space left on device") && !strings.Contains(r.Stderr, "nonexistent directory") {
					t.Errorf("%s: %+v", fill, r)
				}
			}
			if r := b.sh("dd if=/dev/zero of=/dev/null bs=1M count=1 2>&1"); r.ExitCode != 0 {
				t.Errorf("the next program: %+v", r)
			}
			if o := b.do(object{"type": "write_file", "path": "a", "content": "x"}); !o.Success {
				t.Errorf("the next file: %+v", o)
			}
		})
	}
}
