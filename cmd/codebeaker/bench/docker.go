package bench

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// docker is a private dockerd with the installed containerd and runc, used
// through its API.
type docker struct {
	containerd *process
	dockerd    *process // nil until it runs
	client     *dockerClient
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
	socket := in("c.sock")
	_, err := os.Lstat(runDir)
	foreign := err == nil
	p, err := startProcess("Docker's containerd", o.containerd,
		"--config", in("containerd.toml"), "--root", in("c"), "--state", filepath.Join(o.state, "c"), "--address", socket, "--log-level", "error")
	if err != nil {
		return nil, err
	}
	d := &docker{containerd: p, client: newDockerClient(in("d.sock")), dir: o.dir, state: o.state, cgroup: o.cgroup, foreign: foreign}
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
	if err := d.dockerd.await(ctx, d.client.ping); err != nil {
		return nil, err
	}
	archive, err := os.Open(o.image.DockerArchive)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return d, d.client.load(ctx, archive)
}

// versions are of dockerd, containerd and runc.
func (d *docker) versions(ctx context.Context) (string, error) {
	var v struct {
		Version    string
		Components []struct{ Name, Version string }
	}
	if err := d.client.call(ctx, http.MethodGet, "/version", nil, nil, &v); err != nil {
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

func (d *docker) Daemons() []int {
	return []int{d.dockerd.cmd.Process.Pid, d.containerd.cmd.Process.Pid}
}

func (d *docker) Close(ctx context.Context) error {
	d.client.http.CloseIdleConnections()
	var err error
	if d.dockerd != nil {
		err = d.dockerd.stop(ctx)
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
	var created struct{ ID string }
	err := d.client.call(ctx, http.MethodPost, "/containers/create", nil, map[string]any{
		"Image": dockerImage, "Entrypoint": []string{}, "Cmd": []string{"sleep", "infinity"}, "User": fmt.Sprintf("%d:%d", userID, userID), "WorkingDir": workspace,
		"HostConfig": map[string]any{
			"NetworkMode": "none", "Memory": memoryBytes, "MemorySwap": memoryBytes, "NanoCpus": 1_000_000_000, "PidsLimit": pidsLimit,
			"CapDrop": []string{"ALL"}, "SecurityOpt": []string{"no-new-privileges"}, "CgroupParent": d.cgroup,
			"LogConfig": map[string]any{"Type": "none"},
		},
	}, &created)
	if err != nil {
		return nil, err
	}
	b := &dockerSandbox{docker: d, id: created.ID}
	if err := d.client.call(ctx, http.MethodPost, "/containers/"+b.id+"/start", nil, nil, nil); err != nil {
		return nil, errors.Join(err, b.Delete(context.WithoutCancel(ctx)))
	}
	return b, nil
}

type dockerSandbox struct {
	docker *docker
	id     string
}

func (b *dockerSandbox) Run(ctx context.Context, args ...string) (string, error) {
	return b.docker.client.exec(ctx, b.id, args)
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
	answer, err := b.docker.client.do(ctx, http.MethodPut, "/containers/"+b.id+"/archive", url.Values{"path": {workspace}}, "application/x-tar", &archive)
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

func (b *dockerSandbox) Read(ctx context.Context, name string) ([]byte, error) {
	archive, err := b.docker.client.do(ctx, http.MethodGet, "/containers/"+b.id+"/archive", url.Values{"path": {inWorkspace(name)}}, "", nil)
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
	return b.docker.client.call(ctx, http.MethodDelete, "/containers/"+b.id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
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
