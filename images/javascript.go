package images

// javascript is Node.js with npm.
//
// It has no zygote, as V8 has threads, which a fork loses. What there is instead
// was measured with Debian's Node.js 20.19 (processor time of a console.log, p50
// of 60 in turns, on a busy machine): 111 ms, and 71 ms with a startup snapshot
// of an empty script (--snapshot-blob); --max-lazy, --jitless, --no-opt,
// --single-threaded and --v8-pool-size=0 change nothing, and the compile cache
// came with Node.js 22. The snapshot is not used, since Node.js refuses to run
// at all with one of another build or under other options of V8, such as
// NODE_OPTIONS=--max-old-space-size or those that a program gives its children,
// who inherit it; and since two builds of it differ, while images are built
// reproducibly.
func javascript() Language {
	return Language{
		Name: "javascript", Aliases: []string{"js", "node", "nodejs"}, versionEnv: "NODE_VERSION", recipe: javascriptRecipe(),
		Program: Program{
			File:        ".main-*.js",
			Run:         []string{"node", "{file}"},
			Install:     append(npmInstall(), "--"),
			InstallFile: []string{"/bin/sh", "-c", npmInstallFile, "install", "{file}"},
		},
	}
}

// npmInstall installs into node_modules of the directory that it runs in.
func npmInstall() []string {
	return []string{"npm", "install", "--no-audit", "--no-fund", "--no-progress", "--no-update-notifier", "--loglevel=error", "--logs-max=0"}
}

// npmInstallFile installs what a package.json lists. npm installs from the one
// in the directory that it runs in, so another one becomes that.
const npmInstallFile = `set -eu
[ "$1" -ef package.json ] || cp -- "$1" package.json
exec npm install --no-audit --no-fund --no-progress --no-update-notifier --loglevel=error --logs-max=0
`

func javascriptRecipe() *recipe {
	r := debian("nodejs", "nodejs", "npm")
	r.DpkgOptions = append(r.DpkgOptions,
		// npm's packages bring what compiles modules in C++, but no compiler.
		"path-exclude=/usr/include/*",
		"path-exclude=/usr/lib/*.a",
	)
	r.Env = append(r.Env,
		// For npm install --global, whose programs are then in PATH.
		"npm_config_prefix="+home+"/.local",
		"npm_config_update_notifier=false",
	)
	return r
}
