package rpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"codebeaker/session"
)

// command is a decoded command of session.execute.
type command struct {
	session.Command
	// id is what the client calls the command; nil for nothing.
	id json.RawMessage
	// background says that the program is not waited for.
	background bool
	// result turns the result that belongs to the command into that of the wire.
	result func(any) (any, error)
}

// commandResult is a result of the wire of any command.
type commandResult any

// commandType is a kind of command. To add one is to add an entry to
// commandTypes.
type commandType struct {
	// names are its spellings: that of the documents, then that of old clients.
	names []string
	doc   string
	// params is the plan of its fields, but for those of commandHead.
	params *object
	// result is the type of its results.
	result reflect.Type
	// decode reads the fields of the command, which is a valid JSON object at
	// path.
	decode func(path string, raw []byte) (command, error)
}

// commandHead is what all commands have.
type commandHead struct {
	Type string          `json:"type" takes:"required" doc:"Which command it is."`
	ID   json.RawMessage `json:"id" doc:"Comes back beside the result."`
}

func commandTypes() []commandType {
	return []commandType{
		commandOf("Writes a file, making its parent directories.", newWriteFile, writeFileDone, "write_file"),
		commandOf("Reads a file or a range of it.", newReadFile, newReadFileResult, "read_file"),
		commandOf("Runs a program.", newShell, executionDone, "execute_shell", "shell"),
		commandOf("Runs source code as its language wants it.", newCode, executionDone, "execute_code", "execute"),
		commandOf("Makes a directory.", newCreateDirectory, createDirectoryDone, "create_directory", "create_dir"),
		commandOf("Copies a file.", newCopyFile, copyFileDone, "copy_file"),
		commandOf("Deletes a file or a directory.", newDeleteFile, deleteFileDone, "delete_file"),
		commandOf("Moves or renames a file or a directory.", newMoveFile, moveFileDone, "move_file"),
		commandOf("Lists a directory.", newListDirectory, newListDirectoryResult, "list_directory", "list_files"),
		commandOf("Installs packages with the package manager of the session's language.",
			newInstall, executionDone, "install_packages"),
	}
}

// commandOf is the type of the commands with the fields P, for which the
// session's result is an S and the wire's an R.
func commandOf[P, S, R any](doc string, build func(*P) (command, error), done func(*P, *S) R, names ...string) commandType {
	params := newObject(reflect.TypeFor[P](), nil)
	params.beside = commandHeadObject()
	return commandType{names, doc, params, reflect.TypeFor[R](), func(path string, raw []byte) (command, error) {
		p := new(P)
		if err := params.decode(path, raw, reflect.ValueOf(p).Elem()); err != nil {
			return command{}, err
		}
		c, err := build(p)
		c.result = func(result any) (any, error) {
			r, err := resultAs[S](result)
			if err != nil {
				return nil, err
			}
			return done(p, r), nil
		}
		return c, err
	}}
}

// commands is the union of all commands.
type commands struct {
	types []commandType
	head  *object
}

func newCommands() commands {
	return commands{commandTypes(), commandHeadObject()}
}

// commandHeadObject is the plan of what all commands have. The type tells which
// other fields there are.
func commandHeadObject() *object {
	o := newObject(reflect.TypeFor[commandHead](), nil)
	o.anyBeside = true
	return o
}

// decode reads a command of any type, which is valid JSON at path.
func (c commands) decode(path string, raw []byte) (command, error) {
	var head commandHead
	if err := c.head.decode(path, raw, reflect.ValueOf(&head).Elem()); err != nil {
		return command{}, err
	}
	var known []string
	for _, t := range c.types {
		if slices.Contains(t.names, head.Type) {
			cmd, err := t.decode(path, raw)
			cmd.id = head.ID
			return cmd, err
		}
		known = append(known, t.names...)
	}
	at := join(path, "type")
	return command{}, invalidParams(at, "%s: %q is not supported by this server, which has %s",
		at, shorten(head.Type), strings.Join(known, ", "))
}

// shape is that of a command among params.
func (c commands) shape() shape {
	s := &schema{}
	for _, t := range c.types {
		s.OneOf = append(s.OneOf, &schema{Ref: "#/components/schemas/" + t.component()})
	}
	return shape{"an object", func(dst reflect.Value, path string, raw []byte) error {
		cmd, err := c.decode(path, raw)
		dst.Set(reflect.ValueOf(cmd))
		return err
	}, s}
}

// component is the name of the command's schema, such as WriteFileCommand.
func (t commandType) component() string {
	var name strings.Builder
	for word := range strings.SplitSeq(t.names[0], "_") {
		name.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return name.String() + "Command"
}

// describe returns the schema of the command with all its fields.
func (c commands) describe(t commandType) *schema {
	s, head := t.params.describe(), c.head.describe()
	s.Description = t.doc
	maps.Copy(s.Properties, head.Properties)
	s.Properties["type"].Enum = t.names
	s.Required = append(head.Required, s.Required...)
	return s
}

// resultAs returns a result as the type that belongs to the command.
func resultAs[T any](result any) (*T, error) {
	r, ok := result.(*T)
	if !ok || r == nil {
		return nil, fmt.Errorf("encode result: got %T, want %T", result, r)
	}
	return r, nil
}
