// Package filter has the seccomp filter of containers without building it for
// each of them.
//
// runc builds a container's filter anew from its profile, with libseccomp, in
// every create; that is the larger part of what a create takes of a processor,
// and the outcome is always the same. So Learn has runc do it once, in a
// container with nothing in it but the agent, and asks the kernel for the
// program that is in force there (PTRACE_SECCOMP_GET_FILTER). What the kernel
// gives is what runc gave to it, whatever runc and libseccomp made of the
// profile: there is no second compiler that could understand it otherwise.
//
// The program then stands in a container's specification instead of the profile
// (Text, Parse). The agent puts it in force for itself before it does anything,
// and so for all that it ever starts; the shim asks the kernel whether it is
// before the container counts as made.
package filter

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
)

const (
	// instructionLen is the length of an instruction (struct sock_filter).
	instructionLen = 8
	// maxInstructions is the kernel's bound (BPF_MAXINSNS).
	maxInstructions = 4096
)

// Program is a filter as the kernel takes it: instructions of eight bytes, in
// the byte order of the host.
type Program []byte

// check says whether a program has a length that the kernel would take.
func (p Program) check() error {
	if len(p) == 0 || len(p)%instructionLen != 0 || len(p) > maxInstructions*instructionLen {
		return fmt.Errorf("seccomp filter of %d bytes: %w", len(p), errdefs.ErrInvalidArgument)
	}
	return nil
}

// Text returns the program for a container's specification. It is compressed, as
// containerd, runc and the shim each read and write it in every create.
func (p Program) Text() (string, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return "", fmt.Errorf("write seccomp filter: %w", err)
	}
	if _, err := w.Write(p); err != nil {
		return "", fmt.Errorf("write seccomp filter: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("write seccomp filter: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// Parse reads what Text returned.
func Parse(text string) (Program, error) {
	r := flate.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	p, err := io.ReadAll(io.LimitReader(r, maxInstructions*instructionLen+1))
	if err != nil {
		return nil, fmt.Errorf("read seccomp filter: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return p, Program(p).check()
}
