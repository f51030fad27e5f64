package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"codebeaker/cmd/codebeaker/internal/metrics"
	"codebeaker/rpc"
	"codebeaker/runtime/sched"
	"codebeaker/session"
	"codebeaker/session/output"
)

const (
	defaultListen = "127.0.0.1:5000"
	// closeTimeout bounds what follows the drain: killing and removing.
	closeTimeout = 60 * time.Second
	// readyTimeout bounds what a request for the server's health waits for.
	readyTimeout = 5 * time.Second
)

func newServeCommand() *cobra.Command {
	cfg := &config{}
	var try string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve sessions over WebSocket until SIGTERM or Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.load(cmd); err != nil {
				return err
			}
			log, err := cfg.logger(os.Stderr)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, log, func(ctx context.Context, url string) error {
				if try == "" {
					return nil
				}
				return tryServer(ctx, cmd.OutOrStdout(), url, try)
			})
		},
	}
	cfg.bindHost(cmd.Flags())
	cfg.bindSandboxes(cmd.Flags())
	cfg.bindServe(cmd.Flags())
	cmd.Flags().StringVar(&try, "try", "", "run a first program in this `language` once the server serves, and show what came back")
	return cmd
}

// serve runs a server until ctx ends, and then ends it in order. started is
// called with the URL of the endpoint once it serves.
func serve(ctx context.Context, cfg *config, log *slog.Logger, started func(ctx context.Context, url string) error) error {
	if err := sched.Share(); err != nil { // it costs time, no more
		log.DebugContext(ctx, "share the processors with programs", "error", err)
	}
	s, err := startServer(ctx, cfg, log)
	if err != nil {
		return err
	}
	for _, f := range examine(ctx, cfg) {
		if f.level != levelOK {
			log.WarnContext(ctx, "this host: "+f.text, "subject", f.subject, "level", f.level)
		}
	}
	log.InfoContext(ctx, "serving", "url", s.url(), "root", cfg.Root, "containerd", s.host.engine.Version(), "version", version)
	// A supervisor that is not there is no error.
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.WarnContext(ctx, "tell the supervisor that the server is ready", "error", err)
	}
	err = started(ctx, s.url())
	if ctx.Err() != nil {
		err = nil // interrupted
	}
	if err == nil {
		err = s.wait(ctx, log)
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyStopping); err != nil {
		log.WarnContext(ctx, "tell the supervisor that the server stops", "error", err)
	}
	log.InfoContext(ctx, "shutting down", "drain", time.Duration(cfg.DrainTimeout))
	return errors.Join(err, s.stop(context.WithoutCancel(ctx), time.Duration(cfg.DrainTimeout)))
}

// server is everything that serves, in the order in which it was started.
type server struct {
	host     *host
	sessions *session.Manager
	rpc      *rpc.Server
	http     *http.Server
	listener net.Listener
	failed   chan error // one value, where serving ended by itself
}

// startServer starts everything and returns when connections are taken.
func startServer(ctx context.Context, cfg *config, log *slog.Logger) (_ *server, retErr error) {
	s := &server{failed: make(chan error, 1)}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, s.stop(context.WithoutCancel(ctx), 0))
		}
	}()
	webSockets, all, err := connections()
	if err != nil {
		return nil, err
	}
	// First, as it fails the soonest, and harms nothing.
	if s.listener, err = listen(ctx, cfg.Listen, all); err != nil {
		return nil, err
	}
	if s.host, err = openHost(ctx, cfg, log, "codebeaker serve"); err != nil {
		return nil, err
	}
	m, kept := metrics.New(metrics.Options{Version: version, Languages: cfg.catalogue.Names(), Log: log}), &output.Kept{}
	if s.sessions, err = s.host.newManager(ctx, cfg, log, m, kept); err != nil {
		return nil, err
	}
	s.sessions.StartPool(ctx)
	s.rpc = rpc.New(rpc.Options{
		Sessions:       s.sessions,
		Commands:       s.sessions,
		Executions:     s.sessions,
		Catalogue:      s.sessions,
		Log:            log,
		Version:        version,
		AllowedOrigins: cfg.AllowOrigins,
		Observer:       m,
		Metrics:        m.Handler(),
		MaxConnections: webSockets,
		MaxHeldBytes:   cfg.MessagesMB << 20,
		Ready: func() error {
			if err := s.alive(context.WithoutCancel(ctx), readyTimeout); err != nil {
				log.ErrorContext(ctx, "the server does not answer itself", "error", err)
				return errors.New("sessions or images do not answer; the log says why")
			}
			return nil
		},
	})
	m.Watch(metrics.Sources{Sessions: s.sessions, Server: s.rpc, Output: kept, Shims: s.host.shims(cfg).Memory})
	s.http = newHTTPServer(s.rpc.Handler())
	s.http.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	go func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve on %s: %w", s.listener.Addr(), err)
		}
	}()
	return s, nil
}

// wait returns when ctx ends, or with why serving ended by itself. A supervisor
// that asks for it is told in time that the server lives, while it does.
func (s *server) wait(ctx context.Context, log *slog.Logger) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.WarnContext(ctx, "read the supervisor's watchdog interval", "error", err)
	}
	var tick <-chan time.Time // never, without a watchdog
	if interval > 0 {
		ticker := time.NewTicker(interval / 3)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-tick:
		}
		if err := s.alive(ctx, interval/3); err != nil {
			log.ErrorContext(ctx, "the server does not answer itself", "error", err)
			continue
		}
		if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
			log.WarnContext(ctx, "tell the supervisor that the server lives", "error", err)
		}
	}
}

// alive asks what every request needs: the sessions and containerd's metadata.
func (s *server) alive(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := s.sessions.List(ctx)
		if err == nil {
			_, err = s.sessions.Languages(ctx)
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// url returns where clients connect.
func (s *server) url() string { return "ws://" + s.listener.Addr().String() + rpc.Path }

// stop ends what was started, the last first: no new requests, the running ones
// drained, sessions closed, containerd stopped.
func (s *server) stop(ctx context.Context, drain time.Duration) error {
	var errs []error
	closeCtx, cancel := context.WithTimeout(ctx, drain+closeTimeout)
	defer cancel()
	drainCtx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	if s.rpc != nil {
		// Both: a program that does not end is ended by its session, and its
		// answer still reaches the client.
		done := make(chan error, 1)
		go func() { done <- s.sessions.Shutdown(drainCtx) }()
		errs = append(errs, s.rpc.Shutdown(closeCtx), <-done)
	} else if s.sessions != nil {
		errs = append(errs, s.sessions.Shutdown(drainCtx))
	}
	if s.http != nil {
		errs = append(errs, s.http.Shutdown(closeCtx))
	}
	if s.listener != nil {
		s.listener.Close() // closed by http, where that was started
	}
	if s.host != nil {
		errs = append(errs, s.host.close())
	}
	return errors.Join(errs...)
}
