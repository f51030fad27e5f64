// Package images keeps the language images that sessions are started from.
//
// A language is an entry of the catalogue: a name, aliases, how its programs are
// run, and for the built-in ones a recipe. A recipe says how to make the
// language's image from Debian packages; its digest covers everything that
// decides what the image holds, but for the state of the mirror and the host's
// architecture. All recipes begin with the same base, which is made once for the
// images of one call and is the first layer of each. An image is an OCI image in
// containerd under the name that ImageName gives for its language, unpacked into
// the snapshotter, and so the parent of every session's snapshot: starting a
// session copies nothing.
//
// Lifecycle: Build, Pull and Import each end in the same step, which unpacks
// the image and then moves the language's name to it. Until that last step the
// language keeps the image that it had; after it, new sessions start from the
// new image, and sessions that run keep the old one's snapshots alive until
// they end. Remove drops the name; containerd's garbage collector removes what
// nothing refers to any more.
//
// What a build makes on the way lives in a directory of its own below
// Options.BuildDir, locked for as long as a process of the build lives, and in
// containerd under a lease. A builder that was killed leaves a directory whose
// lock is free, which the next build removes with the lease of the same name.
// It leaves no mount and no process, because mmdebstrap runs in mount and pid
// namespaces that end with the builder.
//
// The Store borrows the containerd client and closes nothing.
package images
