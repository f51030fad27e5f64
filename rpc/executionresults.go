package rpc

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"codebeaker/session"
)

// The results that are about executions.

// executionResult is that of a program that was waited for.
type executionResult struct {
	ExecutionID string `json:"executionId" doc:"Names the execution in requests. It cannot be guessed."`
	ExitCode    int    `json:"exitCode" doc:"The program's, or 128 plus the number of the signal that ended it, or -1 where nobody saw its end."`
	printed
	DurationMs int64             `json:"durationMs" doc:"How long it ran."`
	EndReason  session.EndReason `json:"endReason" doc:"How it ended, as it was seen."`
	Signal     *string           `json:"signal" doc:"The signal that ended it, such as SIGKILL."`
	Truncated  truncatedStreams  `json:"truncated" doc:"Which streams had more than is shown."`
	Usage      usageResult       `json:"usage" doc:"What it used, with all that it started."`
}

// printed is the end of what a program printed.
type printed struct {
	Stdout         string `json:"stdout" doc:"The end of standard output, or all of it."`
	Stderr         string `json:"stderr" doc:"The end of standard error, or all of it."`
	StdoutOffset   int64  `json:"stdoutOffset" doc:"How many bytes standard output had before what is shown."`
	StderrOffset   int64  `json:"stderrOffset" doc:"How many bytes standard error had before what is shown."`
	StdoutEncoding string `json:"stdoutEncoding,omitempty" doc:"base64 where stdout is no text, and absent otherwise."`
	StderrEncoding string `json:"stderrEncoding,omitempty" doc:"base64 where stderr is no text, and absent otherwise."`
}

type truncatedStreams struct {
	Stdout bool `json:"stdout" doc:"stdout is not all of it."`
	Stderr bool `json:"stderr" doc:"stderr is not all of it."`
}

type usageResult struct {
	CPUMs           int64  `json:"cpuMs" doc:"Processor time, in milliseconds."`
	PeakMemoryBytes uint64 `json:"peakMemoryBytes" doc:"The most memory that it had at one time, with the cache of the files that it used, which the kernel takes back where memory is short."`
	// MaxRSSBytes is nil where it is not known.
	MaxRSSBytes *uint64 `json:"maxRssBytes" doc:"The most memory that one of its processes had resident at one time, which the cache of files is not part of; null where the runtime does not tell."`
	OOMKills    uint64  `json:"oomKills" doc:"How many of its processes the kernel killed for want of memory."`
}

func newExecutionResult(r *session.ExecutionResult) executionResult {
	return executionResult{
		ExecutionID: r.ID,
		ExitCode:    r.ExitCode,
		printed:     newPrinted(r.Stdout, r.StdoutOffset, r.Stderr, r.StderrOffset),
		DurationMs:  r.Duration.Milliseconds(),
		EndReason:   r.EndReason,
		Signal:      textOrNull(r.Signal),
		Truncated:   truncatedStreams{r.StdoutTruncated, r.StderrTruncated},
		Usage:       newUsageResult(r.Usage),
	}
}

func newUsageResult(u session.Usage) usageResult {
	r := usageResult{CPUMs: u.CPU.Milliseconds(), PeakMemoryBytes: u.PeakMemoryBytes, OOMKills: u.OOMKills}
	if u.MaxRSSBytes > 0 {
		r.MaxRSSBytes = &u.MaxRSSBytes
	}
	return r
}

func newPrinted(stdout []byte, stdoutOffset int64, stderr []byte, stderrOffset int64) printed {
	p := printed{StdoutOffset: stdoutOffset, StderrOffset: stderrOffset}
	p.Stdout, p.StdoutEncoding = streamText(stdout)
	p.Stderr, p.StderrEncoding = streamText(stderr)
	return p
}

// streamText returns what a program wrote as text, or as base64 where it is no
// text.
func streamText(out []byte) (text, encoding string) {
	if utf8.Valid(out) {
		return string(out), ""
	}
	return base64.StdEncoding.EncodeToString(out), "base64"
}

// backgroundResult is that of a program that runs on.
type backgroundResult struct {
	ExecutionID string                  `json:"executionId" doc:"Names the execution in requests. It cannot be guessed."`
	Status      session.ExecutionStatus `json:"status" doc:"Always running."`
}

// statusOnlyResult answers what was done to an execution.
type statusOnlyResult struct {
	ExecutionID string                  `json:"executionId" doc:"Names the execution in requests."`
	Status      session.ExecutionStatus `json:"status" doc:"How far it is."`
}

// statusNotFound is the status of an execution that nobody knows.
const statusNotFound statusText = "not_found"

// statusText is an ExecutionStatus, or statusNotFound.
type statusText string

type statusResult struct {
	ExecutionID string     `json:"executionId" doc:"Which execution."`
	Status      statusText `json:"status" doc:"How far it is. A program that ran to an end is completed, whatever its exit code; failed is one that never ran."`
	SessionID   string     `json:"sessionId" doc:"Where it runs; empty while it is queued."`
	ExitCode    *int       `json:"exitCode" doc:"The program's; null until it has ended."`
	printed
	DurationMs int64              `json:"durationMs" doc:"How long it ran, or has been running."`
	Timeout    bool               `json:"timeout" doc:"It was killed at its time limit."`
	EndReason  *session.EndReason `json:"endReason" doc:"How it ended, as it was seen; null until then."`
	Signal     *string            `json:"signal" doc:"The signal that ended it."`
	Truncated  truncatedStreams   `json:"truncated" doc:"Which streams had more than is shown."`
	Usage      *usageResult       `json:"usage" doc:"What it used; null until it has ended."`
	Error      *string            `json:"error" doc:"Why it failed, for a person."`
}

// newStatusResult describes an execution, whose output the caller holds.
func newStatusResult(e *session.Execution, now time.Time) (statusResult, error) {
	info := e.Info()
	result := statusResult{ExecutionID: info.ID, Status: statusText(info.Status), SessionID: info.SessionID}
	switch info.Status {
	case session.StatusCompleted:
		outcome, err := e.Outcome()
		if err != nil {
			return statusResult{}, err
		}
		r, err := resultAs[session.ExecutionResult](outcome.Result)
		if err != nil {
			return statusResult{}, err
		}
		whole := newExecutionResult(r)
		result.ExitCode, result.printed, result.DurationMs = &whole.ExitCode, whole.printed, whole.DurationMs
		result.EndReason, result.Timeout = &whole.EndReason, r.EndReason == session.EndTimeout
		result.Signal, result.Truncated, result.Usage = whole.Signal, whole.Truncated, &whole.Usage
		result.Error = textOrNull(outcome.Error)
		return result, nil
	case session.StatusFailed:
		if _, err := e.Outcome(); err != nil {
			result.Error = textOrNull(failureText(err))
		}
	case session.StatusRunning:
		result.DurationMs = now.Sub(info.StartedAt).Milliseconds()
	case session.StatusQueued:
	}
	stdout, stdoutOffset, err := e.Output(session.Stdout).Tail(statusBytes)
	if err != nil {
		return statusResult{}, err
	}
	stderr, stderrOffset, err := e.Output(session.Stderr).Tail(statusBytes)
	if err != nil {
		return statusResult{}, err
	}
	result.printed = newPrinted(stdout, stdoutOffset, stderr, stderrOffset)
	result.Truncated = truncatedStreams{stdoutOffset > 0, stderrOffset > 0}
	return result, nil
}

type executionListResult struct {
	Count      int               `json:"count" doc:"How many executions there are."`
	Executions []listedExecution `json:"executions" doc:"All of them, oldest first."`
}

type listedExecution struct {
	ExecutionID string                  `json:"executionId" doc:"Names the execution in requests."`
	SessionID   string                  `json:"sessionId" doc:"Where it runs; empty while it is queued."`
	Language    string                  `json:"language" doc:"Its language."`
	Command     string                  `json:"command" doc:"Its program, for people."`
	Status      session.ExecutionStatus `json:"status" doc:"How far it is."`
	CreatedAt   wireTime                `json:"createdAt" doc:"When it was asked for."`
	StartedAt   *wireTime               `json:"startedAt" doc:"When its program began to run."`
	EndedAt     *wireTime               `json:"endedAt" doc:"When it ended."`
	ExitCode    *int                    `json:"exitCode" doc:"The program's; null until it has ended."`
	EndReason   *session.EndReason      `json:"endReason" doc:"How it ended, as it was seen; null until then."`
	TTY         bool                    `json:"tty" doc:"It has a terminal."`
	Background  bool                    `json:"background" doc:"Nobody waits for it."`
	Stdout      keptWindow              `json:"stdout" doc:"What is kept of standard output."`
	Stderr      keptWindow              `json:"stderr" doc:"What is kept of standard error."`
}

// keptWindow is what is kept of a stream.
type keptWindow struct {
	Start int64 `json:"start" doc:"Offset of the first byte that is kept."`
	End   int64 `json:"end" doc:"How many bytes were printed."`
}

func newListedExecution(info session.ExecutionInfo) listedExecution {
	listed := listedExecution{
		ExecutionID: info.ID, SessionID: info.SessionID, Language: info.Language, Command: info.Command, Status: info.Status,
		CreatedAt: wireTime(info.CreatedAt), StartedAt: timeOrNull(info.StartedAt), EndedAt: timeOrNull(info.EndedAt),
		TTY: info.TTY, Background: info.Background, Stdout: keptWindow(info.Stdout), Stderr: keptWindow(info.Stderr),
	}
	if info.EndReason != "" {
		listed.ExitCode, listed.EndReason = &info.ExitCode, &info.EndReason
	}
	return listed
}

type attachResult struct {
	ExecutionID  string                  `json:"executionId" doc:"Which execution."`
	SessionID    string                  `json:"sessionId" doc:"Where it runs; empty while it is queued."`
	Status       session.ExecutionStatus `json:"status" doc:"How far it is."`
	StdoutOffset int64                   `json:"stdoutOffset" doc:"Where stdout goes on: later than was asked for where that is not kept."`
	StderrOffset int64                   `json:"stderrOffset" doc:"Where stderr goes on."`
}

type detachResult struct {
	ExecutionID string                  `json:"executionId" doc:"Which execution."`
	Status      session.ExecutionStatus `json:"status" doc:"How far it is."`
	Detached    bool                    `json:"detached" doc:"The connection did follow it."`
}

type inputResult struct {
	ExecutionID string                  `json:"executionId" doc:"Which execution."`
	Status      session.ExecutionStatus `json:"status" doc:"How far it is."`
	Bytes       int                     `json:"bytes" doc:"How many bytes were written."`
}
