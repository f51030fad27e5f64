// Command codebeaker runs untrusted programs in sandboxes on this host.
//
// It is the daemon (serve), the commands of its users and operators, and,
// where containerd starts it as one, the shim between containerd and a
// sandbox.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/shim"
)

// version is set by the linker.
var version = "dev"

func main() {
	if shim.IsInvocation(os.Args[1:]) {
		if err := shim.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run())
}

func run() int {
	// The first signal asks for an orderly end; one that comes a second later, or
	// more, ends the process as signals do. What sends signals to a process and
	// to its group, as timeout(1) does, sends two at once.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })

	root := newRootCommand()
	if err := root.ExecuteContext(ctx); err != nil {
		if exit, ok := errors.AsType[exitError](err); ok {
			return int(exit)
		}
		fmt.Fprintf(os.Stderr, "codebeaker: %v\n", err)
		return 1
	}
	return 0
}

// exitError is an error that only says how the process exits.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "codebeaker",
		Short:         "Run untrusted programs in sandboxes on this host",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.AddCommand(
		newServeCommand(), newRunCommand(), newExecCommand(), newAttachCommand(), newPsCommand(), newCpCommand(),
		newImagesCommand(), newDoctorCommand(), newVersionCommand(),
	)
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of codebeaker and of what it is made of",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printVersions(cmd.OutOrStdout())
		},
	}
}
