package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"gopkg.in/natefinch/lumberjack.v2"

	"llm-auto-optimizer/config"
)

// The components whose messages have a level of their own, by their names in [log.levels].
const (
	logServer    = "server" // start, shutdown, settings, prices
	logProxy     = "proxy"
	logAdmin     = "admin"
	logStorage   = "storage"
	logState     = "state"
	logJobs      = "jobs"
	logOptimizer = "optimizer"
)

// logs is the program's own log. Levels can be changed at any time.
type logs struct {
	out    io.Writer
	levels map[string]*levelWriter
}

func newLogs(c *config.Log, w io.Writer) *logs {
	if c.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	}
	l := &logs{out: w, levels: map[string]*levelWriter{}}
	for name := range componentLevels(c) {
		l.levels[name] = &levelWriter{Writer: w}
	}
	l.set(c)
	return l
}

// of is the log of a component.
func (l *logs) of(component string) zerolog.Logger {
	return zerolog.New(l.levels[component]).With().Timestamp().Str("component", component).Logger()
}

// set puts other levels in force.
func (l *logs) set(c *config.Log) {
	for name, level := range componentLevels(c) {
		if level == "" {
			level = c.Level
		}
		l.levels[name].set(level)
	}
}

func componentLevels(c *config.Log) map[string]string {
	return map[string]string{
		logServer: c.Levels.Server, logProxy: c.Levels.Proxy, logAdmin: c.Levels.Admin, logStorage: c.Levels.Storage, logState: c.Levels.State,
		logJobs: c.Levels.Jobs, logOptimizer: c.Levels.Optimizer,
	}
}

// levelWriter lets the messages of a level that can be changed through.
type levelWriter struct {
	io.Writer
	least atomic.Int32
}

func (l *levelWriter) set(level string) {
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		panic("BUG: log level passed validation: " + level)
	}
	l.least.Store(int32(parsed))
}

// WriteLevel implements zerolog.LevelWriter.
func (l *levelWriter) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	if int32(level) < l.least.Load() {
		return len(p), nil
	}
	return l.Write(p)
}

// openAccessLog opens where the access log goes: a nil writer means nowhere, a nil file that it is none of ours.
func openAccessLog(c *config.Log, stdout, stderr io.Writer) (to io.Writer, file *lumberjack.Logger, err error) {
	switch c.Access {
	case "off":
		return nil, nil, nil
	case "stdout":
		return stdout, nil, nil
	case "stderr":
		return stderr, nil, nil
	}
	// Opened once here, so that a path that can't be written is told at the start and not by the first line.
	if err := os.MkdirAll(filepath.Dir(c.Access), 0o755); err != nil {
		return nil, nil, fmt.Errorf("%w: log.access: %w", errUsage, err)
	}
	f, err := os.OpenFile(c.Access, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: log.access: %w", errUsage, err)
	}
	if err := f.Close(); err != nil {
		return nil, nil, fmt.Errorf("log.access: %w", err)
	}
	const mebibyte, day = 1 << 20, 24 * time.Hour
	file = &lumberjack.Logger{
		Filename: c.Access, MaxSize: max(1, int(c.MaxSize/mebibyte)), MaxBackups: c.MaxBackups,
		MaxAge: int(c.MaxAge / day), Compress: c.Compress,
	}
	return file, file, nil
}

// rotate begins a new access log file, unless the present one is empty.
func (g *gateway) rotate(file *lumberjack.Logger) error {
	if info, err := os.Stat(file.Filename); err != nil || info.Size() == 0 {
		return err
	}
	return file.Rotate()
}
