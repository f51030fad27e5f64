package main

import (
	"fmt"
	"io"
	"runtime/debug"
)

// printVersions prints our version and those of the modules that make a
// sandbox, as they were built in.
func printVersions(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "codebeaker %s\n", version); err != nil {
		return err
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	shown := map[string]string{
		"github.com/containerd/containerd/v2":    "containerd",
		"github.com/opencontainers/runtime-spec": "runtime-spec",
	}
	for _, m := range info.Deps {
		if name, ok := shown[m.Path]; ok {
			if _, err := fmt.Fprintf(w, "%s %s\n", name, m.Version); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintln(w, info.GoVersion)
	return err
}
