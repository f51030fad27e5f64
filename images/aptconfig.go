package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"
)

// mirrors returns the mirrors to build from.
func (s *Store) mirrors(ctx context.Context) (mirrors, error) {
	m := mirrors{Archive: s.opts.Mirror, Security: s.opts.SecurityMirror}
	if m.Archive != "" && m.Security != "" {
		return m, nil
	}
	out, err := output(ctx, "apt-get", "indextargets", "Created-By: Packages")
	if err != nil {
		return mirrors{}, fmt.Errorf("find mirrors: %w", err)
	}
	of := parseMirrors(out)
	for _, kind := range []struct {
		use                  *string
		host, standard, what string
	}{
		{&m.Archive, of.Archive, defaultArchive, "archive"},
		{&m.Security, of.Security, defaultSecurity, "security archive"},
	} {
		switch {
		case *kind.use != "":
		case kind.host != "":
			*kind.use = kind.host
		default:
			*kind.use = kind.standard
			s.opts.Log.InfoContext(ctx, "apt of this host has no mirror of Debian's "+kind.what+"; using "+kind.standard)
		}
	}
	return m, nil
}

// writeAptConfig puts the host's part of apt's configuration into a build
// directory.
func (s *Store) writeAptConfig(ctx context.Context, dir *buildDir) error {
	dump, err := output(ctx, "apt-config", "dump")
	if err != nil {
		return fmt.Errorf("read configuration of apt: %w", err)
	}
	if err := dir.write(hostConfigFile, aptConfig(dump)); err != nil {
		return fmt.Errorf("write configuration of apt: %w", err)
	}
	return nil
}

// output runs a program that only reports something.
func output(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed; images are built on Debian and its derivatives, or pulled: %w", program, errdefs.ErrFailedPrecondition)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return nil, fmt.Errorf("%s: %w", program, err)
}
