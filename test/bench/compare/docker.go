package compare

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/docker/pkg/stdcopy"
)

// docker is a private dockerd with the installed containerd and runc, used
// through its API.
type docker struct {
	containerd *process
	dockerd    *process // nil until it runs
	client     *client.Client
	dir, state string
	cgroup     string
	// foreign says that the host had runDir before.
	foreign bool
}

// runDir is where containerd and its shims keep sockets and FIFOs, whatever
// directories they are given.
const runDir = "/run/containerd"

// dockerOptions say which Docker to start.
type dockerOptions struct {
	dockerd, containerd string // programs
	dir, state          string
	cgroup              string
	image               Image
}

// startDocker starts containerd and dockerd. A dockerd that is left to itself
// would use the host's own containerd, where there is one.
func startDocker(ctx context.Context, o dockerOptions) (_ *docker, retErr error) {
	if err := makeDirs(o.dir, o.state); err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(o.dir, name) }
	// Without CRI, which no Docker needs, and which would look for a network.
	config := "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"
	if err := os.WriteFile(in("containerd.toml"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	// In place of the host's own.
	if err := os.WriteFile(in("daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+in("d.sock")), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	socket := in("c.sock")
	_, err = os.Lstat(runDir)
	foreign := err == nil
	p, err := startProcess("Docker's containerd", o.containerd,
		"--config", in("containerd.toml"), "--root", in("c"), "--state", filepath.Join(o.state, "c"), "--address", socket, "--log-level", "error")
	if err != nil {
		return nil, err
	}
	d := &docker{containerd: p, client: api, dir: o.dir, state: o.state, cgroup: o.cgroup, foreign: foreign}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, d.Close(context.WithoutCancel(ctx)))
		}
	}()
	err = p.await(ctx, func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.dockerd, err = startProcess("dockerd", o.dockerd,
		"--config-file", in("daemon.json"),
		"--data-root", in("d"), "--exec-root", filepath.Join(o.state, "e"), "--pidfile", in("pid"), "--host", "unix://"+in("d.sock"), "--containerd", socket,
		"--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none",
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level", "error")
	if err != nil {
		return nil, err
	}
	err = d.dockerd.await(ctx, func(ctx context.Context) error {
		_, err := d.client.Ping(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	archive, err := os.Open(o.image.DockerArchive)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return d, d.load(ctx, archive)
}

// versions are of dockerd, containerd and runc.
// versions are of dockerd, containerd and runc.
func (d *docker) versions(ctx context.Context) (string, error) {
	v, err := d.client.ServerVersion(ctx)
	if err != nil {
		return "", err
	}
	all := []string{v.Version}
	for _, c := range v.Components {
		if c.Name == "containerd" || c.Name == "runc" {
			all = append(all, c.Name+" "+c.Version)
		}
	}
	return strings.Join(all, ", "), nil
}

// load loads the images of an archive.
func (d *docker) load(ctx context.Context, archive io.Reader) error {
	answer, err := d.client.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := jsonmessage.DisplayJSONMessagesStream(answer.Body, io.Discard, 0, false, nil); err != nil {
		return fmt.Errorf("load image into Docker: %w", err)
	}
	return nil
}

func (d *docker) Daemons() []int {
	return []int{d.dockerd.cmd.Process.Pid, d.containerd.cmd.Process.Pid}
}

func (d *docker) Close(ctx context.Context) error {
	err := d.client.Close()
	if d.dockerd != nil {
		err = errors.Join(err, d.dockerd.stop(ctx))
	}
	err = errors.Join(err, d.containerd.stop(ctx))
	if !d.foreign {
		err = errors.Join(err, removeEmpty(runDir))
	}
	return err
}

// removeEmpty removes a tree of directories that hold nothing.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeEmpty(filepath.Join(dir, e.Name())))
		}
	}
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil {
		return fmt.Errorf("remove what containerd left: %w", err)
	}
	return nil
}

func (d *docker) Create(ctx context.Context) (_ Sandbox, retErr error) {
	pids := int64(pidsLimit)
	created, err := d.client.ContainerCreate(ctx, &container.Config{
		Image: dockerImage, Entrypoint: []string{}, Cmd: []string{"sleep", "infinity"},
		User: fmt.Sprintf("%d:%d", userID, userID), WorkingDir: workspace,
	}, &container.HostConfig{
		NetworkMode: "none", CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		LogConfig: container.LogConfig{Type: "none"},
		Resources: container.Resources{
			Memory: memoryBytes, MemorySwap: memoryBytes, NanoCPUs: 1_000_000_000, PidsLimit: &pids, CgroupParent: d.cgroup,
		},
	}, nil, nil, "")
	if err != nil {
		return nil, err
	}
	b := &dockerSandbox{docker: d, id: created.ID}
	if err := d.client.ContainerStart(ctx, b.id, container.StartOptions{}); err != nil {
		return nil, errors.Join(err, b.Delete(context.WithoutCancel(ctx)))
	}
	return b, nil
}

type dockerSandbox struct {
	docker *docker
	id     string
}

// Run makes an exec, starts it attached, and asks for its exit code, as docker exec
// does.
func (b *dockerSandbox) Run(ctx context.Context, args ...string) (string, error) {
	d := b.docker.client
	created, err := d.ContainerExecCreate(ctx, b.id, container.ExecOptions{AttachStdout: true, AttachStderr: true, Cmd: args})
	if err != nil {
		return "", err
	}
	attached, err := d.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer attached.Close()
	var out output
	if _, err := stdcopy.StdCopy(&out.stdout, &out.stderr, attached.Reader); err != nil {
		return "", fmt.Errorf("run %s: %w", args[0], err)
	}
	state, err := d.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return "", err
	}
	if state.Running {
		return "", fmt.Errorf("run %s: its output ended and it still runs", args[0])
	}
	return out.result(args, state.ExitCode)
}

// Write and Read are as docker cp does it.
func (b *dockerSandbox) Write(ctx context.Context, name string, content []byte) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := putBytes(w, name, content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return b.docker.client.CopyToContainer(ctx, b.id, workspace, &archive, container.CopyToContainerOptions{})
}

func (b *dockerSandbox) Read(ctx context.Context, name string) ([]byte, error) {
	archive, _, err := b.docker.client.CopyFromContainer(ctx, b.id, inWorkspace(name))
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	r := tar.NewReader(archive)
	if _, err := r.Next(); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, archive)
	return content, err
}

func (b *dockerSandbox) Delete(ctx context.Context) error {
	return b.docker.client.ContainerRemove(ctx, b.id, container.RemoveOptions{Force: true, RemoveVolumes: true})
}

func (b *dockerSandbox) Traces() Traces {
	return Traces{
		Cgroup: path.Join(b.docker.cgroup, b.id),
		Paths: []string{
			filepath.Join(b.docker.dir, "d", "containers", b.id),
			filepath.Join(b.docker.state, "c", "io.containerd.runtime.v2.task", "moby", b.id),
		},
		Shim: b.id,
	}
}
