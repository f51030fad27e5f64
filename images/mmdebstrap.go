package images

import (
	"slices"
	"strconv"
	"strings"
)

const (
	// keyring has the keys of Debian's archives, of package
	// debian-archive-keyring.
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// hostConfigFile is the host's part of apt's configuration, in the build
	// directory and, until a language's customize script, in the new root.
	hostConfigFile = "90host"
	// baseVariable has the path of the base's root file system.
	baseVariable = "CODEBEAKER_BASE"
)

// baseArguments returns the command line, without the program, that makes the
// base's root file system and writes it as tar to standard output, with what
// installing more packages takes. It runs in the build directory.
func baseArguments(r *baseRecipe, m mirrors) []string {
	args := append(commonArguments(r.DpkgOptions),
		"--variant="+r.Variant,
		"--include="+strings.Join(r.Packages, ","),
		"--setup-hook=copy-in "+hostConfigFile+" /etc/apt/apt.conf.d/",
		"--customize-hook="+r.Customize,
	)
	return append(append(args, r.Suite, "-"), m.sources(r.Suite, keyring)...)
}

// languageArguments returns the command line that makes the recipe's root file
// system of that of its base, which is in the file that baseVariable names.
func languageArguments(r *recipe, m mirrors) []string {
	args := append(commonArguments(slices.Concat(r.Base.DpkgOptions, r.DpkgOptions)),
		"--variant=custom",
		"--skip=update",
		// Devices and options are made already, for this run.
		`--setup-hook=tar -C "$1" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' `+
			`--exclude=./etc/dpkg/dpkg.cfg.d/99mmdebstrap -xf "$`+baseVariable+`"`,
		// As mmdebstrap does it in its other variants; but what compiles while it
		// is installed gives other code where addresses are others.
		`--customize-hook=APT_CONFIG=$MMDEBSTRAP_APT_CONFIG setarch -R apt-get -o Dir::Bin::dpkg=env -o DPkg::Options::=--unset=TMPDIR `+
			`-o DPkg::Options::=dpkg -o DPkg::Chroot-Directory="$1" --yes install `+strings.Join(r.Packages, " "),
		"--customize-hook="+r.Customize,
	)
	return append(append(args, r.Base.Suite, "-"), m.sources(r.Base.Suite, keyring)...)
}

func commonArguments(dpkgOptions []string) []string {
	args := []string{
		"--verbose",
		"--mode=root",
		"--format=tar",
		// A language's customize script does it without running apt again.
		"--skip=cleanup/apt,cleanup/mmdebstrap",
	}
	for _, o := range dpkgOptions {
		args = append(args, "--dpkgopt="+o)
	}
	return args
}

// environment returns the environment of mmdebstrap. Of environ, the caller's,
// only the proxies are kept, as apt heeds them.
func environment(r *baseRecipe, dir string, environ []string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8",
		"HOME=" + dir,
		"TMPDIR=" + dir,
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.Epoch, 10),
		"PYTHONHASHSEED=0", // of the interpreters that compile packages
		"DEBIAN_FRONTEND=noninteractive",
		"DEBCONF_NONINTERACTIVE_SEEN=true",
	}
	for _, kv := range environ {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "http_proxy", "https_proxy", "no_proxy", "all_proxy":
			env = append(env, kv)
		}
	}
	return env
}
