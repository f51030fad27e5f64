package runtime

import (
	"testing"

	"github.com/containerd/errdefs"
)

func TestIDRangesAreSharedByNoTwo(t *testing.T) {
	var pool IDPool
	seen := map[uint32]bool{}
	for range idRanges {
		r, err := pool.Take()
		if err != nil {
			t.Fatal(err)
		}
		if seen[r.HostID] || r.HostID%IDRangeSize != 0 || r.Size != IDRangeSize || r.HostID < idRangeBase {
			t.Fatalf("range %+v was handed out before, or is no range of ours", r)
		}
		seen[r.HostID] = true
	}
	if _, err := pool.Take(); !errdefs.IsResourceExhausted(err) {
		t.Fatalf("Take from an empty pool: %v", err)
	}
	back := IDRange{HostID: idRangeBase + 7*IDRangeSize, Size: IDRangeSize}
	pool.Return(back)
	if r, err := pool.Take(); err != nil || r != back {
		t.Fatalf("Take after Return = %+v, %v; want %+v", r, err, back)
	}
}

func TestReturnedIDRangeRests(t *testing.T) {
	var pool IDPool
	first, _ := pool.Take()
	pool.Return(first)
	if second, _ := pool.Take(); second == first {
		t.Fatalf("range %+v was handed out again at once", first)
	}
}
