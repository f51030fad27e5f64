package session

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"codebeaker/images"
	"codebeaker/runtime"
)

// step is one of the programs that a command takes, one after another. One
// that fails is the last.
type step struct {
	exec runtime.ExecOptions
	// aside sends all that the step prints to standard error, as it is not what
	// the command is for.
	aside bool
	// failure says what it means that the step exits with a code above 0; empty
	// for the program itself.
	failure string
}

// plan is what a program command takes.
type plan struct {
	language, command string
	// file is written before the first step and removed after the last, with
	// made, which the steps make of it. It may be empty.
	file    string
	content []byte
	made    []string
	steps   []step
}

// plan turns a command into steps.
func (s *session) plan(p Program) (*plan, error) {
	switch p := p.(type) {
	case *Shell:
		return s.planShell(p)
	case *Code:
		return s.planCode(p)
	case *InstallPackages:
		return s.planInstall(p)
	default:
		return nil, fmt.Errorf("plan program: unknown type %T", p)
	}
}

func (s *session) planShell(c *Shell) (*plan, error) {
	if c.Name == "" {
		return nil, &InvalidError{Field: "command.commandName", Takes: "the name of a program"}
	}
	if strings.Contains(c.Name, "\x00") {
		return nil, &InvalidError{Field: "command.commandName", Takes: "a text without NUL"}
	}
	if len(c.Args) > 0 { // else it may be a line, which goes another way if it is long
		if err := validateText("command.commandName", c.Name); err != nil {
			return nil, err
		}
	}
	if err := validateText("command.workingDirectory", c.Dir); err != nil {
		return nil, err
	}
	if err := validateArgs("command.args", c.Args); err != nil {
		return nil, err
	}
	if err := validateEnv("command.env", c.Env); err != nil {
		return nil, err
	}
	p := &plan{language: s.language, command: inShort(c.Name), steps: []step{{exec: runtime.ExecOptions{
		Args: append([]string{c.Name}, c.Args...),
		Line: len(c.Args) == 0,
		Dir:  c.Dir,
		Env:  environ(s.env, c.Env),
	}}}}
	if len(c.Args) == 0 && len(c.Name) > maxLine {
		p.file, p.content = path.Join("/tmp", s.ownName(lineName)), []byte(c.Name)
		p.steps[0].exec.Args = []string{". " + p.file}
	}
	return p, validateExec(&p.steps[0].exec)
}

const (
	// maxLine is the longest line that a shell gets as an argument, in bytes. A
	// longer one, which is no name of a program, it reads from a file: an argument
	// has at most 128 KiB (MAX_ARG_STRLEN of linux/binfmts.h).
	maxLine = 32 << 10
	// lineName is the name of that file.
	lineName = ".codebeaker-line-*"
)

// inShort returns what an execution is called, for people, who know the rest of
// a long line.
func inShort(command string) string {
	const most = 1 << 10 // bytes
	if len(command) <= most {
		return command
	}
	return strings.ToValidUTF8(command[:most], "") + "…"
}

// ownName returns a name with the "*" in it replaced, so that no other plan's file
// has it.
func (s *session) ownName(name string) string {
	return strings.ReplaceAll(name, "*", strconv.FormatInt(s.files.nextFile.Add(1), 10))
}

func (s *session) planCode(c *Code) (*plan, error) {
	lang, err := s.lookup(c.Language)
	if err != nil {
		return nil, err
	}
	if err := validateArgs("command.args", c.Args); err != nil {
		return nil, err
	}
	if err := validateEnv("command.env", c.Env); err != nil {
		return nil, err
	}
	program := lang.Program
	dir := runtime.Workspace
	if c.Dir != "" {
		if dir, err = sessionPath("command.workingDirectory", c.Dir); err != nil {
			return nil, err
		}
	}
	file := dir + "/" + s.ownName(program.File)
	p := &plan{language: lang.Name, command: lang.Name, file: file, content: c.Code}
	for _, made := range program.Made {
		p.made = append(p.made, fill(file, made))
	}
	env := environ(s.env, c.Env)
	if len(c.Packages) > 0 {
		install, err := s.installStep(lang, dir, c.Packages, "")
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, install)
	}
	if len(program.Compile) > 0 {
		p.steps = append(p.steps, step{
			exec:  runtime.ExecOptions{Args: fillAll(file, program.Compile), Dir: dir, Env: env},
			aside: true, failure: "The program could not be compiled",
		})
	}
	p.steps = append(p.steps, step{exec: runtime.ExecOptions{
		Args: append(fillAll(file, program.Run), c.Args...), Dir: dir, Env: env,
		Fork: s.zygote != nil && lang.Name == s.language,
	}})
	return p, nil
}

func (s *session) planInstall(c *InstallPackages) (*plan, error) {
	lang, err := s.lookup("")
	if err != nil {
		return nil, err
	}
	install, err := s.installStep(lang, "", c.Packages, c.RequirementsFile)
	if err != nil {
		return nil, err
	}
	install.aside = false
	return &plan{language: lang.Name, command: install.exec.Args[0], steps: []step{install}}, nil
}

// maxPackages bounds what one command installs.
const maxPackages = 256

// installStep installs packages, or what a file lists, in a directory.
func (s *session) installStep(lang images.Language, dir string, packages []string, file string) (step, error) {
	program := lang.Program
	var args []string
	switch {
	case len(packages) > 0 == (file != ""):
		return step{}, &InvalidError{Field: "command.packages", Takes: "the names of packages, where there is no requirementsFile"}
	case file == "" && program.Install == nil, file != "" && program.InstallFile == nil:
		return step{}, &InvalidError{Field: "command.packages", Takes: "none, as nothing is known of how " + lang.Name + " installs them"}
	case file != "":
		name, err := sessionPath("command.requirementsFile", file)
		if err != nil {
			return step{}, err
		}
		args = fillAll(name, program.InstallFile)
	default:
		if len(packages) > maxPackages {
			return step{}, &InvalidError{Field: "command.packages", Takes: fmt.Sprintf("at most %d packages", maxPackages)}
		}
		for _, name := range packages {
			if name == "" || strings.HasPrefix(name, "-") || strings.Contains(name, "\x00") {
				return step{}, &InvalidError{Field: "command.packages", Takes: "names of packages, none of them empty or with a dash in front"}
			}
		}
		args = append(slices.Clone(program.Install), packages...)
	}
	return step{
		exec: runtime.ExecOptions{Args: args, Dir: dir, Env: environ(s.env, nil)}, aside: true,
		failure: "The packages could not be installed; sessions have no network, so only packages that are in the session's own files can be",
	}, nil
}

// lookup finds the language that a command names, the session's where it names
// none.
func (s *session) lookup(name string) (images.Language, error) {
	if name == "" {
		name = s.language
	}
	lang, ok := s.opts.Catalogue.Lookup(name)
	if !ok {
		return images.Language{}, &InvalidError{Field: "command.language", Takes: "one of " + strings.Join(s.opts.Catalogue.Names(), ", ")}
	}
	return lang, nil
}

// fillAll puts a file's path where the catalogue's commands name it.
func fillAll(file string, args []string) []string {
	filled := make([]string, 0, len(args))
	for _, a := range args {
		filled = append(filled, fill(file, a))
	}
	return filled
}

func fill(file, text string) string {
	return strings.NewReplacer("{file}", file, "{base}", strings.TrimSuffix(file, path.Ext(file))).Replace(text)
}
