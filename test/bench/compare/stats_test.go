package compare

import (
	"errors"
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	five := []float64{15, 20, 35, 40, 50}
	for _, c := range []struct {
		sorted []float64
		p      float64
		want   float64
	}{
		{five, 5, 15},
		{five, 20, 15},
		{five, 20.1, 20},
		{five, 30, 20},
		{five, 40, 20},
		{five, 50, 35},
		{five, 99, 50},
		{five, 100, 50},
		{five, 0, 15},
		{hundred, 50, 50},
		{hundred, 95, 95},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{[]float64{7}, 50, 7},
		{[]float64{7}, 99, 7},
		{[]float64{1, 2}, 50, 1},
		{[]float64{1, 2}, 51, 2},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile %g of %d values = %g, want %g", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestSummaryKeepsFailuresApart(t *testing.T) {
	took := func(n int) sample { return sample{took: time.Duration(n) * time.Millisecond} }
	got := summarize([][]sample{
		{took(9), took(10), took(30)},
		{{took: time.Hour, err: errors.New("first")}, took(4), took(2), {err: errors.New("second")}},
	})
	want := Summary{N: 7, Failed: 2, Error: "first", Min: 2, Mean: 11, P50: 9, P95: 30, P99: 30, Max: 30, BestRound: 2}
	if got != want {
		t.Errorf("summary is\n%+v, want\n%+v", got, want)
	}
}

func TestSummaryOfFailuresAloneHasNoTimes(t *testing.T) {
	got := summarize([][]sample{{{err: errors.New("no")}}, nil})
	if want := (Summary{N: 1, Failed: 1, Error: "no"}); got != want {
		t.Errorf("summary is %+v, want %+v", got, want)
	}
}
