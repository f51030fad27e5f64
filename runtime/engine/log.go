package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// routeLogs sends what containerd logs to l, as Options.Log says. containerd
// logs through one logger for a process, so the last engine opened has it.
func routeLogs(l *slog.Logger) {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	logger := log.L.Logger
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.WarnLevel)
	hooks := logrus.LevelHooks{}
	hooks.Add(slogHook{l.With("component", "containerd")})
	logger.ReplaceHooks(hooks)
}

type slogHook struct{ log *slog.Logger }

func (slogHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel}
}

func (h slogHook) Fire(e *logrus.Entry) error {
	if err, ok := e.Data[logrus.ErrorKey].(error); ok && expected(e.Message, err) {
		return nil
	}
	level := slog.LevelWarn
	if e.Level == logrus.WarnLevel {
		level = slog.LevelDebug
	}
	attrs := make([]slog.Attr, 0, len(e.Data))
	for k, v := range e.Data {
		attrs = append(attrs, slog.Any(k, v))
	}
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background() //nolint:forbidigo // logrus entries carry no context unless given one
	}
	h.log.LogAttrs(ctx, level, e.Message, attrs...)
	return nil
}

// expected says whether an error is one of the usual course of things.
func expected(message string, err error) bool {
	switch message {
	case "copy shim log":
		return errors.Is(err, os.ErrClosed) // of every shim that ends
	case "failed to delete dead shim", "failed to clean up after shim disconnected":
		// Of every shim that removed its container, and then its bundle, in which
		// containerd would clean up.
		return errors.Is(err, fs.ErrNotExist)
	default:
		return false
	}
}
