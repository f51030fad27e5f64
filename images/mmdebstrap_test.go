package images

import (
	"slices"
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	r := &recipe{
		Base: baseRecipe{
			Suite: "trixie", Variant: "essential", Packages: []string{"a", "b"},
			DpkgOptions: []string{"force-unsafe-io", "path-exclude=/x/*"}, Customize: "true",
		},
		Packages: []string{"c", "d"}, DpkgOptions: []string{"path-exclude=/y/*"}, Customize: "false",
	}
	m := mirrors{"http://a/debian", "http://s/debian-security"}
	const signed = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
	sources := []string{
		signed + "http://a/debian trixie main",
		signed + "http://a/debian trixie-updates main",
		signed + "http://s/debian-security trixie-security main",
	}
	common := []string{
		"--verbose", "--mode=root", "--format=tar", "--skip=cleanup/apt,cleanup/mmdebstrap",
		"--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/x/*",
	}
	want := slices.Concat(common, []string{
		"--variant=essential", "--include=a,b",
		"--setup-hook=copy-in 90host /etc/apt/apt.conf.d/",
		"--customize-hook=true",
		"trixie", "-",
	}, sources)
	if got := baseArguments(&r.Base, m); !slices.Equal(got, want) {
		t.Errorf("base: got %q; want %q", got, want)
	}
	got := languageArguments(r, m)
	want = slices.Concat(common, []string{"--dpkgopt=path-exclude=/y/*", "--variant=custom", "--skip=update"})
	if !slices.Equal(got[:len(want)], want) {
		t.Errorf("language: got %q; want %q first", got, want)
	}
	want = slices.Concat([]string{"--customize-hook=false", "trixie", "-"}, sources)
	if !slices.Equal(got[len(got)-len(want):], want) {
		t.Errorf("language: got %q; want %q last", got, want)
	}
	if install := got[len(got)-len(want)-1]; !strings.HasSuffix(install, " --yes install c d") {
		t.Errorf("language: packages are installed by %q", install)
	}
}

func TestEnvironmentKeepsNothingButProxies(t *testing.T) {
	got := environment(&baseRecipe{Epoch: 5}, "/b", []string{
		"SECRET=1", "LD_PRELOAD=/x.so", "SOURCE_DATE_EPOCH=9", "http_proxy=http://p", "no_proxy=a,b", "http_proxy_x=1",
	})
	want := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8", "HOME=/b", "TMPDIR=/b", "SOURCE_DATE_EPOCH=5", "PYTHONHASHSEED=0",
		"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true",
		"http_proxy=http://p", "no_proxy=a,b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}
