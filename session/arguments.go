package session

import (
	"fmt"
	"slices"
	"strings"

	"codebeaker/runtime"
)

// What the kernel takes of a program's arguments and environment (execve(2)), in
// bytes: each text with the NUL behind it, and all of them together with a pointer
// each, which is a quarter of the usual limit of a stack. The rest is for what the
// runtime adds.
const (
	maxText      = 128<<10 - 1
	maxArguments = 2<<20 - 16<<10
	pointerBytes = 8
)

// validateArgs checks the arguments of a program, which the field holds.
func validateArgs(field string, args []string) error {
	for i, text := range args {
		if err := validateText(fmt.Sprintf("%s[%d]", field, i), text); err != nil {
			return err
		}
	}
	return nil
}

// validateText checks a text that a program gets.
func validateText(field, text string) error {
	if strings.Contains(text, "\x00") || len(text) > maxText {
		return &InvalidError{Field: field, Takes: fmt.Sprintf("a text of at most %d bytes without NUL; longer ones are for a file or standard input", maxText)}
	}
	return nil
}

// validateEnv checks an environment, which the field holds. A text has its name
// before it.
func validateEnv(field string, env map[string]string) error {
	size := 0
	for k, v := range env {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			return &InvalidError{Field: field, Takes: "names that are not empty, without '=' and NUL"}
		}
		if strings.Contains(v, "\x00") || len(k)+1+len(v) > maxText {
			return &InvalidError{Field: field + "." + inShort(k), Takes: fmt.Sprintf("a text without NUL, of at most %d bytes together with its name", maxText-1)}
		}
		size += len(k) + len(v) + 2 + pointerBytes
	}
	if size > maxArguments/2 {
		return &InvalidError{Field: field, Takes: fmt.Sprintf("at most %d bytes", maxArguments/2)}
	}
	return nil
}

// validateExec checks that a program's arguments and its environment fit together.
func validateExec(e *runtime.ExecOptions) error {
	size := 0
	for _, text := range slices.Concat(e.Args, e.Env) {
		size += len(text) + 1 + pointerBytes
	}
	if size > maxArguments {
		return &InvalidError{Field: "command.args", Takes: fmt.Sprintf("at most %d bytes together with the environment, got %d; more is for a file or standard input", maxArguments, size)}
	}
	return nil
}
