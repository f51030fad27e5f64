package shim

import "testing"

func TestFiltersAreCountedInFilterModeAlone(t *testing.T) {
	for status, want := range map[string]int{
		"Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n": 1,
		"Seccomp:\t2\nSeccomp_filters:\t3\n":                           3,
		"Seccomp:\t0\nSeccomp_filters:\t0\n":                           0,
		"Seccomp:\t1\nSeccomp_filters:\t0\n":                           -1, // strict
		"Seccomp:\t0\nSeccomp_filters:\t1\n":                           -1,
		"Seccomp:\t2\nSeccomp_filters:\t0\n":                           -1,
		"Seccomp:\t2\n":                                                -1, // it says not how many
		"":                                                             -1,
	} {
		got, err := parseFilters(status)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", status, got, err, want)
		}
	}
}
