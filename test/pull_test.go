package test

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"codebeaker/images"
)

const otherPlatform = "linux/s390x"

func hostPlatform() string { return "linux/" + goruntime.GOARCH }

// bigLayer is a layer of some MiB that cannot be compressed.
func bigLayer(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 8<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return tarFiles(t, "big", data)
}

// reaching returns a store on the host's containerd that reaches a registry so.
func (h *imageHost) reaching(host string, r images.Registry) *imageHost {
	return &imageHost{
		Store:    images.NewStore(h.client, images.Options{BuildDir: h.buildDir, Registries: map[string]images.Registry{host: r}}),
		client:   h.client,
		buildDir: h.buildDir,
	}
}

// refused fails where a pull succeeds, or its error has another class or text.
func (h *imageHost) refused(t *testing.T, ref string, class error, text string) {
	t.Helper()
	_, err := h.Pull(t.Context(), "python", ref, nil)
	if !errors.Is(err, class) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: error is %v; want one with %q of class %v", ref, err, text, class)
	}
}

func TestPullThroughPrivateCA(t *testing.T) {
	registry := newDockerRegistry(t, true)
	layer := newLayer(t)
	want := registry.push(t, "1", hostPlatform(), layer)
	ref := registry.host + "/lib/image:1"
	h := newImageHost(t, "")
	img, err := h.reaching(registry.host, images.Registry{CA: registry.ca}).Pull(t.Context(), "python", ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest.String() != want || !img.Ready {
		t.Errorf("image is %+v; want %s", img, want)
	}

	h.reaching(registry.host, images.Registry{}).refused(t, ref, errdefs.ErrFailedPrecondition, "name its file in the configuration")
	h.reaching(registry.host, images.Registry{CA: newCA(t).file(t)}).refused(t, ref, errdefs.ErrFailedPrecondition, "is not trusted")
	h.reaching(registry.host, images.Registry{CA: filepath.Join(t.TempDir(), "none.pem")}).refused(t, ref, errdefs.ErrFailedPrecondition, "none.pem")
	h.reaching(registry.host, images.Registry{CA: busyboxArchive(t)}).refused(t, ref, errdefs.ErrFailedPrecondition, "no certificate in PEM")
	h.reaching(registry.host, images.Registry{PlainHTTP: true}).refused(t, ref, errdefs.ErrFailedPrecondition, "remove plain_http")
	h.still(t, img)
	h.nothingLeft(t)
}

func TestPullThroughPlainHTTP(t *testing.T) {
	registry := newDockerRegistry(t, false)
	want := registry.push(t, "1", hostPlatform(), newLayer(t))
	ref := registry.host + "/lib/image:1"
	h := newImageHost(t, "")
	h.reaching(registry.host, images.Registry{}).refused(t, ref, errdefs.ErrFailedPrecondition, "plain_http = true")
	plain := h.reaching(registry.host, images.Registry{PlainHTTP: true})
	img, err := plain.Pull(t.Context(), "python", ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest.String() != want {
		t.Errorf("image is %s; want %s", img.Digest, want)
	}
	byDigest := registry.host + "/lib/image@" + want
	if img, err = plain.Pull(t.Context(), "python", byDigest, nil); err != nil || img.Digest.String() != want || img.Source != "pull "+byDigest {
		t.Errorf("by digest: image is %+v, %v; want %s", img, err, want)
	}
	h.still(t, img)
	h.nothingLeft(t)
}

// TestRefusedPullsKeepTheImage asks a registry for what it has not or has in a
// bad state.
func TestRefusedPullsKeepTheImage(t *testing.T) {
	registry := newDockerRegistry(t, false)
	old, other := tarFiles(t, "old", []byte("old")), tarFiles(t, "other", []byte("other"))
	registry.push(t, "old", hostPlatform(), old)
	registry.push(t, "foreign", otherPlatform, newLayer(t))
	registry.push(t, "layer", hostPlatform(), other)
	registry.damage(t, sha(other))
	registry.damage(t, registry.push(t, "manifest", hostPlatform(), tarFiles(t, "third", []byte("third"))))

	h := newImageHost(t, "").reaching(registry.host, images.Registry{PlainHTTP: true})
	name := registry.host + "/lib/image"
	img, err := h.Pull(t.Context(), "python", name+":old", nil)
	if err != nil {
		t.Fatal(err)
	}
	h.refused(t, name+":none", errdefs.ErrNotFound, "check the name and the tag")
	h.refused(t, registry.host+"/lib/none:old", errdefs.ErrNotFound, "check the name and the tag")
	h.refused(t, name+"@"+sha([]byte("none")), errdefs.ErrNotFound, "check the name and the tag")
	h.refused(t, name+":foreign", errdefs.ErrInvalidArgument, "it is for "+otherPlatform)
	h.refused(t, name+":layer", errdefs.ErrDataLoss, "sent something else than was asked for")
	// At once, as it would be taken for a part of the next download.
	left, err := h.client.ContentStore().ListStatuses(inNamespace(t))
	if err != nil || len(left) > 0 {
		t.Errorf("what was downloaded is left: %+v, %v", left, err)
	}
	h.refused(t, name+":manifest", errdefs.ErrDataLoss, "sent something else than was asked for")
	h.refused(t, "", errdefs.ErrInvalidArgument, "codebeaker images pull python REFERENCE")
	h.still(t, img)
	h.nothingLeft(t)

	registry.damage(t, sha(other)) // which makes it whole
	if _, err := h.Pull(t.Context(), "python", name+":layer", nil); err != nil {
		t.Errorf("pulling again what is whole now: %v", err)
	}
}

func TestBrokenDownloadGoesOn(t *testing.T) {
	registry := newDockerRegistry(t, false)
	want := registry.push(t, "big", hostPlatform(), bigLayer(t))
	proxy := newBreakingProxy(t, registry.host, 3<<20)
	h := newImageHost(t, "").reaching(proxy.host, images.Registry{PlainHTTP: true})
	img, err := h.Pull(t.Context(), "python", proxy.host+"/lib/image:big", nil)
	if err != nil {
		t.Fatal(err)
	}
	// Two whole parts of 8 MiB; begun anew each time, it would never end.
	if img.Digest.String() != want || proxy.breaks.Load() != 2 {
		t.Errorf("image is %s after %d breaks; want %s after 2", img.Digest, proxy.breaks.Load(), want)
	}
	h.nothingLeft(t)
}

func TestPullAfterTheRegistryWasGone(t *testing.T) {
	registry := newDockerRegistry(t, false)
	registry.push(t, "old", hostPlatform(), newLayer(t))
	want := registry.push(t, "big", hostPlatform(), bigLayer(t))
	proxy := newBreakingProxy(t, registry.host, 3<<20)
	h := newImageHost(t, "").reaching(proxy.host, images.Registry{PlainHTTP: true})
	name := proxy.host + "/lib/image"
	old, err := h.Pull(t.Context(), "python", name+":old", nil)
	if err != nil {
		t.Fatal(err)
	}
	proxy.downAfterBreak.Store(true)
	h.refused(t, name+":big", errdefs.ErrUnavailable, "broke; try again")
	h.still(t, old)
	h.nothingLeft(t)

	proxy.downAfterBreak.Store(false)
	proxy.down.Store(false)
	img, err := h.Pull(t.Context(), "python", name+":big", nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest.String() != want {
		t.Errorf("image is %s; want %s", img.Digest, want)
	}
	h.nothingLeft(t)
}
