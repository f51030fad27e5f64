package images

import (
	"strconv"
	"strings"
)

// goCache is where go looks for what it compiled before.
const goCache = "home/sandbox/.cache/go-build"

// golang is Go without cgo, which would need a C compiler, with the standard
// library compiled.
func golang() Language {
	return Language{
		Name: "go", Aliases: []string{"golang"}, versionEnv: "GOLANG_VERSION", recipe: golangRecipe(),
		Program: Program{
			// Of a system that Go has given up, so that no package has it, such as
			// the workspace's; go builds what it is given by name all the same. A
			// name with a dot in front it would ignore.
			File: "main-*_nacl.go",
			// As go run does it, without what only a debugger needs; but go run
			// would exit with 1 whatever the program exits with.
			Compile: []string{"go", "build", "-buildvcs=false", "-gcflags=-dwarf=false", "-ldflags=-s -w", "-o", "{base}.out", "{file}"},
			Made:    []string{"{base}.out"},
			Run:     []string{"{base}.out"},
			Install: []string{"/bin/sh", "-c", goInstall, "install"},
		},
	}
}

// goInstall adds modules to the workspace's, which it makes where there is
// none. A directory is a module of the workspace's own.
const goInstall = `set -eu
[ -e go.mod ] || go mod init workspace 2>/dev/null
for package; do
	case $package in
	/* | ./* | ../*)
		module=$(cd "$package" && go list -m)
		go mod edit -replace "$module=$package"
		go get "$module"
		;;
	*) go get "$package" ;;
	esac
done
`

func golangRecipe() *recipe {
	// The first names the version; the second has the links in /usr/bin.
	r := debian("golang-1.24-go", "golang-1.24-go", "golang-go")
	r.DpkgOptions = append(r.DpkgOptions,
		// What only those who work on Go itself need.
		"path-exclude=/usr/share/go-*/api/*",
		"path-exclude=/usr/share/go-*/misc/*",
		"path-exclude=/usr/share/go-*/src/cmd/*",
		"path-exclude=/usr/share/go-*/src/*_test.go",
		"path-exclude=/usr/share/go-*/src/*/testdata/*",
		"path-exclude=/usr/share/go-*/test/*",
		// The race detector needs cgo.
		"path-exclude=*/race_*.syso",
	)
	r.Env = append(r.Env,
		"CGO_ENABLED=0",
		"GOTOOLCHAIN=local", // go.mod may ask for another, which nobody can download
	)
	r.Env[0] = strings.Replace(r.Env[0], "=", "="+home+"/go/bin:", 1)
	r.Caches = []string{goCache}
	r.Customize += customizeGo(r)
	return r
}

// customizeGo compiles the standard library as the sandbox's user, so that a
// program's compilation is all that is left for sessions to do.
//
// go dates and trims entries by the time of their files (cmd/go/internal/cache:
// used, Trim), which Caches keeps it from, as either would copy them up into a
// session's layer. Their directories cannot be listed, because the first go
// command of each session would look at all entries for one to trim, which took
// 33 ms of 260. Entries hold the time at which they were made, and those of go's
// index of packages have the times of sources in their key, so both are made
// what they are in the image.
func customizeGo(r *recipe) string {
	epoch := strconv.FormatInt(r.Base.Epoch, 10)
	return `find "$root"/usr/share/go-* -newermt @` + epoch + ` -exec touch -h -d @` + epoch + ` {} +
install -d -o ` + sandboxID + ` -g ` + sandboxID + ` "$root` + home + `/.config/go/telemetry"
printf off >"$root` + home + `/.config/go/telemetry/mode"
chown -R ` + sandboxID + `:` + sandboxID + ` "$root` + home + `/.config"
chroot --userspec=` + sandboxID + `:` + sandboxID + ` "$root" env -i ` + strings.Join(r.Env, " ") + ` sh -c 'cd ` + workspace + ` && go build std'
cache=$root/` + goCache + `
rm -f "$cache/trim.txt"
find "$cache" -name '*-a' -exec sed -i -E 's/ +[0-9]+$/  ` + epoch + `000000000/' {} +
chmod 0300 "$cache"/??
`
}
