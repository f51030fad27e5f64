package images

// offline are the variables, "NAME=value", that tell package managers that there
// is no network. They then fail at once for what would have to be downloaded,
// where npm would try for 71 seconds and pip for 8, and install what the session
// has, such as a directory or an archive of a package.
func offline() []string {
	return []string{
		"npm_config_offline=true",
		// No index, and so no packages to build a source tree with but those that
		// are there. pip takes the second for what it would be without "NO".
		"PIP_NO_INDEX=1", "PIP_NO_BUILD_ISOLATION=0",
		"UV_OFFLINE=1",
		"GOPROXY=off",
		"CARGO_NET_OFFLINE=true",
		"NUGET_ENHANCED_MAX_NETWORK_TRY_COUNT=1",
		csharpOffline + "=1",
	}
}

// Offline returns the variables, "NAME=value", that programs have where there is
// no network: those of the usual package managers and of each language.
func (c *Catalogue) Offline() []string {
	all := offline()
	for _, l := range c.languages {
		all = append(all, l.Program.Offline...)
	}
	return all
}
