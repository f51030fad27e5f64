package compare

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// floor runs programs on the image's tree without a container that lasts: by
// fork and exec alone, or by bubblewrap. There is nothing that a client speaks
// to.
type floor struct {
	rootfs string
	env    []string
	bwrap  string // the program, empty for fork and exec
}

func (f *floor) Create(context.Context) (Sandbox, error) { return floorSandbox{f}, nil }

func (f *floor) Daemons() []int { return nil }

func (f *floor) Close(context.Context) error { return nil }

type floorSandbox struct{ floor *floor }

func (b floorSandbox) Run(ctx context.Context, args ...string) (string, error) {
	return b.run(ctx, nil, args)
}

func (b floorSandbox) run(ctx context.Context, stdin io.Reader, args []string) (string, error) {
	var cmd *exec.Cmd
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	if b.floor.bwrap != "" {
		options := []string{
			"--bind", b.floor.rootfs, "/", "--proc", "/proc", "--dev", "/dev", "--chdir", workspace,
			"--unshare-all", "--die-with-parent", "--new-session", "--",
		}
		cmd = exec.CommandContext(ctx, b.floor.bwrap, append(options, args...)...)
	} else {
		// A path, as the image's PATH holds inside of it alone.
		cmd = exec.CommandContext(ctx, "/usr/bin/"+args[0], args[1:]...)
		cmd.Dir = workspace
		attr.Chroot = b.floor.rootfs
	}
	cmd.SysProcAttr = attr
	cmd.Env = b.floor.env
	var out output
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out.stdout, &out.stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return "", err
	}
	return out.result(args, cmd.ProcessState.ExitCode())
}

// Write and Read are of the bench itself where there is no bubblewrap.
func (b floorSandbox) Write(ctx context.Context, name string, content []byte) error {
	if b.floor.bwrap != "" {
		_, err := b.run(ctx, bytes.NewReader(content), writeCommand(name))
		return err
	}
	return os.WriteFile(b.hostPath(name), content, 0o600)
}

func (b floorSandbox) Read(ctx context.Context, name string) ([]byte, error) {
	if b.floor.bwrap != "" {
		text, err := b.run(ctx, nil, readCommand(name))
		return []byte(text), err
	}
	return os.ReadFile(b.hostPath(name))
}

// hostPath is of a file of the bench's own: those of bubblewrap belong to the
// image's user.
func (b floorSandbox) hostPath(name string) string {
	return filepath.Join(b.floor.rootfs, "tmp", "fork-"+name)
}

func (floorSandbox) Delete(context.Context) error { return nil }

func (floorSandbox) Traces() Traces { return Traces{} }
