package compare

import (
	"math"
	"slices"
	"time"
)

// sample is one time that something was done: how long it took, or why it
// failed.
type sample struct {
	took time.Duration
	err  error
}

// Summary describes the samples of a cell. Times are of those that did not
// fail, in milliseconds.
type Summary struct {
	// N is how many were done, Failed how many of them failed.
	N      int `json:"n"`
	Failed int `json:"failed"`
	// Error is the first failure.
	Error string  `json:"error,omitempty"`
	Min   float64 `json:"minMs"`
	Mean  float64 `json:"meanMs"`
	P50   float64 `json:"p50Ms"`
	P95   float64 `json:"p95Ms"`
	P99   float64 `json:"p99Ms"`
	Max   float64 `json:"maxMs"`
	// BestRound is the least p50 of a round: what there is where the machine is
	// quiet.
	BestRound float64 `json:"bestRoundP50Ms"`
}

// OK is how many did not fail.
func (s Summary) OK() int { return s.N - s.Failed }

// summarize describes samples that were taken in rounds.
func summarize(rounds [][]sample) Summary {
	var s Summary
	var all []float64
	best := math.Inf(1)
	for _, round := range rounds {
		var took []float64
		for _, one := range round {
			s.N++
			if one.err != nil {
				s.Failed++
				if s.Error == "" {
					s.Error = one.err.Error()
				}
				continue
			}
			took = append(took, milliseconds(one.took))
		}
		if len(took) > 0 {
			slices.Sort(took)
			best = min(best, percentile(took, 50))
		}
		all = append(all, took...)
	}
	if len(all) == 0 {
		return s
	}
	slices.Sort(all)
	var sum float64
	for _, ms := range all {
		sum += ms
	}
	s.Min, s.Max, s.Mean, s.BestRound = all[0], all[len(all)-1], sum/float64(len(all)), best
	s.P50, s.P95, s.P99 = percentile(all, 50), percentile(all, 95), percentile(all, 99)
	return s
}

// percentile returns the nearest rank: the least value that at least p percent
// of sorted, which has one at least, do not exceed.
func percentile(sorted []float64, p float64) float64 {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
