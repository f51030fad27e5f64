package engine

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/mod/semver"
)

// escape is a range of versions, from included to fixed excluded, that let a
// container out.
type escape struct{ from, fixed string }

// escapes lists, by component, the versions with known container escapes.
func escapes(component string) []escape {
	switch component {
	case "runc":
		return []escape{{"v0.0.0", "v1.3.6"}, {"v1.4.0-0", "v1.4.3"}}
	case "containerd":
		return []escape{{"v0.0.0", "v2.2.5"}, {"v2.3.0-0", "v2.3.2"}}
	default:
		return nil
	}
}

// CheckVersion refuses a version of runc or containerd that has a known
// container escape, and one that cannot be read.
func CheckVersion(component, version string) error {
	v := "v" + strings.TrimPrefix(version, "v")
	if !semver.IsValid(v) {
		return fmt.Errorf("check %s: version %q is no version: %w", component, version, errdefs.ErrFailedPrecondition)
	}
	for _, e := range escapes(component) {
		if semver.Compare(v, e.from) >= 0 && semver.Compare(v, e.fixed) < 0 {
			return fmt.Errorf("check %s: version %s has known container escapes: install %s or later: %w",
				component, version, strings.TrimPrefix(e.fixed, "v"), errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}
