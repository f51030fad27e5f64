package images

import (
	"encoding/json"

	digest "github.com/opencontainers/go-digest"
)

const (
	// sandboxID is the uid and gid of the user that programs run as.
	sandboxID = "1000"
	// workspace is where programs start.
	workspace = "/workspace"
	// home is outside of the workspace, so that what package managers keep
	// there does not stand between a program's own files.
	home = "/home/sandbox"
)

// baseRecipe says how to make the root file system that images of several
// languages start from, and their first layer.
type baseRecipe struct {
	// Format changes where the same recipe makes another image because this
	// package treats it otherwise (mmdebstrap.go, layer.go, manifest.go).
	Format int
	// Epoch is the time of all that the image holds, in seconds since 1970.
	// What is newer is set back to it.
	Epoch int64
	// Suite is the Debian release.
	Suite string
	// Variant is the package set of mmdebstrap that Packages are added to.
	Variant string
	// Packages are installed without those that they only recommend.
	Packages []string
	// DpkgOptions hold while packages are installed, those of a language, too.
	DpkgOptions []string
	// Customize is a shell script for after that; $1 is the new root.
	Customize string
	// Private are files, and directories with a slash at the end for what is in
	// them, that are needed to install more packages, or differ between hosts
	// or builds, and so are no part of the layer.
	Private []string
}

// recipe says how to make an image. All of it but the state of the mirror
// decides what the image holds, and so all of it goes into digest.
type recipe struct {
	Base baseRecipe
	// Packages are installed in the base, without those that they only
	// recommend.
	Packages []string
	// VersionOf is the package whose version is the language's.
	VersionOf string
	// DpkgOptions hold while packages are installed, beside the base's.
	DpkgOptions []string
	// Customize is a shell script for after that; $1 is the new root.
	Customize string
	// Env is the environment of programs.
	Env []string
	// Caches are directories, named from the root without a leading slash,
	// whose files are dated cacheTime.
	Caches []string
}

// cacheTime is the time of a cache's files, 2038-01-01 in seconds since 1970: a
// toolchain that judges them by their age finds them young. Any file system
// holds it.
const cacheTime = 2145916800

// digest identifies the recipe.
func (r *recipe) digest() digest.Digest {
	// encoding/json writes the fields in the order of the struct.
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers do not fail to encode
	}
	return digest.FromBytes(b)
}

// debianBase is what the images of all languages start from.
func debianBase() baseRecipe {
	return baseRecipe{
		Format:  3,
		Epoch:   1754697600, // 2025-08-09, the release of Debian 13
		Suite:   "trixie",
		Variant: "essential",
		// ca-certificates for TLS, netbase and tzdata for what programs look
		// up by name, procps for ps: the rest of "essential" is a shell and
		// the usual tools. apt is not there; only root could use it.
		Packages: []string{"ca-certificates", "netbase", "procps", "tzdata"},
		DpkgOptions: []string{
			"force-unsafe-io", // a tree that is thrown away needs no fsync
			"path-exclude=/usr/share/doc/*",
			"path-include=/usr/share/doc/*/copyright",
			"path-exclude=/usr/share/info/*",
			"path-exclude=/usr/share/lintian/*",
			"path-exclude=/usr/share/locale/*",
			"path-include=/usr/share/locale/locale.alias",
			"path-exclude=/usr/share/man/*",
		},
		Customize: customizeUser,
		Private: []string{
			"etc/apt/", "var/lib/apt/", "var/cache/", "var/log/", "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
			"etc/resolv.conf", "etc/hostname", "etc/hosts", "etc/machine-id",
		},
	}
}

// debian is what the recipes of all languages have in common.
func debian(versionOf string, packages ...string) *recipe {
	return &recipe{
		Base:      debianBase(),
		Packages:  packages,
		VersionOf: versionOf,
		Customize: customizeClean,
		Env: []string{
			"PATH=" + home + "/.local/bin:/usr/local/bin:/usr/bin:/bin",
			"HOME=" + home,
			"USER=sandbox",
			"LANG=C.UTF-8",
		},
	}
}

// customizeUser makes the user that programs run as and its directories.
const customizeUser = `set -eu
root=$1
printf 'sandbox:x:` + sandboxID + `:` + sandboxID + `:sandbox:` + home + `:/bin/bash\n' >>"$root/etc/passwd"
printf 'sandbox:x:` + sandboxID + `:\n' >>"$root/etc/group"
install -d -o ` + sandboxID + ` -g ` + sandboxID + ` -m 0755 "$root` + workspace + `" "$root` + home + `"
`

// customizeClean removes what differs between hosts or between two builds, or
// is of no use without apt. Sessions may mount over resolv.conf, hostname and
// hosts, so they have to be files.
const customizeClean = `set -eu
root=$1
rm -rf "$root/etc/apt" "$root/var/lib/apt" "$root/var/cache/apt"
rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
rm -f "$root/etc/passwd-" "$root/etc/group-" "$root/etc/shadow-" "$root/etc/gshadow-"
rm -f "$root"/var/lib/dpkg/*-old "$root"/var/cache/debconf/*
find "$root/var/log" -type f -delete
rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/hosts" "$root/etc/machine-id"
: >"$root/etc/resolv.conf"
: >"$root/etc/hostname"
: >"$root/etc/machine-id"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"
`
