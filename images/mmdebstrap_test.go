package images

import (
	"slices"
	"testing"
)

func TestArguments(t *testing.T) {
	r := &recipe{
		Suite: "trixie", Variant: "essential", Packages: []string{"a", "b"},
		DpkgOptions: []string{"force-unsafe-io", "path-exclude=/x/*"}, Customize: "true",
	}
	got := arguments(r, mirrors{"http://a/debian", "http://s/debian-security"})
	const signed = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
	want := []string{
		"--verbose", "--mode=root", "--format=tar", "--variant=essential", "--include=a,b",
		"--skip=cleanup/apt,cleanup/mmdebstrap",
		"--setup-hook=copy-in 90host /etc/apt/apt.conf.d/",
		"--customize-hook=true",
		"--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/x/*",
		"trixie", "-",
		signed + "http://a/debian trixie main",
		signed + "http://a/debian trixie-updates main",
		signed + "http://s/debian-security trixie-security main",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestEnvironmentKeepsNothingButProxies(t *testing.T) {
	got := environment(&recipe{Epoch: 5}, "/b", []string{
		"SECRET=1", "LD_PRELOAD=/x.so", "SOURCE_DATE_EPOCH=9", "http_proxy=http://p", "no_proxy=a,b", "http_proxy_x=1",
	})
	want := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8", "HOME=/b", "TMPDIR=/b", "SOURCE_DATE_EPOCH=5", "PYTHONHASHSEED=0",
		"http_proxy=http://p", "no_proxy=a,b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}
