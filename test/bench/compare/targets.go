package compare

import (
	"fmt"
)

// Target is what the project wants to reach, and what was found.
type Target struct {
	Name string `json:"name"`
	// Want and Got are for people.
	Want string `json:"want"`
	Got  string `json:"got"`
	Met  bool   `json:"met"`
}

// judge compares what was found with what the project wants. A target that
// nothing was measured for is left out.
func (r *Report) judge() []Target {
	var list []Target
	cold := nameCold
	if r.find(Create, Sequential, 1, nameCold) == nil {
		cold = nameServer
	}
	within := func(name string, m Measure, subject string, p50, p99 float64) {
		c := r.find(m, Sequential, 1, subject)
		if c == nil {
			return
		}
		t := Target{Name: name, Want: fmt.Sprintf("p50 ≤ %g ms", p50), Got: fmt.Sprintf("p50 %s ms", ms(c.P50)), Met: c.Failed == 0 && c.P50 <= p50}
		if p99 > 0 {
			t.Want += fmt.Sprintf(", p99 ≤ %g ms", p99)
			t.Got += fmt.Sprintf(", p99 %s ms", ms(c.P99))
			t.Met = t.Met && c.P99 <= p99
		}
		if c.Failed > 0 {
			t.Got += fmt.Sprintf(", %d failed", c.Failed)
		}
		list = append(list, t)
	}
	below := func(name string, m Measure, subject, other string, part float64) {
		ours, theirs := r.find(m, Sequential, 1, subject), r.find(m, Sequential, 1, other)
		if ours == nil || theirs == nil || ours.OK() == 0 || theirs.OK() == 0 {
			return
		}
		ratio := ours.P50 / theirs.P50
		list = append(list, Target{Name: name + " beside " + other, Want: fmt.Sprintf("≤ 1/%g", part), Got: asRatio(ratio), Met: ratio <= 1/part})
	}
	within("echo", Echo, nameServer, 3, 15)
	below("echo", Echo, nameServer, nameDocker, 12)
	below("echo", Echo, nameServer, nameContainerd, 12)
	if cold == nameCold {
		within("create, pooled", Create, nameServer, 5, 20)
		if c := r.find(Create, Sequential, 1, nameServer); c != nil && c.Pooled < c.OK() {
			list[len(list)-1].Got += fmt.Sprintf("; %d of %d were pooled", c.Pooled, c.OK())
			list[len(list)-1].Met = false
		}
		below("create, pooled", Create, nameServer, nameDocker, 40)
	}
	within("create, cold", Create, cold, 40, 120)
	below("create, cold", Create, cold, nameDocker, 4)
	within("python print", Print, nameServer, 8, 25)
	within("write 1 KiB", WriteSmall, nameServer, 0.7, 0)
	within("read 1 KiB", ReadSmall, nameServer, 0.7, 0)
	within("close answers", Close, nameServer, 5, 0)
	within("all gone", Gone, nameServer, 50, 0)
	return append(list, r.judgeLoad(cold)...)
}

// judgeLoad is for targets about many at one time.
func (r *Report) judgeLoad(cold string) []Target {
	var list []Target
	one, thirty := r.find(Echo, Sequential, 1, nameServer), r.find(Echo, Burst, 30, nameServer)
	if one != nil && thirty != nil && one.OK() > 0 && thirty.OK() > 0 {
		times := thirty.P50 / one.P50
		list = append(list, Target{
			Name: "30 executions at once in one session", Want: "p50 ≤ 4 times that of one",
			Got: fmt.Sprintf("%.1f times", times), Met: times <= 4 && thirty.Failed == 0,
		})
		if thirty.Whole > 0 {
			times = thirty.Idle / one.P50
			list = append(list, Target{
				Name: "the same, the processors' work aside", Want: "idle for ≤ 4 times the p50 of one until the last has ended",
				Got: fmt.Sprintf("%.1f times: %s of %s ms", times, ms(thirty.Idle), ms(thirty.Whole)), Met: times <= 4 && thirty.Failed == 0,
			})
		}
	}
	for _, i := range r.Idle {
		if i.Subject == cold {
			list = append(list, Target{
				Name: "memory of an idle session", Want: "≤ 8 MiB",
				Got: fmt.Sprintf("%.1f MiB; %d of %d were live", i.Total()/1024, i.Live, i.Wanted), Met: i.Total() <= 8*1024 && i.Live == i.Wanted,
			})
		}
	}
	base := r.find(Create, Sequential, 1, cold)
	for _, mode := range []Mode{Burst, Again} {
		burst := r.find(Create, mode, r.Plan.Burst, nameServer)
		if burst == nil || base == nil {
			continue
		}
		list = append(list, Target{
			Name: fmt.Sprintf("%s of %d creates", mode, burst.AtOnce), Want: fmt.Sprintf("all succeed, none slower than 3 times the cold p99, %s ms", ms(3*base.P99)),
			Got: fmt.Sprintf("%d failed, slowest %s ms; %d were pooled", burst.Failed, ms(burst.Max), burst.Pooled), Met: burst.Failed == 0 && burst.Max <= 3*base.P99,
		})
	}
	return list
}

// ms formats milliseconds with three digits or so.
func ms(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// asRatio formats ours by theirs: "1/12" is twelve times faster, "1.5" slower.
func asRatio(ratio float64) string {
	switch {
	case ratio <= 0:
		return ""
	case ratio >= 1:
		return fmt.Sprintf("%.1f", ratio)
	case ratio > 0.1:
		return fmt.Sprintf("1/%.1f", 1/ratio)
	default:
		return fmt.Sprintf("1/%.0f", 1/ratio)
	}
}
