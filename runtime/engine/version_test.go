package engine

import (
	"testing"

	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/errdefs"
)

func TestVersionsWithKnownEscapesAreRefused(t *testing.T) {
	for _, tc := range []struct {
		component, version string
		refused            bool
	}{
		{"runc", "1.1.15", true},
		{"runc", "1.3.5", true},
		{"runc", "1.3.6", false},
		{"runc", "1.4.0-rc.1", true},
		{"runc", "1.4.2", true},
		{"runc", "1.4.3", false},
		{"runc", "1.5.2", false},
		{"containerd", "v1.7.27", true},
		{"containerd", "v2.2.4", true},
		{"containerd", "v2.2.5", false},
		{"containerd", "2.3.1", true},
		{"containerd", "2.3.2", false},
		{"containerd", version.Version, false},
		{"containerd", "", true},
		{"runc", "unknown", true},
	} {
		err := CheckVersion(tc.component, tc.version)
		if refused := errdefs.IsFailedPrecondition(err); refused != tc.refused || err != nil && !refused {
			t.Errorf("CheckVersion(%s, %q) = %v; want refused %v", tc.component, tc.version, err, tc.refused)
		}
	}
}
