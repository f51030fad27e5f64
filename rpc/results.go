package rpc

import (
	"encoding/json"
	"math"
	"time"

	"codebeaker/session"
)

// The types here are the results of the wire. A field of the documented API is
// never renamed, retyped or dropped.

type initializeResult struct {
	ServerInfo         serverInfo         `json:"serverInfo" doc:"Who the server is."`
	ProtocolVersion    string             `json:"protocolVersion" doc:"Changes when a client has to know of a change."`
	ServerCapabilities serverCapabilities `json:"serverCapabilities" doc:"What the server can do."`
}

type serverInfo struct {
	Name    string `json:"name" doc:"What it is called."`
	Version string `json:"version" doc:"Which build it is."`
}

type serverCapabilities struct {
	SupportsStreaming  bool         `json:"supportsStreaming" doc:"It tells what programs print while they run."`
	SupportedLanguages []string     `json:"supportedLanguages" doc:"Names of the languages that it has."`
	Limits             serverLimits `json:"limits" doc:"What a client can keep to by itself."`
}

type serverLimits struct {
	MaxMessageBytes    int64 `json:"maxMessageBytes" doc:"The longest message that is taken."`
	MaxBatch           int   `json:"maxBatch" doc:"The most entries of a batch."`
	MaxPendingRequests int   `json:"maxPendingRequests" doc:"How many requests may be without a reply before the server reads no further. Those that wait for an earlier one do not count."`
	MaxFollowed        int   `json:"maxFollowed" doc:"How many executions a connection may follow at one time."`
}

type languageListResult struct {
	Languages []languageResult `json:"languages" doc:"All languages of the catalogue."`
}

type languageResult struct {
	Name    string   `json:"name" doc:"What the language is called here."`
	Aliases []string `json:"aliases" doc:"Other names that are taken for it."`
	Version string   `json:"version" doc:"That of its toolchain; empty where there is no image."`
	Image   string   `json:"image" doc:"The name of its image."`
	Ready   bool     `json:"ready" doc:"Sessions can be made."`
}

type createResult struct {
	SessionID   string        `json:"sessionId" doc:"Names the session in requests. It cannot be guessed."`
	ContainerID string        `json:"containerId" doc:"Names the session's container in containerd."`
	Language    string        `json:"language" doc:"Name of the language."`
	CreatedAt   wireTime      `json:"createdAt" doc:"When the session was made."`
	State       session.State `json:"state" doc:"Where the session is in its life."`
	Config      sessionConfig `json:"config" doc:"What is in force."`
	// Timings are nil where the client has not asked.
	Timings *timingsResult `json:"timings,omitempty" doc:"What making the session took, where the request asks for it."`
}

type timingsResult struct {
	Pooled  bool          `json:"pooled" doc:"The session was kept ready, and not started for the request."`
	TotalMs float64       `json:"totalMs" doc:"All of it, in milliseconds."`
	Stages  []stageResult `json:"stages" doc:"What it was made of, in the order of their ends. Some are at the same time as others."`
}

type stageResult struct {
	Stage session.Stage `json:"stage" doc:"What was done."`
	Ms    float64       `json:"ms" doc:"How long it took, in milliseconds."`
}

func newTimingsResult(t session.Timings) *timingsResult {
	result := &timingsResult{Pooled: t.Pooled, TotalMs: milliseconds(t.Total), Stages: make([]stageResult, 0, len(t.Stages))}
	for _, s := range t.Stages {
		result.Stages = append(result.Stages, stageResult{Stage: s.Stage, Ms: milliseconds(s.Took)})
	}
	return result
}

// milliseconds rounds to a microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type sessionConfig struct {
	IdleTimeoutMinutes float64 `json:"idleTimeoutMinutes" doc:"Minutes without use after which the session closes."`
	MaxLifetimeMinutes float64 `json:"maxLifetimeMinutes" doc:"Minutes after which it closes in any case."`
	MemoryLimitMB      int64   `json:"memoryLimitMB" doc:"Memory, in MiB."`
	CPULimit           float64 `json:"cpuLimit" doc:"Processor time, in cores."`
	PidsLimit          int64   `json:"pidsLimit" doc:"Processes and threads."`
}

func newSessionConfig(info session.Info) sessionConfig {
	return sessionConfig{
		IdleTimeoutMinutes: info.IdleTimeout.Minutes(),
		MaxLifetimeMinutes: info.MaxLifetime.Minutes(),
		MemoryLimitMB:      info.Limits.MemoryBytes >> 20,
		CPULimit:           info.Limits.CPUs,
		PidsLimit:          info.Limits.Pids,
	}
}

func newCreateResult(info session.Info) createResult {
	return createResult{
		SessionID:   info.ID,
		ContainerID: info.ContainerID,
		Language:    info.Language,
		CreatedAt:   wireTime(info.CreatedAt),
		State:       info.State,
		Config:      newSessionConfig(info),
	}
}

type listResult struct {
	Count    int             `json:"count" doc:"How many sessions there are."`
	Sessions []listedSession `json:"sessions" doc:"All of them, oldest first."`
}

type listedSession struct {
	SessionID       string        `json:"sessionId" doc:"Names the session in requests."`
	ContainerID     string        `json:"containerId" doc:"Names the session's container in containerd."`
	Language        string        `json:"language" doc:"Name of the language."`
	CreatedAt       wireTime      `json:"createdAt" doc:"When the session was made."`
	LastActivity    wireTime      `json:"lastActivity" doc:"When it was last used."`
	State           session.State `json:"state" doc:"Where the session is in its life."`
	ExecutionCount  int           `json:"executionCount" doc:"How many commands it was given, those for files too."`
	IdleMinutes     float64       `json:"idleMinutes" doc:"Minutes since lastActivity."`
	LifetimeMinutes float64       `json:"lifetimeMinutes" doc:"Minutes since createdAt."`
}

// sessionResult is all that there is to say of a session.
type sessionResult struct {
	listedSession
	Config sessionConfig `json:"config" doc:"What is in force."`
}

func newSessionResult(info session.Info, now time.Time) sessionResult {
	return sessionResult{newListedSession(info, now), newSessionConfig(info)}
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
	SessionID string `json:"sessionId" doc:"Which session."`
	Closed    bool   `json:"closed" doc:"True: it takes no more commands, and what ran in it has ended."`
}

type executeResult struct {
	ID         json.RawMessage `json:"id,omitempty" doc:"The command's, where it had one."`
	Success    bool            `json:"success" doc:"It was done; of a program, its exit code is 0."`
	Result     commandResult   `json:"result" doc:"What belongs to the type of the command."`
	Error      *string         `json:"error" doc:"Why there is no success, for a person."`
	DurationMs int64           `json:"durationMs" doc:"How long it took."`
}

// textOrNull is null for a person to whom there is nothing to say.
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

// timeOrNull is null for what has not happened.
func timeOrNull(t time.Time) *wireTime {
	if t.IsZero() {
		return nil
	}
	return (*wireTime)(&t)
}
