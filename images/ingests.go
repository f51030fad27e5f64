package images

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
)

// ingests is a content store for one import. What is being written is named for its
// file in the archive (containerd, core/images/archive), and what a broken import left
// under such a name would be taken for the beginning of the next import's file. So each
// import has names of its own, and drops what it did not complete.
type ingests struct {
	content.Store
	prefix string

	mu   sync.Mutex
	refs map[string]struct{}
}

func newIngests(store content.Store) *ingests {
	return &ingests{Store: store, prefix: strings.ToLower(rand.Text()) + "-", refs: map[string]struct{}{}}
}

// Writer opens a writer under a name of the import.
func (i *ingests) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var asked content.WriterOpts
	for _, o := range opts {
		if err := o(&asked); err != nil {
			return nil, err
		}
	}
	ref := i.prefix + asked.Ref
	i.mu.Lock()
	i.refs[ref] = struct{}{}
	i.mu.Unlock()
	return i.Store.Writer(ctx, append(opts, content.WithRef(ref))...)
}

// abort drops what is not complete.
func (i *ingests) abort(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for ref := range i.refs {
		if err := i.Abort(ctx, ref); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}
