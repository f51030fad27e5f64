package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// dockerRegistry is Debian's docker-registry on a port and a directory of the
// test's own.
type dockerRegistry struct {
	dir  string // of its storage
	host string // and port
	ca   string // the file of the CA; empty where it has no TLS
	http *http.Client
	base string // of its URLs
}

// newDockerRegistry starts one, with a CA of its own or without TLS, and ends it
// with the test.
func newDockerRegistry(t *testing.T, withTLS bool) *dockerRegistry {
	t.Helper()
	dir := t.TempDir()
	r := &dockerRegistry{dir: filepath.Join(dir, "storage"), http: http.DefaultClient}
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp:\n  addr: 127.0.0.1:0\n", r.dir)
	scheme := "http"
	if withTLS {
		scheme = "https"
		ca := newCA(t)
		cert, key := ca.sign(t, dir)
		r.ca = ca.file(t)
		r.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool()}}}
		config += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", cert, key)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer // of the goroutine until it ended
	listening, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		address := regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
			if m := address.FindStringSubmatch(lines.Text()); m != nil {
				listening <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("docker-registry said:\n%s", said.String())
		}
	})
	select {
	case r.host = <-listening:
	case <-ended:
		t.Fatalf("docker-registry ended:\n%s", said.String())
	case <-time.After(patience):
		t.Fatal("docker-registry does not listen")
	}
	r.base = scheme + "://" + r.host
	return r
}

// do sends a request and returns the answer's header.
func (r *dockerRegistry) do(t *testing.T, method, url, contentType string, body []byte) http.Header {
	t.Helper()
	if strings.HasPrefix(url, "/") {
		url = r.base + url
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, url, resp.Status, said, err)
	}
	return resp.Header
}

// push puts an image with one layer there, as the tag of lib/image, and returns
// the digest of its manifest.
func (r *dockerRegistry) push(t *testing.T, tag, platform string, layer []byte) string {
	t.Helper()
	b := newBlobs()
	b.add(layer)
	b.build(t, platform, layer)
	for digest, data := range b.by {
		if digest == b.manifest {
			continue
		}
		upload := r.do(t, http.MethodPost, "/v2/lib/image/blobs/uploads/", "", nil).Get("Location")
		r.do(t, http.MethodPut, upload+"&digest="+digest, "application/octet-stream", data)
	}
	r.do(t, http.MethodPut, "/v2/lib/image/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", b.by[b.manifest])
	return b.manifest
}

// damage changes a byte of a blob in the registry's storage.
func (r *dockerRegistry) damage(t *testing.T, digest string) {
	t.Helper()
	hex := strings.TrimPrefix(digest, "sha256:")
	path := filepath.Join(r.dir, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// authority is a CA of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CodeBeaker's tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// file writes the CA's certificate.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	return writePEM(t, filepath.Join(t.TempDir(), "ca.pem"), "CERTIFICATE", a.cert.Raw)
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// sign writes a certificate for 127.0.0.1 and its key.
func (a *authority) sign(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der), writePEM(t, filepath.Join(dir, "key.pem"), "EC PRIVATE KEY", keyDER)
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// breakingProxy leads to a server and breaks its connections.
type breakingProxy struct {
	host string
	// after is how many bytes of answers a connection carries before it breaks.
	after int64
	// breaks is how many connections broke.
	breaks atomic.Int64
	// down says that new connections end at once.
	down atomic.Bool
	// downAfterBreak has the first break take it down.
	downAfterBreak atomic.Bool
}

func newBreakingProxy(t *testing.T, target string, after int64) *breakingProxy {
	t.Helper()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &breakingProxy{host: listener.Addr().String(), after: after}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			running.Go(func() { p.serve(t.Context(), client, target) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return p
}

func (p *breakingProxy) serve(ctx context.Context, client net.Conn, target string) {
	defer client.Close()
	if p.down.Load() {
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	// Neither end closes a connection that idles.
	defer context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client) // until either end closes
		server.Close()
	})
	if n, _ := io.CopyN(client, server, p.after); n == p.after {
		p.breaks.Add(1)
		if p.downAfterBreak.Load() {
			p.down.Store(true)
		}
	}
	client.Close()
	server.Close()
	both.Wait()
}
