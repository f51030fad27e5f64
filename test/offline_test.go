package test

import (
	"os"
	"strings"
	"testing"
)

// TestPackageManagersKnowThatThereIsNoNetwork has those fail of the images that
// would try again for up to a minute, from a shell.
func TestPackageManagersKnowThatThereIsNoNetwork(t *testing.T) {
	s := languages(t)
	for _, tc := range []struct{ language, line, text string }{
		{"python", "pip install requests", "No matching distribution found"},
		{"python", "python3 -m venv v; source v/bin/activate; pip install requests", "No matching distribution found"},
		{"javascript", "npm install left-pad", "ENOTCACHED"},
		{"javascript", "npx --yes cowsay", "ENOTCACHED"},
		{"go", "go mod init example; go get rsc.io/quote", "GOPROXY=off"},
		{"go", "go install rsc.io/quote@latest", "GOPROXY=off"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			b := s.session(t, object{"language": tc.language})
			if r := b.line(tc.line, nil); r.ExitCode == 0 || !strings.Contains(r.Stderr, tc.text) || strings.Contains(r.Stderr, "Retrying") {
				t.Errorf("answer is %+v", r)
			}
		})
	}
	// Those that the images do not have.
	const others = `echo "$CARGO_NET_OFFLINE $UV_OFFLINE $NUGET_ENHANCED_MAX_NETWORK_TRY_COUNT"; cat "$APT_CONFIG"`
	if r := s.session(t, nil).line(others, nil); r.Stdout != "true 1 1\nAcquire::Retries \"0\";\n" {
		t.Errorf("answer is %+v", r)
	}
	b := s.session(t, object{"env": object{"GOPROXY": "file:///workspace", "UV_OFFLINE": "0"}})
	const own = `echo "$GOPROXY $UV_OFFLINE $CARGO_NET_OFFLINE"`
	if r := b.line(own, object{"env": object{"UV_OFFLINE": "2"}}); r.Stdout != "file:///workspace 2 true\n" {
		t.Errorf("with variables of its own, answer is %+v", r)
	}
}

// TestOwnNameIsKnown looks at what a session without a network knows of itself:
// an image without /etc/hosts gets one, and one that has it another.
func TestOwnNameIsKnown(t *testing.T) {
	b := busybox(t).session(t, nil)
	r := b.sh(`cat /proc/sys/kernel/hostname /etc/hosts; echo 10.0.0.1 other >> /etc/hosts; rm -f /etc/hosts; mv /etc/hosts x; cat /etc/hosts | wc -l`)
	want := "sandbox\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tsandbox\n3\n"
	if r.Stdout != want || !strings.Contains(r.Stderr, "/etc/hosts") {
		t.Errorf("answer is %+v; want %q", r, want)
	}
}

const portsFile = "/proc/sys/net/ipv4/ip_unprivileged_port_start"

func TestPortsBelow1024AreTheSessions(t *testing.T) {
	before, err := os.ReadFile(portsFile)
	if err != nil {
		t.Fatal(err)
	}
	b := busybox(t).session(t, nil)
	if r := b.sh("cat " + portsFile + "; echo 1 > " + portsFile); r.Stdout != "0\n" || !strings.Contains(r.Stderr, portsFile) {
		t.Errorf("answer is %+v", r)
	}
	if after, err := os.ReadFile(portsFile); err != nil || string(after) != string(before) {
		t.Errorf("the host's own is %q, %v; it was %q", after, err, before)
	}
}

func TestServerOnPort80(t *testing.T) {
	b := python(t).session(t, nil)
	b.prints(b.code(`import os, socket
server = socket.create_server(("127.0.0.1", 80))
client = socket.create_connection(("localhost", 80))
server.accept()[0].sendall(b"hi")
print(client.recv(2), os.getuid())
`, nil), "b'hi' 1000\n")
}

func TestOwnNameResolves(t *testing.T) {
	s := languages(t)
	for _, tc := range []struct{ language, code string }{
		{"python", "import socket\nprint(socket.gethostbyname(socket.gethostname()), socket.getaddrinfo('localhost', None, socket.AF_INET6)[0][4][0])"},
		{"javascript", "const dns = require('dns')\ndns.lookup(require('os').hostname(), (e, a) => dns.lookup('localhost', 6, (e2, b) => console.log(a, b)))"},
		{"go", `package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	name, _ := os.Hostname()
	a, _ := net.LookupHost(name)
	b, _ := net.ResolveIPAddr("ip6", "localhost")
	fmt.Println(a[0], b)
}
`},
	} {
		t.Run(tc.language, func(t *testing.T) {
			b := s.session(t, object{"language": tc.language})
			b.prints(b.code(tc.code, nil), "127.0.1.1 ::1\n")
		})
	}
}
