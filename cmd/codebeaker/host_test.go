package main

import (
	"os"
	"path/filepath"
	"testing"

	"codebeaker/runtime/shim"
)

func TestAgentStartsProgramsUnlessConfiguredOtherwise(t *testing.T) {
	runc := filepath.Join(t.TempDir(), "runc")
	if err := os.WriteFile(runc, []byte("#!/bin/sh\necho runc version 1.5.2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		runtime, shim string
		agent         bool
	}{
		{"", self, true},
		{shim.Name, self, true},
		{shim.StockName, self, false},
		{"io.containerd.runsc.v1", "io.containerd.runsc.v1", false},
	} {
		got, err := findShim(t.Context(), &config{Runtime: tc.runtime, Runc: runc, State: t.TempDir(), SessionsPerShim: 16})
		if err != nil || got.Name != tc.shim || got.Agent != tc.agent {
			t.Errorf("runtime %q is shim %q, with an agent %v, %v", tc.runtime, got.Name, got.Agent, err)
		}
	}
}
