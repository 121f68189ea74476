package proxy

import (
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
)

const (
	// logBuffer is how much of the log may wait to be written. Lines beyond it are dropped and counted: a request never
	// waits for a disk.
	logBuffer = 1 << 20
	// logFlush is how long a line may wait.
	logFlush = 200 * time.Millisecond
)

// AccessLog writes one JSON line per exchange, off the request path. It is safe for concurrent use.
type AccessLog struct {
	to   io.Writer // nil: no log
	json zerolog.Logger

	mu      sync.Mutex // held for one copy of a line
	filling []byte
	dropped uint64
	lines   uint64
	errors  uint64

	spare      []byte // the writer's, while it does not write
	wake       chan struct{}
	stop, done chan struct{}
}

// NewAccessLog starts a log that writes to to; nil turns it off. Close ends it.
func NewAccessLog(to io.Writer) *AccessLog {
	l := &AccessLog{to: to, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	l.json = zerolog.New(appender{l})
	if to == nil {
		close(l.done)
		return l
	}
	go l.run()
	return l
}

// appender is where zerolog leaves a finished line.
type appender struct{ l *AccessLog }

func (a appender) Write(line []byte) (int, error) {
	l := a.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.filling)+len(line) > logBuffer {
		l.dropped++
		return len(line), nil
	}
	l.lines++
	l.filling = append(l.filling, line...)
	if len(l.filling) > logBuffer/2 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

func (l *AccessLog) run() {
	defer close(l.done)
	tick := time.NewTicker(logFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.wake:
		case <-l.stop:
			l.flush()
			return
		}
		l.flush()
	}
}

// flush swaps the buffers and writes the full one without holding the lock.
func (l *AccessLog) flush() {
	l.mu.Lock()
	full := l.filling
	l.filling = l.spare[:0]
	l.mu.Unlock()
	l.spare = full
	if len(full) == 0 {
		return
	}
	if _, err := l.to.Write(full); err != nil {
		l.mu.Lock()
		l.errors++
		l.mu.Unlock()
	}
}

// Close writes what waits and ends the log. No exchange may be recorded any more.
func (l *AccessLog) Close() {
	if l.to != nil {
		close(l.stop)
	}
	<-l.done
}

// counts are the lines taken and dropped and the writes that failed.
func (l *AccessLog) counts() (lines, dropped, errors uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines, l.dropped, l.errors
}

// exchange writes the line of an exchange.
func (l *AccessLog) exchange(x *Exchange, now time.Time, o window.Outcome) {
	if l.to == nil {
		return
	}
	var caller, session [2 * len(hashID{})]byte
	e := l.json.Log().
		Int64("time", x.start.UnixMilli()).
		Bytes("id", x.id[:]).
		Bytes("caller", x.caller.appendTo(caller[:0])).
		Bytes("session", x.session.appendTo(session[:0]))
	if x.target != nil {
		e = e.Str("route", directRoute).Str("class", x.class.String()).Str("arm", treatedArm).Str("target", x.target.name)
	} else {
		e = e.Str("route", "").Str("class", "").Str("arm", "").Str("target", "")
	}
	e = e.Int("status", x.status).
		Str("outcome", o.String()).
		Int("attempts", x.attempts)
	if ttft := x.ttft(); ttft > 0 {
		e = e.Float64("ttft_s", ttft.Seconds())
	}
	e.Float64("duration_s", now.Sub(x.start).Seconds()).
		Int64("overhead_us", x.overheadUntil(now).Microseconds()).
		Int64("tokens_input", uncached(&x.usage)).
		Int64("tokens_cache_read", x.usage.CacheRead).
		Int64("tokens_cache_write", x.usage.CacheWrite5m+x.usage.CacheWrite1h).
		Int64("tokens_output", x.usage.OutputTotal()).
		Int64("tokens_reasoning", x.usage.Reasoning).
		Int64("cost_nanousd", int64(x.total)).
		Bool("estimated", x.estimated).
		Bool("unpriced", x.unpriced)
	if x.kind != nil {
		e = e.Str("error", x.kind.code)
		if x.failure != nil {
			e = e.Str("detail", x.failure.Error())
		}
	}
	e.Send()
}
