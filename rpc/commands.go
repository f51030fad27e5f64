package rpc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"codebeaker/session"
)

// command is a decoded command of session.execute.
type command struct {
	session.Command
	// result turns the result that belongs to the command into that of the wire.
	result func(any) (any, error)
}

// commandType is a kind of command. To add one is to add an entry to
// commandTypes.
type commandType struct {
	// names are its spellings: that of the documents, then that of old clients.
	names []string
	// decode reads the fields of the command, which is valid JSON at
	// "command".
	decode func(raw []byte) (command, error)
}

func commandTypes() []commandType {
	return []commandType{
		{[]string{"write_file"}, decodeWriteFile},
		{[]string{"read_file"}, decodeReadFile},
		{[]string{"execute_shell", "shell"}, decodeShell},
	}
}

// decodeCommand reads a command of any type.
func decodeCommand(types []commandType, raw []byte) (command, error) {
	var name string
	err := decodeObject("command", raw, field{"type", true, stringTo(&name)})
	if err != nil {
		return command{}, err
	}
	var known []string
	for _, t := range types {
		if slices.Contains(t.names, name) {
			return t.decode(raw)
		}
		known = append(known, t.names...)
	}
	return command{}, invalidParams("command.type", "command.type: %q is not supported by this server, which has %s",
		shorten(name), strings.Join(known, ", "))
}

func decodeWriteFile(raw []byte) (command, error) {
	var (
		c              session.WriteFile
		mode, encoding string
	)
	err := decodeObject("command", raw,
		field{"path", true, nonEmptyTo(&c.Path)},
		field{"content", true, bytesTo(&c.Content)},
		field{"mode", false, choiceTo(&mode, "Create", "Append", "Overwrite")},
		field{"encoding", false, choiceTo(&encoding, "utf-8", "base64")},
		field{"permissions", false, permissionsTo(&c.Permissions)},
	)
	if err != nil {
		return command{}, err
	}
	if mode == "Append" {
		c.Mode = session.WriteAppend
	}
	if encoding == "base64" {
		if c.Content, err = decodeBase64("command.content", c.Content); err != nil {
			return command{}, err
		}
	}
	return command{&c, func(result any) (any, error) {
		r, err := resultAs[session.WriteFileResult](result)
		if err != nil {
			return nil, err
		}
		return writeFileResult{Path: r.Path, Bytes: r.Bytes}, nil
	}}, nil
}

func decodeReadFile(raw []byte) (command, error) {
	c := session.ReadFile{Length: -1}
	var encoding string
	err := decodeObject("command", raw,
		field{"path", true, nonEmptyTo(&c.Path)},
		field{"encoding", false, choiceTo(&encoding, "utf-8", "base64")},
		field{"offset", false, wholeTo(&c.Offset, 0, math.MaxInt64)},
		field{"length", false, wholeTo(&c.Length, 0, math.MaxInt64)},
	)
	if err != nil {
		return command{}, err
	}
	return command{&c, func(result any) (any, error) {
		r, err := resultAs[session.ReadFileResult](result)
		if err != nil {
			return nil, err
		}
		return newReadFileResult(r, encoding == "base64"), nil
	}}, nil
}

func decodeShell(raw []byte) (command, error) {
	var (
		c     session.Shell
		other string
	)
	err := decodeObject("command", raw,
		field{"commandName", false, nonEmptyTo(&c.Name)},
		field{"command", false, nonEmptyTo(&other)},
		field{"args", false, stringsTo(&c.Args)},
		field{"workingDirectory", false, stringTo(&c.Dir)},
		field{"env", false, stringMapTo(&c.Env)},
		field{"stdin", false, bytesTo(&c.Stdin)},
		field{"timeout", false, durationTo(&c.Timeout, time.Second)},
		field{"background", false, notYet("running in the background")},
		field{"tty", false, notYet("a terminal")},
	)
	if err != nil {
		return command{}, err
	}
	if c.Name == "" {
		c.Name = other
	}
	if c.Name == "" {
		return command{}, invalidParams("command.commandName",
			"command.commandName is required and takes a string that is not empty")
	}
	return command{&c, func(result any) (any, error) {
		r, err := resultAs[session.ExecutionResult](result)
		if err != nil {
			return nil, err
		}
		return newExecutionResult(r), nil
	}}, nil
}

// resultAs returns a result as the type that belongs to the command.
func resultAs[T any](result any) (*T, error) {
	r, ok := result.(*T)
	if !ok || r == nil {
		return nil, fmt.Errorf("encode result: got %T, want %T", result, r)
	}
	return r, nil
}
