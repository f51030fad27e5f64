package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
)

// Registry says how a registry is reached that is not reached in the usual way.
// Where there is one for a registry, its certificate is always checked, or TLS
// is not used at all; without one, a registry on this host's loopback may do
// either, and any certificate will do, as with other programs that pull.
type Registry struct {
	// CA is the path of a file of certificates in PEM that may have signed the
	// registry's, beside those that the host trusts. It may be empty.
	CA string
	// PlainHTTP says that the registry has no TLS.
	PlainHTTP bool
}

// registryHosts returns where the registries' own names lead.
func (s *Store) registryHosts(ctx context.Context) docker.RegistryHosts {
	return func(host string) ([]docker.RegistryHost, error) {
		opts := config.HostOptions{}
		if s.opts.HostsDir != "" {
			opts.HostDir = config.HostDirFromRoot(s.opts.HostsDir)
		}
		if r, ok := s.opts.Registries[host]; ok {
			opts.DefaultScheme = "https"
			if r.PlainHTTP {
				opts.DefaultScheme = "http"
			}
			if r.CA != "" {
				pool, err := certificates(r.CA)
				if err != nil {
					return nil, fmt.Errorf("read the certificates for %s: %w", host, err)
				}
				opts.DefaultTLS = &tls.Config{RootCAs: pool}
			}
		}
		return config.ConfigureHosts(ctx, opts)(host)
	}
}

// certificates returns those that the host trusts and those of a file.
func certificates(path string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM: %w", path, errdefs.ErrFailedPrecondition)
	}
	return pool, nil
}
