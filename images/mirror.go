package images

import (
	"bufio"
	"bytes"
	"net/url"
	"path"
	"strings"
)

const (
	defaultArchive  = "http://deb.debian.org/debian"
	defaultSecurity = "http://deb.debian.org/debian-security"
)

// mirrors are where packages come from.
type mirrors struct {
	// Archive has Debian's releases and their updates.
	Archive string
	// Security has Debian's security updates.
	Security string
}

// sources returns lines for apt's sources.list, which trust the keys of the
// file keyring and no others.
func (m mirrors) sources(suite, keyring string) []string {
	prefix := "deb [signed-by=" + keyring + "] "
	return []string{
		prefix + m.Archive + " " + suite + " main",
		prefix + m.Archive + " " + suite + "-updates main",
		prefix + m.Security + " " + suite + "-security main",
	}
}

// parseMirrors reads the output of "apt-get indextargets" and returns the
// first mirror of each of Debian's archives, empty where there is none. apt
// prints the same for deb822 and one-line sources. Other distributions and
// third parties are ignored, and so are mirrors that a build cannot use.
func parseMirrors(targets []byte) mirrors {
	var m mirrors
	for stanza := range bytes.SplitSeq(targets, []byte("\n\n")) {
		f := fields(stanza)
		uri := strings.TrimSuffix(f["Repo-URI"], "/")
		if !usable(uri) {
			continue
		}
		switch archiveOf(f, uri) {
		case "Debian":
			if m.Archive == "" {
				m.Archive = uri
			}
		case "Debian-Security":
			if m.Security == "" {
				m.Security = uri
			}
		}
	}
	return m
}

// archiveOf returns the label of the archive that an index belongs to.
func archiveOf(f map[string]string, uri string) string {
	if f["Origin"] != "" {
		if f["Origin"] != "Debian" {
			return ""
		}
		return f["Label"]
	}
	// apt knows origin and label only from an index that it has downloaded.
	// Without one, the usual layout of mirrors has to do.
	switch strings.TrimSuffix(path.Base(uri), ".list") {
	case "debian":
		return "Debian"
	case "debian-security", "security.debian.org":
		return "Debian-Security"
	}
	return ""
}

// usable says whether a mirror can serve a build. A directory of the host
// would have to be mounted into the new root, and archive.debian.org has only
// old releases.
func usable(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Host != "archive.debian.org"
	case "mirror+file", "mirror+http", "mirror+https":
		return true
	}
	return false
}

// fields reads the lines "Key: value" of a stanza.
func fields(stanza []byte) map[string]string {
	f := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(stanza))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok {
			f[key] = strings.TrimSpace(value)
		}
	}
	return f
}

// reachesMirror says whether a line of apt's configuration is about how to
// reach a mirror. The rest is about how the host installs packages.
func reachesMirror(line string) bool {
	for _, prefix := range []string{
		"Acquire::http::",
		"Acquire::https::",
		"Acquire::Check-Date ",
		"Acquire::Check-Valid-Until ",
		"Acquire::ForceIPv4 ",
		"Acquire::ForceIPv6 ",
		"Acquire::Max-ValidTime",
		"Acquire::Retries ",
	} {
		if len(line) >= len(prefix) && strings.EqualFold(line[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// aptConfig makes a build's apt configuration from the output of "apt-config
// dump" on the host: its proxies and its like, and its passwords by reference.
// mmdebstrap's apt reads no configuration of the host by itself.
func aptConfig(dump []byte) []byte {
	var out bytes.Buffer
	out.WriteString("Dir::Etc::netrc \"/etc/apt/auth.conf\";\n")
	out.WriteString("Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n")
	lines := bufio.NewScanner(bytes.NewReader(dump))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasSuffix(line, ` "";`) {
			continue
		}
		if reachesMirror(line) {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}
