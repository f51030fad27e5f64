package images

// javascript is Node.js with npm.
func javascript() Language {
	return Language{
		Name: "javascript", Aliases: []string{"js", "node", "nodejs"}, versionEnv: "NODE_VERSION", recipe: javascriptRecipe(),
		Program: Program{
			File:        ".main-*.js",
			Run:         []string{"node", "{file}"},
			Install:     append(npmInstall(), "--"),
			InstallFile: []string{"/bin/sh", "-c", npmInstallFile, "install", "{file}"},
			Offline:     []string{"npm_config_offline=true"},
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
