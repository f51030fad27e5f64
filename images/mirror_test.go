package images

import (
	"slices"
	"strings"
	"testing"
)

// stanza is one index of "apt-get indextargets", which has many more fields.
func stanza(kv ...string) string {
	b := &strings.Builder{}
	b.WriteString("MetaKey: main/binary-amd64/Packages\n")
	for i := 0; i < len(kv); i += 2 {
		b.WriteString(kv[i] + ": " + kv[i+1] + "\n")
	}
	return b.String() + "Target-Of: deb\n"
}

func debianIndex(uri, release string) string {
	return stanza("Label", "Debian", "Origin", "Debian", "Release", release, "Repo-URI", uri)
}

func securityIndex(uri string) string {
	return stanza("Label", "Debian-Security", "Origin", "Debian", "Release", "bookworm-security", "Repo-URI", uri)
}

func TestParseMirrors(t *testing.T) {
	for _, tc := range []struct {
		name    string
		targets []string
		want    mirrors
	}{
		{
			name: "deb822 sources",
			targets: []string{
				debianIndex("http://deb.debian.org/debian/", "bookworm") + "Sourcesentry: /etc/apt/sources.list.d/debian.sources:1\n",
				debianIndex("http://deb.debian.org/debian/", "bookworm-updates"),
				securityIndex("http://deb.debian.org/debian-security/"),
			},
			want: mirrors{"http://deb.debian.org/debian", "http://deb.debian.org/debian-security"},
		},
		{
			name: "one-line sources",
			targets: []string{
				debianIndex("https://mirror.example.org/debian/", "trixie") + "Sourcesentry: /etc/apt/sources.list:1\n",
				securityIndex("http://security.debian.org/debian-security/"),
			},
			want: mirrors{"https://mirror.example.org/debian", "http://security.debian.org/debian-security"},
		},
		{
			name: "the first of several mirrors",
			targets: []string{
				debianIndex("http://one.example.org/debian/", "bookworm"),
				debianIndex("http://two.example.org/debian/", "bookworm"),
				securityIndex("http://one.example.org/debian-security/"),
				securityIndex("http://two.example.org/debian-security/"),
			},
			want: mirrors{"http://one.example.org/debian", "http://one.example.org/debian-security"},
		},
		{
			name: "third parties",
			targets: []string{
				stanza("Label", ". nodistro", "Origin", ". nodistro", "Repo-URI", "https://deb.nodesource.com/node_20.x/"),
				stanza("Label", "Docker CE", "Origin", "Docker", "Repo-URI", "https://download.docker.com/linux/debian/"),
				stanza("Label", "Debian Backports", "Origin", "Debian Backports", "Repo-URI", "http://b.example.org/debian/"),
				debianIndex("http://deb.debian.org/debian/", "bookworm"),
			},
			want: mirrors{Archive: "http://deb.debian.org/debian"},
		},
		{
			name:    "another distribution",
			targets: []string{stanza("Label", "Ubuntu", "Origin", "Ubuntu", "Repo-URI", "http://archive.ubuntu.com/ubuntu/")},
		},
		{
			name: "indexes that were never downloaded",
			targets: []string{
				stanza("Release", "bookworm", "Repo-URI", "http://deb.debian.org/debian/"),
				stanza("Release", "bookworm-security", "Repo-URI", "http://deb.debian.org/debian-security/"),
				stanza("Release", "noble", "Repo-URI", "http://archive.ubuntu.com/ubuntu/"),
			},
			want: mirrors{"http://deb.debian.org/debian", "http://deb.debian.org/debian-security"},
		},
		{
			name: "lists of mirrors, as in cloud images",
			targets: []string{
				stanza("Repo-URI", "mirror+file:/etc/apt/mirrors/debian.list/"),
				stanza("Repo-URI", "mirror+file:/etc/apt/mirrors/debian-security.list/"),
			},
			want: mirrors{"mirror+file:/etc/apt/mirrors/debian.list", "mirror+file:/etc/apt/mirrors/debian-security.list"},
		},
		{
			name: "mirrors that a build cannot use",
			targets: []string{
				debianIndex("file:/srv/debian/", "bookworm"),
				debianIndex("cdrom://[Debian]/", "bookworm"),
				debianIndex("http://archive.debian.org/debian/", "buster"),
			},
		},
		{name: "no sources"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := parseMirrors([]byte(strings.Join(tc.targets, "\n"))); got != tc.want {
				t.Errorf("got %+v; want %+v", got, tc.want)
			}
		})
	}
}

func TestSourcesTrustOnlyTheKeyring(t *testing.T) {
	got := mirrors{"http://a/debian", "http://s/debian-security"}.sources("trixie", "/k.gpg")
	want := []string{
		"deb [signed-by=/k.gpg] http://a/debian trixie main",
		"deb [signed-by=/k.gpg] http://a/debian trixie-updates main",
		"deb [signed-by=/k.gpg] http://s/debian-security trixie-security main",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestAptConfigKeepsWhatReachesAMirror(t *testing.T) {
	got := string(aptConfig([]byte(`APT "";
APT::Install-Recommends "1";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb || true";
Dir::Cache "var/cache/apt";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://127.0.0.1:3142";
Acquire::HTTP::Proxy::deb.example.org "DIRECT";
Acquire::https::CaInfo "/etc/ssl/private-ca.pem";
Acquire::http::Proxy-Auto-Detect "/usr/local/bin/find-proxy";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::AllowInsecureRepositories "1";
`)))
	want := `Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Acquire::http::Proxy "http://127.0.0.1:3142";
Acquire::HTTP::Proxy::deb.example.org "DIRECT";
Acquire::https::CaInfo "/etc/ssl/private-ca.pem";
Acquire::http::Proxy-Auto-Detect "/usr/local/bin/find-proxy";
Acquire::Check-Valid-Until "false";
`
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
