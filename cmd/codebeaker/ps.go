package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// psOptions are the options of ps.
type psOptions struct{ all, quiet, json bool }

func newPsCommand() *cobra.Command {
	server := &remote{}
	var opts psOptions
	cmd := &cobra.Command{
		Use:   "ps [SESSION]",
		Short: "List sessions and what runs in them",
		Long: `List sessions and what runs in them, or only what runs in one SESSION. With -a,
executions that have ended are listed as well, as long as the server remembers
them.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeSessions(server),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.quiet && opts.json {
				return errors.New("choose one of --quiet and --json")
			}
			session := ""
			if len(args) == 1 {
				session = args[0]
			}
			l, err := listAll(cmd.Context(), server, session, opts.all)
			if err != nil {
				return err
			}
			return l.print(cmd.OutOrStdout(), opts, time.Now())
		},
	}
	server.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&opts.all, "all", "a", false, "list executions that have ended, too")
	cmd.Flags().BoolVarP(&opts.quiet, "quiet", "q", false, "print ids alone: those of the sessions, or of one SESSION's executions")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print what the server says, in JSON")
	noFiles(cmd, "server")
	return cmd
}

// listed is an entry of a server's list: what is shown of it, and all of it.
type listed[T any] struct {
	entry T
	raw   json.RawMessage
}

// UnmarshalJSON keeps the text.
func (l *listed[T]) UnmarshalJSON(text []byte) error {
	l.raw = append(json.RawMessage(nil), text...)
	return json.Unmarshal(text, &l.entry)
}

// MarshalJSON gives the text back.
func (l listed[T]) MarshalJSON() ([]byte, error) { return l.raw, nil }

type sessionEntry struct {
	SessionID      string    `json:"sessionId"`
	Language       string    `json:"language"`
	CreatedAt      time.Time `json:"createdAt"`
	LastActivity   time.Time `json:"lastActivity"`
	State          string    `json:"state"`
	ExecutionCount int       `json:"executionCount"`
}

type executionEntry struct {
	ExecutionID string     `json:"executionId"`
	SessionID   string     `json:"sessionId"`
	Command     string     `json:"command"`
	Status      string     `json:"status"`
	CreatedAt   time.Time  `json:"createdAt"`
	EndedAt     *time.Time `json:"endedAt"`
	TTY         bool       `json:"tty"`
	ExitCode    *int       `json:"exitCode"`
	EndReason   string     `json:"endReason"`
}

// ended says that the execution does not go on.
func (e *executionEntry) ended() bool { return e.Status == "completed" || e.Status == "failed" }

type sessionList struct {
	Sessions []listed[sessionEntry] `json:"sessions"`
}

type executionList struct {
	Executions []listed[executionEntry] `json:"executions"`
}

// listing is what ps shows. sessions is nil where it shows one session's
// executions.
type listing struct {
	sessions   []listed[sessionEntry]
	executions []listed[executionEntry]
}

func listAll(ctx context.Context, server *remote, session string, ended bool) (*listing, error) {
	c, err := server.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	l := &listing{}
	params := map[string]any{}
	if session == "" {
		var list sessionList
		if err := c.Call(ctx, "session.list", params, &list); err != nil {
			return nil, explain(err)
		}
		l.sessions = append([]listed[sessionEntry]{}, list.Sessions...)
	} else {
		params["sessionId"] = session
	}
	var list executionList
	if err := c.Call(ctx, "execution.list", params, &list); err != nil {
		return nil, explain(err)
	}
	l.executions = []listed[executionEntry]{}
	for _, e := range list.Executions {
		if ended || !e.entry.ended() {
			l.executions = append(l.executions, e)
		}
	}
	return l, nil
}

func (l *listing) print(w io.Writer, opts psOptions, now time.Time) error {
	switch {
	case opts.json:
		out := struct {
			Sessions   []listed[sessionEntry]   `json:"sessions,omitzero"`
			Executions []listed[executionEntry] `json:"executions"`
		}{l.sessions, l.executions}
		text, err := json.MarshalIndent(out, "", "  ")
		if err != nil {
			return fmt.Errorf("encode the list: %w", err)
		}
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	case opts.quiet:
		for _, s := range l.sessions {
			fmt.Fprintln(w, printable(s.entry.SessionID))
		}
		for _, e := range l.executions {
			if l.sessions == nil {
				fmt.Fprintln(w, printable(e.entry.ExecutionID))
			}
		}
		return nil
	}
	return l.printTables(w, now)
}

func (l *listing) printTables(w io.Writer, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if l.sessions != nil {
		fmt.Fprintln(table, "SESSION\tLANGUAGE\tSTATE\tCREATED\tIDLE\tRUNS")
		for _, s := range l.sessions {
			e := s.entry
			fmt.Fprintf(table, "%s\t%s\t%s\t%s ago\t%s\t%d\n", printable(e.SessionID), printable(e.Language),
				printable(e.State), age(now.Sub(e.CreatedAt)), age(now.Sub(e.LastActivity)), e.ExecutionCount)
		}
		if len(l.executions) == 0 {
			return table.Flush()
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(table, "EXECUTION\tSESSION\tSTATUS\tCREATED\tCOMMAND")
	for _, x := range l.executions {
		e := x.entry
		session := e.SessionID
		if session == "" {
			session = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s ago\t%s\n", printable(e.ExecutionID), printable(session),
			e.status(now), age(now.Sub(e.CreatedAt)), shorten(printable(e.Command), 60))
	}
	return table.Flush()
}

// status says in short how an execution is.
func (e *executionEntry) status(now time.Time) string {
	switch {
	case !e.ended():
		return printable(e.Status)
	case e.EndReason == "exited" && e.ExitCode != nil:
		return fmt.Sprintf("exited %d", *e.ExitCode) + e.since(now)
	default:
		return printable(cmp.Or(e.EndReason, e.Status)) + e.since(now)
	}
}

// since says how long ago an execution ended, where that is known.
func (e *executionEntry) since(now time.Time) string {
	if e.EndedAt == nil {
		return ""
	}
	return ", " + age(now.Sub(*e.EndedAt)) + " ago"
}

// age is a duration for a person, in its largest unit.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// shorten cuts a text to a number of characters.
func shorten(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
