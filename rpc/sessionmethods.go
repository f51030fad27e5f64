package rpc

import (
	"context"
	"time"

	"codebeaker/session"
)

type initializeParams struct {
	ClientInfo anything `json:"clientInfo" doc:"Who the client is. It has no effect."`
}

func (s *Server) initialize(ctx context.Context, _ *caller, _ *initializeParams) (initializeResult, error) {
	languages, err := s.opts.Catalogue.Languages(ctx)
	if err != nil {
		return initializeResult{}, err
	}
	names := make([]string, 0, len(languages))
	for _, l := range languages {
		names = append(names, l.Name)
	}
	return initializeResult{
		ServerInfo:      serverInfo{s.opts.Name, s.opts.Version},
		ProtocolVersion: protocolVersion,
		ServerCapabilities: serverCapabilities{
			SupportsStreaming:  true,
			SupportedLanguages: names,
			Limits: serverLimits{
				MaxMessageBytes:    s.opts.MaxMessageBytes,
				MaxBatch:           s.opts.MaxBatch,
				MaxPendingRequests: s.opts.MaxPendingRequests,
				MaxFollowed:        s.opts.MaxFollowed,
			},
		},
	}, nil
}

func (s *Server) languageList(ctx context.Context, _ *caller, _ *noParams) (languageListResult, error) {
	languages, err := s.opts.Catalogue.Languages(ctx)
	if err != nil {
		return languageListResult{}, err
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

type createParams struct {
	Language    string            `json:"language" takes:"required,nonempty" doc:"Name or alias of a language."`
	IdleTimeout time.Duration     `json:"idleTimeoutMinutes" takes:"unit=min,limit,default=30" doc:"Minutes without use after which the session closes; fractions are taken."`
	MaxLifetime time.Duration     `json:"maxLifetimeMinutes" takes:"unit=min,limit,default=120" doc:"Minutes after which the session closes in any case."`
	MemoryMB    int64             `json:"memoryLimitMB" takes:"min=1,max=8796093022207,limit,default=512" doc:"Memory for all programs of the session together, in MiB, with no swap beside it."`
	CPUs        float64           `json:"cpuLimit" takes:"limit,default=1" doc:"Processor time for all of them, in cores."`
	Pids        int64             `json:"pidsLimit" takes:"min=1,max=4194304,limit,default=256" doc:"Processes and threads of all of them."`
	Env         map[string]string `json:"env" doc:"Added to the environment of every program."`
	Timings     bool              `json:"timings" takes:"default=false" doc:"Asks what making the session took."`
	ignoredParams
}

// ignoredParams are sent by old clients.
type ignoredParams struct {
	RuntimePreference anything `json:"runtimePreference" doc:"Without effect."`
	RuntimeType       anything `json:"runtimeType" doc:"Without effect."`
	PersistFilesystem anything `json:"persistFilesystem" doc:"Without effect."`
	Security          anything `json:"security" doc:"Without effect."`
}

func (s *Server) sessionCreate(ctx context.Context, from *caller, p *createParams) (createResult, error) {
	info, err := s.opts.Sessions.Create(ctx, session.CreateRequest{
		Language:    p.Language,
		IdleTimeout: p.IdleTimeout,
		MaxLifetime: p.MaxLifetime,
		Limits:      session.Limits{MemoryBytes: p.MemoryMB << 20, CPUs: p.CPUs, Pids: p.Pids},
		Env:         p.Env,
	})
	if err != nil {
		return createResult{}, err
	}
	from.undo = append(from.undo, func(ctx context.Context) {
		if err := s.opts.Sessions.Close(ctx, info.ID); err != nil {
			from.log.Warn("close a session whose creation was cancelled", "container", info.ContainerID, "error", err)
		}
	})
	result := newCreateResult(info)
	if p.Timings {
		result.Timings = newTimingsResult(info.Timings)
	}
	return result, nil
}

// sessionParams name a session.
type sessionParams struct {
	SessionID string `json:"sessionId" takes:"required,nonempty" doc:"Which session."`
}

func (s *Server) sessionGet(ctx context.Context, _ *caller, p *sessionParams) (sessionResult, error) {
	info, err := s.opts.Sessions.Get(ctx, p.SessionID)
	if err != nil {
		return sessionResult{}, err
	}
	return newSessionResult(info, s.now()), nil
}

func (s *Server) sessionTouch(ctx context.Context, _ *caller, p *sessionParams) (sessionResult, error) {
	info, err := s.opts.Sessions.Touch(ctx, p.SessionID)
	if err != nil {
		return sessionResult{}, err
	}
	return newSessionResult(info, s.now()), nil
}

func (s *Server) sessionList(ctx context.Context, _ *caller, _ *noParams) (listResult, error) {
	infos, err := s.opts.Sessions.List(ctx)
	if err != nil {
		return listResult{}, err
	}
	now := s.now()
	result := listResult{Count: len(infos), Sessions: make([]listedSession, 0, len(infos))}
	for _, info := range infos {
		result.Sessions = append(result.Sessions, newListedSession(info, now))
	}
	return result, nil
}

func (s *Server) sessionClose(ctx context.Context, from *caller, p *sessionParams) (closeResult, error) {
	if err := s.opts.Sessions.Close(ctx, p.SessionID); err != nil {
		return closeResult{}, err
	}
	// What the client is told of the session's end comes before the reply.
	if w := from.audience.watching(p.SessionID); w != nil {
		select {
		case <-w.done:
		case <-w.apart:
		case <-ctx.Done():
		}
	}
	return closeResult{SessionID: p.SessionID, Closed: true}, nil
}
