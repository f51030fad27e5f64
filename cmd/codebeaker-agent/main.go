// Command codebeaker-agent runs inside sessions. See package agent.
package main

import (
	"context"
	"fmt"
	"os"

	"codebeaker/runtime/agent"
)

func main() {
	role, args := "", os.Args[min(1, len(os.Args)):]
	if len(args) > 0 {
		role, args = args[0], args[1:]
	}
	switch role {
	case "init":
		os.Exit(agent.Init(args, os.Stderr))
	case agent.RoleExec:
		os.Exit(agent.Exec(args, os.Stdin, os.Stderr))
	case agent.RoleFiles:
		os.Exit(agent.Files(context.Background(), os.Stdin, os.Stdout, os.Stderr))
	default:
		fmt.Fprintln(os.Stderr, "codebeaker-agent: runs inside sessions, as init, exec or files")
		os.Exit(2)
	}
}
