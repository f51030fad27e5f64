// Package engine gives the daemon its containerd.
//
// An engine is either embedded, which is containerd itself running in this
// process with a root, state, socket and namespace of its own, or dialled,
// which is somebody else's containerd reached over its socket. Both end in a
// *containerd.Client; nothing outside this package can tell which one it has.
//
// Lifecycle: Open starts an embedded engine and returns when it serves; Dial
// connects to a running one. Close stops what Open started or Dial connected.
// Containers, tasks and shims outlive both, and an engine that is opened again
// on the same root and state finds them.
//
// The Engine owns its client; whoever is given Client must not close it. One
// root belongs to one process at a time: Acquire takes the lock that Open
// relies on.
//
// containerd promises stability for its client and its configuration, not for
// cmd/containerd/server and its plugins. All use of those stays here, and
// go.mod pins the version.
package engine
