package storage

import (
	"sync/atomic"
	"time"
)

const (
	// breakerFailures in a row keep requests from the disk.
	breakerFailures = 5
	// breakerPause and breakerLongest lie between two looks at whether it is well again.
	breakerPause, breakerLongest = time.Second, 30 * time.Second
	// breakerCalm is how long it must have been well for the pause to be the shortest again.
	breakerCalm = time.Minute
)

// breaker keeps requests from a disk that does not answer, or not in time. Requests only look at it and tell how they fared: whether the
// disk is well again is tried by somebody who can wait.
type breaker struct {
	open     atomic.Bool
	failures atomic.Int32
	opened   atomic.Uint64 // times

	// Of the one who tries:
	pause  time.Duration
	next   time.Time // zero: it has not seen it open
	closed time.Time
}

func (b *breaker) fail() {
	if b.failures.Add(1) >= breakerFailures && b.open.CompareAndSwap(false, true) {
		b.opened.Add(1)
	}
}

func (b *breaker) succeed() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

// due tells whether it is time to try.
func (b *breaker) due(now time.Time) bool {
	if !b.open.Load() {
		return false
	}
	if b.next.IsZero() {
		if now.Sub(b.closed) > breakerCalm {
			b.pause = breakerPause
		}
		b.next = now.Add(b.pause)
	}
	return !now.Before(b.next)
}

// tried takes what came of it.
func (b *breaker) tried(now time.Time, well bool) {
	b.pause = min(2*b.pause, breakerLongest)
	if !well {
		b.next = now.Add(b.pause)
		return
	}
	b.next, b.closed = time.Time{}, now
	b.failures.Store(0)
	b.open.Store(false)
}
