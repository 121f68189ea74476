package proxy

import (
	"io"
	"sync"
	"time"
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
	to io.Writer // nil: no log

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
	if to == nil {
		close(l.done)
		return l
	}
	go l.run()
	return l
}

// add takes one line.
func (l *AccessLog) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.filling)+len(line) > logBuffer {
		l.dropped++
		return
	}
	l.lines++
	l.filling = append(l.filling, line...)
	if len(l.filling) > logBuffer/2 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
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
