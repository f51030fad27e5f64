package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime/engine"
)

// imageHost is an image store on the containerd of a server of the test's own,
// in a namespace that the server does not look at.
type imageHost struct {
	*images.Store
	client   *containerd.Client
	buildDir string
}

const imageNamespace = "image-test"

// inNamespace is the test's context for calls on the host's client.
func inNamespace(t *testing.T) context.Context {
	t.Helper()
	return namespaces.WithNamespace(t.Context(), imageNamespace)
}

// newImageHost starts one. A program other than "" stands for mmdebstrap.
func newImageHost(t *testing.T, mmdebstrap string) *imageHost {
	t.Helper()
	s := unstarted(t)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Dial(t.Context(), engine.SocketPath(s.state), imageNamespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &imageHost{
		client:   e.Client(),
		buildDir: filepath.Join(s.dir, "build"),
	}
	h.Store = images.NewStore(h.client, images.Options{BuildDir: h.buildDir, Mmdebstrap: mmdebstrap})
	return h
}

// fakeMmdebstrap writes a shell script to stand for mmdebstrap.
func fakeMmdebstrap(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mmdebstrap")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// hangingBuild mounts a file system, leaves a process in the background, says
// so on its standard error, and waits for ever.
const hangingBuild = `mkdir m && mount -t tmpfs none m && : >m/file
sleep 1000000 &
: >ready
echo "I: installing everything..." >&2
wait`

func (h *imageHost) importImage(t *testing.T, archive string) (images.Image, error) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return h.Import(t.Context(), "python", f, nil)
}

func (h *imageHost) mustImport(t *testing.T) images.Image {
	t.Helper()
	img, err := h.importImage(t, busyboxArchive(t))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// nothingLeft fails where a call left a lease, a download or a build behind.
func (h *imageHost) nothingLeft(t *testing.T) {
	t.Helper()
	ls, err := h.client.LeasesService().List(inNamespace(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		t.Errorf("lease %s is left", l.ID)
	}
	eventually(t, func() error { // once it is collected
		statuses, err := h.client.ContentStore().ListStatuses(inNamespace(t))
		if err == nil && len(statuses) > 0 {
			err = fmt.Errorf("a part of %s is left", statuses[0].Ref)
		}
		return err
	})
	builds, err := filepath.Glob(filepath.Join(h.buildDir, "codebeaker-build-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(builds) > 0 {
		t.Errorf("builds are left: %q", builds)
	}
	noMounts(t, h.buildDir)
}

func noMounts(t *testing.T, below string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), below) {
		t.Errorf("there are mounts below %s:\n%s", below, mounts)
	}
}

// users returns the processes that have a file below dir open or work there.
func users(dir string) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range append(links, fds...) {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir) {
			found = append(found, link+" -> "+target)
		}
	}
	return found
}

// still fails where the language has another image than it had.
func (h *imageHost) still(t *testing.T, want images.Image) {
	t.Helper()
	got, err := h.Resolve(t.Context(), "py")
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != want.Digest || !got.Ready {
		t.Errorf("image is %s, ready %t; want %s", got.Digest, got.Ready, want.Digest)
	}
}

// TestBuiltImagesAreReproducible builds all images on another host, in another
// order and one alone.
func TestBuiltImagesAreReproducible(t *testing.T) {
	alone, together := builtImages(t, python(t)), builtImages(t, languages(t))
	h := newImageHost(t, "")
	again, err := h.BuildAll(t.Context(), []string{"csharp", "go", "js"}, func(string) images.Progress { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range append(again, alone["python"]) {
		if other := together[img.Language]; other.Digest != img.Digest {
			t.Errorf("%s: two builds made %s and %s", img.Language, img.Digest, other.Digest)
		}
	}
	for name, version := range map[string]string{"python": "3.13.", "javascript": "20.", "go": "1.24.", "csharp": "6.12."} {
		img := together[name]
		lang, _ := images.NewCatalogue().Lookup(name)
		if !strings.HasPrefix(img.Version, version) || img.RecipeDigest != lang.RecipeDigest().String() || !img.Ready || img.Source != "build" {
			t.Errorf("image is %+v", img)
		}
	}
	h.nothingLeft(t)
	for _, img := range again {
		h.look(t, img, func(root string) { checkRoot(t, root) })
		if img.Language == "go" {
			h.look(t, img, func(root string) { checkGoCache(t, root) })
		}
	}
}

// builtImages returns the images of a server by language.
func builtImages(t *testing.T, s *server) map[string]images.Image {
	t.Helper()
	e, err := engine.Dial(t.Context(), engine.SocketPath(s.state), engine.DefaultNamespace)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	list, err := images.NewStore(e.Client(), images.Options{}).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]images.Image, len(list))
	for _, img := range list {
		all[img.Language] = img
	}
	return all
}

// gcRoot keeps a snapshot that nothing refers to, as a session's container would.
var gcRoot = map[string]string{"containerd.io/gc.root": "test"}

// look calls f with the root of an image's files.
func (h *imageHost) look(t *testing.T, img images.Image, f func(root string)) {
	t.Helper()
	sn := h.client.SnapshotService("overlayfs")
	mounts, err := sn.View(inNamespace(t), "look", img.ChainID, snapshots.WithLabels(gcRoot))
	if err != nil {
		t.Fatal(err)
	}
	err = mount.WithTempMount(inNamespace(t), mounts, func(root string) error {
		f(root)
		return nil
	})
	if err := errors.Join(err, sn.Remove(inNamespace(t), "look")); err != nil {
		t.Error(err)
	}
}

// checkRoot looks at the files that all images have in common.
func checkRoot(t *testing.T, root string) {
	t.Helper()
	stat := func(name string) (os.FileInfo, *syscall.Stat_t) {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			t.Fatalf("%s has no stat", name)
		}
		return info, st
	}
	for _, dir := range []string{"workspace", "home/sandbox"} {
		if info, st := stat(dir); st.Uid != 1000 || st.Gid != 1000 || info.Mode().Perm() != 0o755 {
			t.Errorf("%s has mode %s and owner %+v", dir, info.Mode(), st)
		}
	}
	for _, empty := range []string{"etc/resolv.conf", "etc/hostname", "etc/machine-id"} {
		if info, _ := stat(empty); info.Size() != 0 || info.Mode() != 0o644 {
			t.Errorf("%s has %d bytes and mode %s", empty, info.Size(), info.Mode())
		}
	}
	for _, gone := range []string{"dev/null", "usr/bin/apt-get", "etc/apt", "var/lib/apt", "var/cache/apt", "usr/share/man/man1", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"} {
		if _, err := os.Lstat(filepath.Join(root, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there (%v)", gone, err)
		}
	}
}

// checkGoCache looks at what go build std left in the image: entries that go
// neither touches nor trims, and that have no time of their making.
func checkGoCache(t *testing.T, root string) {
	t.Helper()
	const epoch = "1754697600000000000"
	entries := 0
	err := filepath.WalkDir(filepath.Join(root, "home/sandbox/.cache/go-build"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			if len(d.Name()) == 2 && info.Mode().Perm() != 0o300 {
				t.Errorf("%s has mode %s", path, info.Mode())
			}
			return nil
		}
		if info.ModTime().Year() != 2038 {
			t.Errorf("%s is of %s", path, info.ModTime())
		}
		if !strings.HasSuffix(path, "-a") {
			return nil
		}
		entries++
		text, err := os.ReadFile(path)
		if err == nil && !strings.HasSuffix(string(text), " "+epoch+"\n") {
			t.Errorf("%s is %q", path, text)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if entries < 500 {
		t.Errorf("the cache has %d entries", entries)
	}
}

// fakeLanguages stands for mmdebstrap: a base with two files, a language with
// one more, and go, which fails.
const fakeLanguages = `mkdir -p root/var/lib/dpkg root/etc
printf 'Package: base\n' >root/var/lib/dpkg/status
echo base >root/etc/motd
case "$*" in
*--variant=essential*) ;;
*golang*)
	echo "E: Failed to fetch http://m/ Could not connect to m:80" >&2
	exit 25
	;;
*)
	tar -C root -xf "$CODEBEAKER_BASE"
	echo more >root/etc/more
	;;
esac
tar -C root --sort=name -cf - .`

// TestFailingLanguageDoesNotLoseTheOthers builds four languages, one of which
// fails.
func TestFailingLanguageDoesNotLoseTheOthers(t *testing.T) {
	s := unstarted(t)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	build := exec.Command(binary("codebeaker"), append(append([]string{"images"}, s.hostArgs()...), "build", "--all")...)
	build.Env = append(os.Environ(), "PATH="+filepath.Dir(fakeMmdebstrap(t, fakeLanguages))+":"+os.Getenv("PATH"))
	var stdout, stderr bytes.Buffer
	build.Stdout, build.Stderr = &stdout, &stderr
	err := build.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v; want exit code 1", err)
	}
	said := stderr.String()
	if _, errs, ok := strings.Cut(said, "codebeaker: "); !ok || strings.Count(said, "codebeaker: ") != 1 ||
		!strings.HasPrefix(errs, "build image of go: install packages: the mirror was not reached") || strings.Contains(errs, "python") {
		t.Errorf("it said:\n%s", said)
	}
	built := builtImages(t, s)
	for _, name := range []string{"python", "javascript", "csharp"} {
		if !built[name].Ready || !strings.Contains(stdout.String(), "built "+name+" ") || !strings.Contains(said, name+": unpack\n") {
			t.Errorf("%s: image is %+v; it printed %q and said:\n%s", name, built[name], stdout.String(), said)
		}
	}
	if _, ok := built["go"]; ok {
		t.Errorf("go has an image")
	}
}

// TestLanguagesShareABase looks at the layers of two images of one build.
func TestLanguagesShareABase(t *testing.T) {
	h := newImageHost(t, fakeMmdebstrap(t, fakeLanguages))
	built, err := h.BuildAll(t.Context(), []string{"python", "csharp", "py"}, func(string) images.Progress { return nil })
	if err != nil || len(built) != 2 {
		t.Fatalf("images are %+v, %v", built, err)
	}
	parents := make(map[string]bool)
	for _, img := range built {
		info, err := h.client.SnapshotService("overlayfs").Stat(inNamespace(t), img.ChainID)
		if err != nil {
			t.Fatal(err)
		}
		parents[info.Parent] = true
		h.look(t, img, func(root string) {
			for name, want := range map[string]string{"etc/motd": "base\n", "etc/more": "more\n"} {
				if got, err := os.ReadFile(filepath.Join(root, name)); string(got) != want {
					t.Errorf("%s of %s is %q, %v; want %q", name, img.Language, got, err, want)
				}
			}
		})
	}
	if len(parents) != 1 || parents[""] {
		t.Errorf("the images have the bases %v; want one", parents)
	}
	h.nothingLeft(t)
}

func TestFailedBuildKeepsTheImage(t *testing.T) {
	for name, script := range map[string]string{
		"with an error":    `echo "E: Failed to fetch http://m/ Could not connect to m:80" >&2; exit 25`,
		"half way":         `head -c 700 /dev/zero | tr '\0' x; exit 1`,
		"without a stream": `exit 0`,
		"after a stream":   `tar cf - -C / --no-recursion etc; echo "E: too late" >&2; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newImageHost(t, fakeMmdebstrap(t, script))
			old := h.mustImport(t)
			_, err := h.Build(t.Context(), "python", nil)
			if err == nil {
				t.Fatal("the build succeeded")
			}
			if strings.Contains(script, "connect") && (!errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "check the network")) {
				t.Errorf("error is %v; want one that says what to do", err)
			}
			h.still(t, old)
			h.nothingLeft(t)
		})
	}
}

func TestCancelledBuildCleansUp(t *testing.T) {
	h := newImageHost(t, fakeMmdebstrap(t, hangingBuild))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := h.Build(ctx, "python", func(e images.Event) {
		if e.Message == "installing everything" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v; want %v", err, context.Canceled)
	}
	if left := users(h.buildDir); len(left) > 0 {
		t.Errorf("processes of the build are left: %q", left)
	}
	h.nothingLeft(t)
}

// TestKilledBuildLeavesOnlyItsDirectory kills the process that builds.
func TestKilledBuildLeavesOnlyItsDirectory(t *testing.T) {
	s := unstarted(t)
	builds := filepath.Join(s.root, "build")
	build := func(script string) *exec.Cmd {
		cmd := exec.Command(binary("codebeaker"), append(append([]string{"images"}, s.hostArgs()...), "build", "python")...)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(fakeMmdebstrap(t, script))+":"+os.Getenv("PATH"))
		return cmd
	}
	directories := func() []string {
		found, err := filepath.Glob(filepath.Join(builds, "codebeaker-build-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}

	killed := build(hangingBuild)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if ready, _ := filepath.Glob(filepath.Join(builds, "codebeaker-build-*", "ready")); len(ready) == 0 {
			return errors.New("the build did not start")
		}
		return nil
	})
	noMounts(t, builds)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	eventually(t, func() error {
		if left := users(builds); len(left) > 0 {
			return fmt.Errorf("processes of the killed build are left: %q", left)
		}
		return nil
	})
	noMounts(t, builds)
	stale := directories()
	if len(stale) != 1 {
		t.Fatalf("directories are %q; want the killed build's", stale)
	}

	out, err := build("exit 1").CombinedOutput()
	if err == nil {
		t.Fatalf("a build without mmdebstrap succeeded:\n%s", out)
	}
	if left := directories(); len(left) > 0 {
		t.Errorf("the next build left %q", left)
	}
}

func TestLanguageWithoutRecipe(t *testing.T) {
	h := newImageHost(t, fakeMmdebstrap(t, "exit 1"))
	run := images.Program{Run: []string{"run", "{file}"}}
	catalogue, err := images.NewCatalogue().With(images.Language{Name: "own", Program: run}, images.Language{Name: "other", Image: "r.example.org/other", Program: run})
	if err != nil {
		t.Fatal(err)
	}
	store := images.NewStore(h.client, images.Options{BuildDir: h.buildDir, Catalogue: catalogue})
	if _, err := store.Build(t.Context(), "own", nil); !errdefs.IsNotImplemented(err) {
		t.Errorf("error is %v; want %v", err, errdefs.ErrNotImplemented)
	}
	for name, how := range map[string]string{"python": "build python", "own": "pull own REFERENCE", "other": "pull other:"} {
		if _, err := store.Resolve(t.Context(), name); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "codebeaker images "+how) {
			t.Errorf("%s: error is %v; want one with %q", name, err, how)
		}
	}
	if _, err := h.Resolve(t.Context(), "ruby"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("error is %v; want %v", err, errdefs.ErrInvalidArgument)
	}
}

func TestRefusedArchivesKeepTheImage(t *testing.T) {
	h := newImageHost(t, "")
	old := h.mustImport(t)
	whole, err := os.ReadFile(busyboxArchive(t))
	if err != nil {
		t.Fatal(err)
	}
	file := func(data []byte) string {
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	damaged := newBlobs()
	damaged.add(newLayer(t))
	complete, err := os.ReadFile(damaged.archive(t, "linux/"+goruntime.GOARCH))
	if err != nil {
		t.Fatal(err)
	}
	for name, archive := range map[string]string{
		"text":                file([]byte("this is no archive")),
		"empty":               file(nil),
		"cut":                 file(whole[:len(whole)/2]),
		"damaged":             file(bytes.Replace(complete, []byte("hello"), []byte("jello"), 1)),
		"no layer":            newBlobs().archive(t, "linux/"+goruntime.GOARCH),
		"of another platform": newBlobs().archive(t, "windows/riscv64"),
		"of a file tree":      file(newLayer(t)),
	} {
		_, err := h.importImage(t, archive)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: error is %v; want %v", name, err, errdefs.ErrInvalidArgument)
		}
	}
	h.still(t, old)
	h.nothingLeft(t)
}

// dockerArchive is what "docker save" writes of an image with one layer, which is
// packed if packed is not nil.
func dockerArchive(t *testing.T, layer, packed []byte) []byte {
	t.Helper()
	config := mustJSON(t, map[string]any{
		"os": "linux", "architecture": goruntime.GOARCH,
		"config": map[string]any{"Env": []string{"PATH=/bin", "PYTHON_VERSION=3.14.1"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{sha(layer)}},
	})
	if packed == nil {
		packed = layer
	}
	return tarFiles(t,
		"layer.tar", packed, "config.json", config,
		"manifest.json", mustJSON(t, []any{map[string]any{"Config": "config.json", "RepoTags": []string{"a:1", "b:2"}, "Layers": []string{"layer.tar"}}}),
	)
}

// A file of a broken import is no beginning of the next one's.
func TestImportStartsAnewAfterABrokenOne(t *testing.T) {
	h := newImageHost(t, "")
	for range 3 {
		other := dockerArchive(t, tarFiles(t, "etc/other", bytes.Repeat([]byte("x"), 100_000)), nil)
		if _, err := h.Import(t.Context(), "python", bytes.NewReader(other[:50_000]), nil); !errdefs.IsInvalidArgument(err) {
			t.Fatalf("half an archive: %v", err)
		}
		layer := tarFiles(t, "etc/motd", bytes.Repeat([]byte("y"), 100_000))
		if _, err := h.Import(t.Context(), "python", bytes.NewReader(dockerArchive(t, layer, nil)), nil); err != nil {
			t.Fatalf("a whole one: %v", err)
		}
	}
	h.nothingLeft(t)
}

// A small archive may unpack to much, and one that never ends is no small one.
func TestImagesAreBoundedUnpacked(t *testing.T) {
	h := newImageHost(t, "")
	h.Store = images.NewStore(h.client, images.Options{BuildDir: h.buildDir, Bounds: images.Bounds{Bytes: 1 << 20, Files: 10}})
	pack := func(layer []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(layer); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	large := tarFiles(t, "zeros", make([]byte, 2<<20))
	var many []any
	for i := range 11 {
		many = append(many, fmt.Sprintf("%d", i), []byte(nil))
	}
	for name, archive := range map[string][]byte{
		"zeros":         dockerArchive(t, large, pack(large)),
		"many files":    dockerArchive(t, tarFiles(t, many...), nil),
		"large archive": dockerArchive(t, large, nil),
	} {
		_, err := h.Import(t.Context(), "python", bytes.NewReader(archive), nil)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "--image-limit-mb") {
			t.Errorf("%s: %v", name, err)
		}
	}
	fits := tarFiles(t, "zeros", make([]byte, 1<<20-1))
	if _, err := h.Import(t.Context(), "python", bytes.NewReader(dockerArchive(t, fits, pack(fits))), nil); err != nil {
		t.Errorf("what fits: %v", err)
	}
	h.nothingLeft(t)
}

func TestImportDockerArchive(t *testing.T) {
	h := newImageHost(t, "")
	img, err := h.Import(t.Context(), "python", bytes.NewReader(dockerArchive(t, newLayer(t), nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Version != "3.14.1" || img.Source != "import" || !img.Ready || !slices.Equal(img.Env, []string{"PATH=/bin", "PYTHON_VERSION=3.14.1"}) {
		t.Errorf("image is %+v", img)
	}
	h.nothingLeft(t)
}

func TestExportedImageIsImportedAgain(t *testing.T) {
	h := newImageHost(t, "")
	var archive bytes.Buffer
	if _, err := h.Export(t.Context(), "python", &archive); !errdefs.IsNotFound(err) {
		t.Errorf("export without an image: error is %v; want %v", err, errdefs.ErrNotFound)
	}
	img := h.mustImport(t)
	exported, err := h.Export(t.Context(), "py", &archive)
	if err != nil || exported.Digest != img.Digest {
		t.Fatalf("exported is %+v, %v; want %+v", exported, err, img)
	}
	again, err := h.Import(t.Context(), "javascript", &archive, nil)
	if err != nil || again.Digest != img.Digest || again.Size != img.Size {
		t.Errorf("imported again it is %+v, %v; want %+v", again, err, img)
	}
	h.nothingLeft(t)
}

// The command makes no file unless it exports, and replaces none.
func TestExportCommandWritesNewFiles(t *testing.T) {
	s := withBusybox(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "image.tar")
	if err := s.images(t.Context(), "export", "csharp", file); err == nil {
		t.Error("a language without an image is exported")
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != 0 {
		t.Errorf("a failed export left %v, %v", got, err)
	}
	if err := s.images(t.Context(), "export", "python", file); err != nil {
		t.Fatal(err)
	}
	if err := s.images(t.Context(), "export", "python", file); err == nil {
		t.Error("a file is replaced")
	}
	if err := s.images(t.Context(), "import", "csharp", file); err != nil {
		t.Error(err)
	}
}

func TestRemovedImageStaysForItsSessions(t *testing.T) {
	h := newImageHost(t, "")
	img := h.mustImport(t)
	sn := h.client.SnapshotService("overlayfs")
	if _, err := sn.Prepare(inNamespace(t), "session", img.ChainID, snapshots.WithLabels(gcRoot)); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), "py"); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), "py"); !errdefs.IsNotFound(err) {
		t.Errorf("removing twice: error is %v; want %v", err, errdefs.ErrNotFound)
	}
	collect(inNamespace(t), t, h.client)
	eventually(t, func() error { return h.contentGone(t) })
	if _, err := sn.Stat(inNamespace(t), img.ChainID); err != nil {
		t.Errorf("the parent of a session's snapshot: %v", err)
	}
	if err := sn.Remove(inNamespace(t), "session"); err != nil {
		t.Fatal(err)
	}
	collect(inNamespace(t), t, h.client)
	eventually(t, func() error {
		if _, err := sn.Stat(inNamespace(t), img.ChainID); !errdefs.IsNotFound(err) {
			return errors.Join(errors.New("the image's snapshot is there"), err)
		}
		return nil
	})
}

func (h *imageHost) contentGone(t *testing.T) error {
	t.Helper()
	var left []string
	err := h.client.ContentStore().Walk(inNamespace(t), func(info content.Info) error {
		left = append(left, info.Digest.String())
		return nil
	})
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("content is left: %q", left)
	}
	return err
}

func TestResolveUnpacksAgain(t *testing.T) {
	h := newImageHost(t, "")
	img := h.mustImport(t)
	if err := h.client.SnapshotService("overlayfs").Remove(inNamespace(t), img.ChainID); err != nil {
		t.Fatal(err)
	}
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Ready {
		t.Errorf("images are %+v; want one that is not ready", list)
	}
	h.still(t, img)
	h.nothingLeft(t)
}

func TestPull(t *testing.T) {
	host := "linux/" + goruntime.GOARCH
	b := newBlobs()
	const index = "application/vnd.oci.image.index.v1+json"
	layer := newLayer(t)
	b.add(layer)
	foreign := b.build(t, "linux/s390x", []byte("not served"))
	own := b.build(t, host, layer)
	want := b.manifest
	b.by["index"] = mustJSON(t, map[string]any{"schemaVersion": 2, "mediaType": index, "manifests": []any{foreign, own}})
	b.by["other"] = mustJSON(t, map[string]any{"schemaVersion": 2, "mediaType": index, "manifests": []any{foreign}})
	b.add(b.by["index"])
	b.add(b.by["other"])
	server := httptest.NewServer(b)
	defer server.Close()
	registry := strings.TrimPrefix(server.URL, "http://")

	h := newImageHost(t, "")
	var fetched int64
	img, err := h.Pull(t.Context(), "python", registry+"/lib/image:index", func(e images.Event) {
		if e.Stage == images.StageFetch {
			fetched = max(fetched, e.Done)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest.String() != want || !slices.Equal(img.Env, []string{"ON=" + host}) || !img.Ready || img.Source != "pull "+registry+"/lib/image:index" {
		t.Errorf("image is %+v; want %s", img, want)
	}
	if fetched != int64(len(layer)) {
		t.Errorf("progress told of %d bytes; want %d", fetched, len(layer))
	}

	closed := httptest.NewServer(b)
	closed.Close()
	for _, tc := range []struct {
		ref, text string
		class     error
	}{
		{registry + "/lib/image:nosuch", "no such image", errdefs.ErrNotFound},
		{registry + "/lib/other:index", "it is for linux/s390x", errdefs.ErrInvalidArgument},
		{registry + "/private/image:index", "anybody may pull", errdefs.ErrPermissionDenied},
		{strings.TrimPrefix(closed.URL, "http://") + "/lib/image:index", "check the network", errdefs.ErrUnavailable},
		{"Bad Reference", "no image reference", errdefs.ErrInvalidArgument},
	} {
		if _, err := h.Pull(t.Context(), "python", tc.ref, nil); !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: error is %v; want one with %q of class %v", tc.ref, err, tc.text, tc.class)
		}
	}
	h.still(t, img)
	h.nothingLeft(t)
}
