package images

import (
	"strconv"
	"strings"
)

const (
	// keyring has the keys of Debian's archives, of package
	// debian-archive-keyring.
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// hostConfigFile is the host's part of apt's configuration, in the build
	// directory and, until the customize script, in the new root.
	hostConfigFile = "90host"
)

// arguments returns the command line, without the program, that makes the
// recipe's root file system and writes it as tar to standard output. It runs
// in the build directory.
func arguments(r *recipe, m mirrors) []string {
	args := []string{
		"--verbose",
		"--mode=root",
		"--format=tar",
		"--variant=" + r.Variant,
		"--include=" + strings.Join(r.Packages, ","),
		// The customize script does it without running apt again.
		"--skip=cleanup/apt,cleanup/mmdebstrap",
		"--setup-hook=copy-in " + hostConfigFile + " /etc/apt/apt.conf.d/",
		"--customize-hook=" + r.Customize,
	}
	for _, o := range r.DpkgOptions {
		args = append(args, "--dpkgopt="+o)
	}
	args = append(args, r.Suite, "-")
	return append(args, m.sources(r.Suite, keyring)...)
}

// environment returns the environment of mmdebstrap. Of environ, the caller's,
// only the proxies are kept, as apt heeds them.
func environment(r *recipe, dir string, environ []string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8",
		"HOME=" + dir,
		"TMPDIR=" + dir,
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.Epoch, 10),
		"PYTHONHASHSEED=0", // of the interpreters that compile packages
	}
	for _, kv := range environ {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "http_proxy", "https_proxy", "no_proxy", "all_proxy":
			env = append(env, kv)
		}
	}
	return env
}
