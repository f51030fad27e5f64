package rpc

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"time"
	"unicode/utf8"

	"codebeaker/session"
)

// The types here are the results of the wire. A field of the documented API is
// never renamed, retyped or dropped.

type initializeResult struct {
	ServerInfo         serverInfo         `json:"serverInfo"`
	ProtocolVersion    string             `json:"protocolVersion"`
	ServerCapabilities serverCapabilities `json:"serverCapabilities"`
}

type serverInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type serverCapabilities struct {
	SupportsStreaming  bool         `json:"supportsStreaming"`
	SupportedLanguages []string     `json:"supportedLanguages"`
	Limits             serverLimits `json:"limits"`
}

// serverLimits are those that a client can keep to by itself.
type serverLimits struct {
	MaxMessageBytes    int64 `json:"maxMessageBytes"`
	MaxBatch           int   `json:"maxBatch"`
	MaxPendingRequests int   `json:"maxPendingRequests"`
}

type languageListResult struct {
	Languages []languageResult `json:"languages"`
}

type languageResult struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
	Version string   `json:"version"`
	Image   string   `json:"image"`
	Ready   bool     `json:"ready"`
}

type createResult struct {
	SessionID   string        `json:"sessionId"`
	ContainerID string        `json:"containerId"`
	Language    string        `json:"language"`
	CreatedAt   wireTime      `json:"createdAt"`
	State       session.State `json:"state"`
	Config      sessionConfig `json:"config"`
}

// sessionConfig is what is in force for a session.
type sessionConfig struct {
	IdleTimeoutMinutes float64 `json:"idleTimeoutMinutes"`
	MaxLifetimeMinutes float64 `json:"maxLifetimeMinutes"`
	MemoryLimitMB      int64   `json:"memoryLimitMB"`
	CPULimit           float64 `json:"cpuLimit"`
	PidsLimit          int64   `json:"pidsLimit"`
}

func newCreateResult(info session.Info) createResult {
	return createResult{
		SessionID:   info.ID,
		ContainerID: info.ContainerID,
		Language:    info.Language,
		CreatedAt:   wireTime(info.CreatedAt),
		State:       info.State,
		Config: sessionConfig{
			IdleTimeoutMinutes: info.IdleTimeout.Minutes(),
			MaxLifetimeMinutes: info.MaxLifetime.Minutes(),
			MemoryLimitMB:      info.Limits.MemoryBytes >> 20,
			CPULimit:           info.Limits.CPUs,
			PidsLimit:          info.Limits.Pids,
		},
	}
}

type listResult struct {
	Count    int             `json:"count"`
	Sessions []listedSession `json:"sessions"`
}

type listedSession struct {
	SessionID      string        `json:"sessionId"`
	ContainerID    string        `json:"containerId"`
	Language       string        `json:"language"`
	CreatedAt      wireTime      `json:"createdAt"`
	LastActivity   wireTime      `json:"lastActivity"`
	State          session.State `json:"state"`
	ExecutionCount int           `json:"executionCount"`
	// IdleMinutes is the time since LastActivity.
	IdleMinutes float64 `json:"idleMinutes"`
	// LifetimeMinutes is the time since CreatedAt.
	LifetimeMinutes float64 `json:"lifetimeMinutes"`
}

func newListedSession(info session.Info, now time.Time) listedSession {
	return listedSession{
		SessionID:       info.ID,
		ContainerID:     info.ContainerID,
		Language:        info.Language,
		CreatedAt:       wireTime(info.CreatedAt),
		LastActivity:    wireTime(info.LastActivity),
		State:           info.State,
		ExecutionCount:  info.ExecutionCount,
		IdleMinutes:     minutesSince(info.LastActivity, now),
		LifetimeMinutes: minutesSince(info.CreatedAt, now),
	}
}

// minutesSince rounds to a ten thousandth, which is six milliseconds.
func minutesSince(t, now time.Time) float64 {
	return math.Round(max(0, now.Sub(t).Minutes())*1e4) / 1e4
}

type closeResult struct {
	SessionID string `json:"sessionId"`
	Closed    bool   `json:"closed"`
}

type executeResult struct {
	// ID is the command's, where it had one.
	ID         json.RawMessage `json:"id,omitempty"`
	Success    bool            `json:"success"`
	Result     any             `json:"result"`
	Error      *string         `json:"error"`
	DurationMs int64           `json:"durationMs"`
}

type writeFileResult struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

type readFileResult struct {
	Path     string `json:"path"`
	Content  string `json:"content"`
	Bytes    int    `json:"bytes"`
	Encoding string `json:"encoding"`
}

// newReadFileResult sends as base64 what is no text, and what was asked for so.
func newReadFileResult(r *session.ReadFileResult, asBase64 bool) readFileResult {
	result := readFileResult{Path: r.Path, Bytes: len(r.Content), Encoding: "utf-8"}
	if asBase64 || !utf8.Valid(r.Content) {
		result.Encoding = "base64"
		result.Content = base64.StdEncoding.EncodeToString(r.Content)
	} else {
		result.Content = string(r.Content)
	}
	return result
}

type executionResult struct {
	ExecutionID string `json:"executionId"`
	ExitCode    int    `json:"exitCode"`
	Stdout      string `json:"stdout"`
	Stderr      string `json:"stderr"`
	// StdoutEncoding and StderrEncoding are "base64" where the stream is no
	// text, and absent otherwise.
	StdoutEncoding string            `json:"stdoutEncoding,omitempty"`
	StderrEncoding string            `json:"stderrEncoding,omitempty"`
	DurationMs     int64             `json:"durationMs"`
	EndReason      session.EndReason `json:"endReason"`
	Signal         *string           `json:"signal"`
	Truncated      truncatedStreams  `json:"truncated"`
	Usage          usageResult       `json:"usage"`
}

type truncatedStreams struct {
	Stdout bool `json:"stdout"`
	Stderr bool `json:"stderr"`
}

type usageResult struct {
	CPUMs           int64  `json:"cpuMs"`
	PeakMemoryBytes uint64 `json:"peakMemoryBytes"`
}

func newExecutionResult(r *session.ExecutionResult) executionResult {
	result := executionResult{
		ExecutionID: r.ID,
		ExitCode:    r.ExitCode,
		DurationMs:  r.Duration.Milliseconds(),
		EndReason:   r.EndReason,
		Signal:      textOrNull(r.Signal),
		Truncated:   truncatedStreams{r.StdoutTruncated, r.StderrTruncated},
		Usage:       usageResult{r.Usage.CPU.Milliseconds(), r.Usage.PeakMemoryBytes},
	}
	result.Stdout, result.StdoutEncoding = streamText(r.Stdout, r.StdoutTruncated)
	result.Stderr, result.StderrEncoding = streamText(r.Stderr, r.StderrTruncated)
	return result
}

// streamText returns what a program wrote as text, or as base64 where it is no
// text. The last character of truncated text is left out if it was cut.
func streamText(out []byte, truncated bool) (text, encoding string) {
	whole := out
	if truncated {
		whole = trimPartialRune(out)
	}
	if utf8.Valid(whole) {
		return string(whole), ""
	}
	return base64.StdEncoding.EncodeToString(out), "base64"
}

// trimPartialRune cuts off an incomplete character at the end.
func trimPartialRune(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// wireTime is a time in RFC 3339, UTC, to the millisecond.
type wireTime time.Time

func (t wireTime) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.999Z07:00"), nil
}
