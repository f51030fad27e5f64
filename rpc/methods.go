package rpc

import (
	"context"
	"encoding/json"
	"time"

	"codebeaker/session"
)

// protocolVersion changes when a client has to know of a change.
const protocolVersion = "1.0"

// method is what a request can name. To add one is to add an entry to
// Server.methodTable.
type method struct {
	// ordered says that calls which name the same session wait for each other.
	ordered bool
	// call carries out a request. The params are a valid JSON object. Errors go
	// through wireErrorOf.
	call func(ctx context.Context, params json.RawMessage) (any, error)
}

func (s *Server) methodTable() map[string]method {
	return map[string]method{
		"initialize":      {call: s.initialize},
		"language.list":   {call: s.languageList},
		"session.create":  {call: s.sessionCreate},
		"session.execute": {call: s.sessionExecute, ordered: true},
		"session.list":    {call: s.sessionList},
		"session.close":   {call: s.sessionClose, ordered: true},
	}
}

func (s *Server) initialize(ctx context.Context, _ json.RawMessage) (any, error) {
	languages, err := s.opts.Sessions.Languages(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(languages))
	for _, l := range languages {
		names = append(names, l.Name)
	}
	return initializeResult{
		ServerInfo:      serverInfo{s.opts.Name, s.opts.Version},
		ProtocolVersion: protocolVersion,
		ServerCapabilities: serverCapabilities{
			SupportedLanguages: names,
			Limits: serverLimits{
				MaxMessageBytes:    s.opts.MaxMessageBytes,
				MaxBatch:           s.opts.MaxBatch,
				MaxPendingRequests: s.opts.MaxPendingRequests,
			},
		},
	}, nil
}

func (s *Server) languageList(ctx context.Context, _ json.RawMessage) (any, error) {
	languages, err := s.opts.Sessions.Languages(ctx)
	if err != nil {
		return nil, err
	}
	result := languageListResult{Languages: make([]languageResult, 0, len(languages))}
	for _, l := range languages {
		if l.Aliases == nil {
			l.Aliases = []string{} // null would not be an array
		}
		result.Languages = append(result.Languages, languageResult(l))
	}
	return result, nil
}

func (s *Server) sessionCreate(ctx context.Context, params json.RawMessage) (any, error) {
	var (
		req      session.CreateRequest
		memoryMB int64
	)
	// Old clients also send runtimePreference, runtimeType, persistFilesystem
	// and security. Like all unknown fields they have no effect.
	err := decodeObject("", params,
		field{"language", true, nonEmptyTo(&req.Language)},
		field{"idleTimeoutMinutes", false, durationTo(&req.IdleTimeout, time.Minute)},
		field{"maxLifetimeMinutes", false, durationTo(&req.MaxLifetime, time.Minute)},
		field{"memoryLimitMB", false, wholeTo(&memoryMB, 1, 1<<43-1)},
		field{"cpuLimit", false, positiveTo(&req.Limits.CPUs)},
		field{"pidsLimit", false, wholeTo(&req.Limits.Pids, 1, 1<<22)},
		field{"env", false, stringMapTo(&req.Env)},
	)
	if err != nil {
		return nil, err
	}
	req.Limits.MemoryBytes = memoryMB << 20
	info, err := s.opts.Sessions.Create(ctx, req)
	if err != nil {
		return nil, err
	}
	return newCreateResult(info), nil
}

func (s *Server) sessionExecute(ctx context.Context, params json.RawMessage) (any, error) {
	var (
		id         string
		rawCommand []byte
		commandID  json.RawMessage
	)
	err := decodeObject("", params,
		field{"sessionId", true, nonEmptyTo(&id)},
		field{"command", true, objectTo(&rawCommand)},
		field{"stream", false, notYet("streaming")},
	)
	if err != nil {
		return nil, err
	}
	err = decodeObject("command", rawCommand, field{"id", false, idTo(&commandID)})
	if err != nil {
		return nil, err
	}
	cmd, err := decodeCommand(s.commands, rawCommand)
	if err != nil {
		return nil, err
	}

	outcome, err := s.opts.Sessions.Execute(ctx, id, cmd.Command)
	if err != nil {
		return nil, err
	}
	result, err := cmd.result(outcome.Result)
	if err != nil {
		return nil, err
	}
	return executeResult{
		ID:         commandID,
		Success:    outcome.Success,
		Result:     result,
		Error:      textOrNull(outcome.Error),
		DurationMs: outcome.Duration.Milliseconds(),
	}, nil
}

func (s *Server) sessionList(ctx context.Context, _ json.RawMessage) (any, error) {
	infos, err := s.opts.Sessions.List(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	result := listResult{Count: len(infos), Sessions: make([]listedSession, 0, len(infos))}
	for _, info := range infos {
		result.Sessions = append(result.Sessions, newListedSession(info, now))
	}
	return result, nil
}

func (s *Server) sessionClose(ctx context.Context, params json.RawMessage) (any, error) {
	var id string
	if err := decodeObject("", params, field{"sessionId", true, nonEmptyTo(&id)}); err != nil {
		return nil, err
	}
	if err := s.opts.Sessions.Close(ctx, id); err != nil {
		return nil, err
	}
	return closeResult{SessionID: id, Closed: true}, nil
}

// sessionOf returns the session that params name, or "" where they name none,
// which the method will complain about.
func sessionOf(params json.RawMessage) string {
	var id string
	if len(params) == 0 || params[0] != '{' {
		return ""
	}
	_ = eachField(params, func(name, value []byte) error {
		if string(name) == "sessionId" && value[0] == '"' {
			id = string(unquote(value))
		}
		return nil
	})
	return id
}
