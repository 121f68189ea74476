package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/config"
)

const (
	// effectLives is for how many lifetimes of the cache a route's marks are watched before they are judged: what was written in the last of them may
	// still be read, so the more there are the less that matters.
	effectLives = 3
	// effectExchanges must have been marked as well.
	effectExchanges = 50
	// shortestPause of marks that do not pay; each that follows at once is twice as long.
	shortestPause = time.Hour
	longestPause  = 24 * time.Hour
)

// promptEffect watches what marking prompts brings on a route, by what the provider has charged, and suspends it where writing has cost more
// than reading has saved. Afterwards it is tried again: what clients send may have changed. Its methods are safe for concurrent use.
type promptEffect struct {
	span  time.Duration // that is judged
	until atomic.Int64  // when the suspension ends, in Unix nanoseconds; 0: there was none

	mu        sync.Mutex
	began     time.Time // zero: with the next exchange
	exchanges int
	net       config.NanoUSD
	pause     time.Duration // the last one; 0: marks have paid since
}

func newPromptEffect(lifetime time.Duration) *promptEffect {
	return &promptEffect{span: effectLives * lifetime}
}

// effectDecision is what came of a judgement; zero: nothing new.
type effectDecision struct {
	net   config.NanoUSD
	pause time.Duration // marks are suspended for as long
	back  bool          // they pay again
}

func (e *promptEffect) suspended(now time.Time) bool { return now.UnixNano() < e.until.Load() }

// add takes what a marked exchange has saved. Those that end during a suspension began before it, and count no more.
func (e *promptEffect) add(now time.Time, saved config.NanoUSD) (d effectDecision) {
	if e.suspended(now) {
		return d
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.began.IsZero() {
		e.began = now
	}
	e.exchanges++
	e.net += saved
	if e.exchanges < effectExchanges || now.Sub(e.began) < e.span {
		return d
	}
	d.net = e.net
	e.began, e.exchanges, e.net = time.Time{}, 0, 0
	if d.net >= 0 {
		d.back, e.pause = e.pause > 0, 0
		return d
	}
	e.pause = min(max(shortestPause, 2*e.pause), longestPause)
	e.until.Store(now.Add(e.pause).UnixNano())
	d.pause = e.pause
	return d
}
