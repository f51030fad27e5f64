package images

import "testing"

func TestParseLine(t *testing.T) {
	for line, want := range map[string]string{
		"I: installing essential packages...":                    "installing essential packages",
		"I: running --customize-hook in shell: sh -c 'set -eu":   "cleaning up",
		"I: using /x/codebeaker-build-a/mmdebstrap.b as tempdir": "",
		"I: done": "",
		"Get:2 http://deb.debian.org/debian trixie-updates InRelease [47.3 kB]":                              "downloading index of trixie-updates",
		"Get:4 http://deb.debian.org/debian trixie/main amd64 Packages [9678 kB]":                            "downloading index of trixie/main",
		"Get:1 http://deb.debian.org/debian-security trixie-security/main amd64 libexpat1 amd64 2.9.0-1 [1]": "downloading libexpat1",
		"Get:1":                                "",
		"Unpacking libc6:amd64 (2.41-12) ...":  "unpacking libc6",
		"Setting up python3.13 (3.13.5-2) ...": "setting up python3.13",
		"Selecting previously unselected":      "",
		"":                                     "",
	} {
		if got, ok := parseLine(line); got != want || ok != (want != "") {
			t.Errorf("parseLine(%q) is %q, %t; want %q", line, got, ok, want)
		}
	}
}
