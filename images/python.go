package images

// python has pip, venv and setuptools beside the interpreter: without a network
// a source tree is built with what is there.
func python() Language {
	return Language{
		Name: "python", Aliases: []string{"py"}, versionEnv: "PYTHON_VERSION", recipe: pythonRecipe(),
		Program: Program{
			File:        ".main-*.py",
			Run:         []string{"python3", "{file}"},
			Install:     append(pipInstall(), "--"),
			InstallFile: append(pipInstall(), "--requirement={file}"),
		},
	}
}

// pipInstall installs for the user, where python3 looks by itself.
func pipInstall() []string {
	return []string{
		"python3", "-m", "pip", "install", "--quiet", "--user", "--no-input",
		"--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore",
	}
}

func pythonRecipe() *recipe {
	r := debian("python3", "python3", "python3-pip", "python3-setuptools", "python3-venv")
	// Debian's pip refuses to install beside Debian's packages. In a sandbox
	// nobody else uses them, so it may.
	r.DpkgOptions = append(r.DpkgOptions, "path-exclude=/usr/lib/python3*/EXTERNALLY-MANAGED")
	r.Customize += `ln -s python3 "$root/usr/bin/python"` + "\n"
	r.Env = append(r.Env,
		// What a program prints is sent as it is printed.
		"PYTHONUNBUFFERED=1",
		"PIP_DISABLE_PIP_VERSION_CHECK=1",
	)
	return r
}
