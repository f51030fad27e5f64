package session

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/session/output"
)

// slowly writes text piece by piece, with a pause before each, and then ends
// the stream where it is to end.
func slowly(w *io.PipeWriter, pause time.Duration, ends bool, pieces ...string) {
	for _, text := range pieces {
		timer := time.NewTimer(pause)
		<-timer.C
		_, _ = io.WriteString(w, text)
	}
	if ends {
		w.Close()
	}
}

func TestSettleWaitsForTheLastWordsOfWhatHasEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		others bool
		ends   bool
		pause  time.Duration
		want   string
		whole  bool
	}{
		"on a busy host":              {ends: true, pause: 5 * time.Second, want: "lastwords", whole: true},
		"that never come":             {pause: time.Hour},
		"beside others that are mute": {others: true, pause: time.Hour, whole: true},
		"beside others":               {others: true, pause: 100 * time.Millisecond, want: "lastwords", whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := io.Pipe()
				log := output.NewLog(0, nil, nil)
				var work sync.WaitGroup
				p := pumpFrom(&work, r, log, func(int64) {})
				work.Go(func() { slowly(w, tc.pause, tc.ends, "last", "words") })
				if whole := settle(func() bool { return tc.others }, p); whole != tc.whole {
					t.Errorf("settle() = %v", whole)
				}
				if text, _, _ := log.Tail(100); string(text) != tc.want {
					t.Errorf("it returned with %q; want %q", text, tc.want)
				}
				r.Close() // ends the writer
				work.Wait()
			})
		})
	}
}
