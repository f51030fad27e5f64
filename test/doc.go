// Package test holds the integration and end-to-end tests: real containerd,
// real runc, real sandboxes. They need root and the programs that make build
// puts into bin (or into $CODEBEAKER_TEST_BIN).
//
// Every server under test has a root, a state directory, a socket, a port and a
// cgroup of its own below a temporary directory, so that two runs do not meet,
// and is ended with everything it made, however its test ends. Tests that only
// use a server share one, with a Python image that it built itself; those that
// stop, kill or configure one start their own, with an image of busybox.
package test
