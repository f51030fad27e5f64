package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// hostname is the name of every container for itself.
	hostname = "sandbox"
	// AptOffline is a configuration of apt in every container, for $APT_CONFIG,
	// with which apt does not try again what it cannot reach.
	AptOffline = "/.codebeaker/apt.conf"
)

// etcFile is a file of ours that every container has, in the place of what its
// image has there.
type etcFile struct{ name, path, content string }

func etcFiles() []etcFile {
	return []etcFile{
		{"hosts", "/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + hostname + "\n"},
		{"apt.conf", AptOffline, "Acquire::Retries \"0\";\n"},
	}
}

// writeEtc writes the files to a directory of the host's, from which containers
// have them. Those that run keep the ones that they were started with.
func writeEtc(dir string) error {
	for _, f := range etcFiles() {
		if err := replaceFile(filepath.Join(dir, f.name), f.content); err != nil {
			return fmt.Errorf("write the containers' %s: %w", f.path, err)
		}
	}
	return nil
}

// replaceFile puts a file that all may read where another one may be.
func replaceFile(path, content string) (retErr error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".etc-*")
	if err != nil {
		return err
	}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// etcMounts has a container see the files that are in a directory of the host's.
func etcMounts(dir string) []specs.Mount {
	var mounts []specs.Mount
	for _, f := range etcFiles() {
		mounts = append(mounts, specs.Mount{
			Destination: f.path, Type: "bind", Source: filepath.Join(dir, f.name), Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	return mounts
}
