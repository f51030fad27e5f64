package rpc

import (
	"time"

	"codebeaker/session"
)

// The commands of session.execute that run programs.

// programParams are what the commands that run something of the client's have in
// common.
type programParams struct {
	Env        map[string]string `json:"env" doc:"Added to the environment of the session."`
	Stdin      []byte            `json:"stdin" doc:"All that the program reads. Without it, a program in the background or on a terminal reads what execution.input sends, and any other finds the end at once."`
	Timeout    time.Duration     `json:"timeout" takes:"unit=s" doc:"Seconds until the program is killed with all that it started. Without it, the server's default; in the background, none."`
	Background bool              `json:"background" takes:"default=false" doc:"Has the reply come when the program runs, not when it ended."`
	TTY        bool              `json:"tty" takes:"default=false" doc:"Gives the program a terminal in place of three streams; what it prints is then all on stdout. TERM is xterm-256color unless the environment says otherwise."`
	Rows       int64             `json:"rows" takes:"min=1,max=1000,default=24" doc:"Rows of the terminal."`
	Cols       int64             `json:"cols" takes:"min=1,max=1000,default=80" doc:"Columns of the terminal."`
}

func (p *programParams) options() session.ProgramOptions {
	return session.ProgramOptions{
		Stdin:     p.Stdin,
		StdinOpen: p.Stdin == nil && (p.Background || p.TTY),
		Timeout:   deadline(p.Timeout, p.Background),
		TTY:       p.TTY,
		Rows:      uint16(p.Rows),
		Columns:   uint16(p.Cols),
	}
}

// deadline is the timeout of a program: nobody waits for one in the background.
func deadline(asked time.Duration, background bool) time.Duration {
	if asked == 0 && background {
		return -1
	}
	return asked
}

type shellParams struct {
	Name string   `json:"commandName" takes:"required,nonempty,also=command" doc:"A program. Without args, also a line of shell, for bash where the image has it, and else for /bin/sh."`
	Args []string `json:"args" doc:"Its arguments, as they are; no shell reads them."`
	Dir  string   `json:"workingDirectory" takes:"default=/workspace" doc:"Where it runs. A relative path starts at /workspace."`
	programParams
}

func newShell(p *shellParams) (command, error) {
	return command{
		Command:    &session.Shell{Name: p.Name, Args: p.Args, Dir: p.Dir, Env: p.Env, ProgramOptions: p.options()},
		background: p.Background,
	}, nil
}

type codeParams struct {
	Code     []byte   `json:"code" takes:"required" doc:"The source."`
	Language string   `json:"language" doc:"Name or alias of its language; the session's where absent."`
	Args     []string `json:"args" doc:"Arguments of the program."`
	Dir      string   `json:"workingDirectory" takes:"default=/workspace" doc:"Where it runs, and where the source is meanwhile. It has to be there. A relative path starts at /workspace."`
	Packages []string `json:"packages" doc:"Installed first, as install_packages does."`
	programParams
}

func newCode(p *codeParams) (command, error) {
	return command{
		Command: &session.Code{
			Code: p.Code, Language: p.Language, Args: p.Args, Dir: p.Dir, Packages: p.Packages, Env: p.Env, ProgramOptions: p.options(),
		},
		background: p.Background,
	}, nil
}

type installParams struct {
	Packages         []string      `json:"packages" doc:"Names as the package manager of the language takes them."`
	RequirementsFile string        `json:"requirementsFile" doc:"A file that lists packages, as the language has it, in place of packages."`
	Timeout          time.Duration `json:"timeout" takes:"unit=s" doc:"Seconds until the installation is killed."`
	Background       bool          `json:"background" takes:"default=false" doc:"Has the reply come when the installation runs, not when it ended."`
}

func newInstall(p *installParams) (command, error) {
	return command{
		Command: &session.InstallPackages{
			Packages: p.Packages, RequirementsFile: p.RequirementsFile,
			ProgramOptions: session.ProgramOptions{Timeout: deadline(p.Timeout, p.Background)},
		},
		background: p.Background,
	}, nil
}

// executionDone is the result of every program that was waited for.
func executionDone[P any](_ *P, r *session.ExecutionResult) executionResult {
	return newExecutionResult(r)
}
