package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"codebeaker/runtime/shim/direct"
)

type fakeShim struct {
	name            string
	ended, released chan struct{}
	gone            bool
}

func (f *fakeShim) Address() (string, uint32) { return f.name, 3 }
func (f *fakeShim) Client() *direct.Client    { return nil }
func (f *fakeShim) Ended() <-chan struct{}    { return f.ended }
func (f *fakeShim) Takes() bool               { return !f.gone }
func (f *fakeShim) Release() {
	select {
	case <-f.released:
	default:
		close(f.released)
		close(f.ended) // as it has no container
	}
}

// fleet starts shims that are none.
type fleet struct {
	*shims
	all  []*fakeShim
	fail error
}

func newFleet(most int) *fleet {
	f := &fleet{}
	f.shims = newShims(most, slog.New(slog.DiscardHandler), func() (sharedShim, error) {
		if f.fail != nil {
			return nil, f.fail
		}
		shim := &fakeShim{name: fmt.Sprint(len(f.all)), ended: make(chan struct{}), released: make(chan struct{})}
		f.all = append(f.all, shim)
		return shim, nil
	})
	return f
}

func (f *fleet) must(t *testing.T, id, want string) {
	t.Helper()
	given, err := f.give(id)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := given.Address(); got != want {
		t.Fatalf("%s has shim %q; want %q", id, got, want)
	}
	synctest.Wait()
}

func (f *fleet) living() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.shims.all)
}

func TestShimsAreStartedAheadOfNeedAndEndWhenEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(4)
		f.must(t, "a", "0")
		f.must(t, "b", "0")
		if n := f.living(); n != 1 {
			t.Fatalf("with room for 2 there are %d shims", n)
		}
		f.must(t, "c", "0")
		if n := f.living(); n != 2 {
			t.Fatalf("with room for 1 there are %d shims", n)
		}
		f.must(t, "d", "0")
		f.must(t, "e", "1")
		f.take("e")
		if n := f.living(); n != 2 {
			t.Errorf("the last room was given up: %d shims", n)
		}
		f.must(t, "e", "1")
		for _, id := range []string{"a", "b", "c"} {
			f.take(id)
		}
		f.must(t, "f", "0") // the first of two that have one
		f.take("f")
		f.take("d")
		synctest.Wait()
		if n := f.living(); n != 1 {
			t.Errorf("of two shims with one container %d are left", n)
		}
		f.take("d") // again
		f.take("of an earlier server")
		f.close()
		if n := f.living(); n != 0 {
			t.Errorf("%d shims are left after close", n)
		}
		if _, err := f.give("late"); err == nil {
			t.Error("a shim was given after close")
		}
	})
}

func TestShimThatDiedGetsNoMoreContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(4)
		f.must(t, "a", "0")
		close(f.all[0].released) // it dies by itself
		close(f.all[0].ended)
		synctest.Wait()
		f.must(t, "b", "1")
		f.take("a")
		f.must(t, "c", "1")
		f.fail = errors.New("no more processes")
		for _, id := range []string{"d", "e"} {
			f.must(t, id, "1")
		}
		if _, err := f.give("f"); !errors.Is(err, f.fail) {
			t.Errorf("without room: %v", err)
		}
		f.close()
	})
}

// What cannot be reached is not tried again and again.
func TestShimThatDoesNotListenGetsNoContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(4)
		f.must(t, "a", "0")
		f.all[0].gone = true
		f.must(t, "b", "1")
		select {
		case <-f.all[0].released:
		default:
			t.Error("it is not let go")
		}
		f.take("a")
		f.take("b")
		f.close()
	})
}
