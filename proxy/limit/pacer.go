package limit

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxLanes is how many limits of a provider are kept apart.
	maxLanes = 6
	// pausedJitter is by how much longer than told a provider is left alone.
	pausedJitter = .1
	// maxPaused is the longest that a provider is left alone without asking it again: what it said may have been a slip, and a longer pause ends by nothing else.
	maxPaused = time.Hour
)

// Pacer says how fast to send with one key to one model: by the limits that the provider tells of, as far as they make sense, else by trial. It is made by NewPacer.
type Pacer struct {
	epoch time.Time
	share atomic.Uint64 // bits; 0: DefaultShare
	sized atomic.Bool   // there are limits of tokens

	mu     sync.Mutex
	last   int64 // on the clock of now
	ahead  int64 // that the pacer's own clock is ahead of it, which is never set back
	serial uint64
	sum    [Tokens + 1]int64 // that was sent, by dimension
	done   [Tokens + 1]int64 // and answered
	paused int64
	lanes  [maxLanes]lane
	n      int
	trial  trial
}

// NewPacer makes a pacer that knows nothing: it lets everything through.
func NewPacer(now time.Time) *Pacer { return &Pacer{epoch: now} }

// Use says which share of the limits that the provider tells of is used from now on, above 0 and up to 1. It does nothing to what is found by trial.
func (p *Pacer) Use(share float64) {
	if bits := math.Float64bits(share); p.share.Load() != bits {
		p.share.Store(bits)
	}
}

func (p *Pacer) shared() float64 {
	if bits := p.share.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return DefaultShare
}

// Sized tells whether the provider tells of limits of tokens. Until it does, sizes of attempts make no difference.
func (p *Pacer) Sized() bool { return p.sized.Load() }

// Sent is an attempt that a pacer has let through.
type Sent struct {
	serial  uint64
	at      int64
	amounts [Tokens + 1]int64
	sum     [Tokens + 1]int64 // of all up to it
	lacks   Dimension
	told    bool
}

// Lacks is what there was no room for, of an attempt that was not let through.
func (s *Sent) Lacks() Dimension { return s.lacks }

// Told tells whether limits that the provider tells of were kept to with the attempt, of any dimension. Of one that was not let through: that there was no room in those.
func (s *Sent) Told() bool { return s.told }

// Take lets an attempt of so many tokens through, or says how long it has to wait before it may ask again. What was let through has to be told of by Answered or Dropped.
func (p *Pacer) Take(now time.Time, input, output int64) (s Sent, wait time.Duration) {
	var a amounts
	a.set(input, output, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	wait = max(time.Duration(p.paused-at), 0)
	told, kept := false, false // limits of requests are, and any are
	for i := range p.n {
		if l := &p.lanes[i]; l.usable(at) {
			told, kept = told || l.of == Requests, true
			if longer := l.wait(at, p.sum[l.of], a[l.of], p.shared()); longer > wait {
				wait, s.lacks, s.told = longer, l.of, true
			}
		}
	}
	if !told {
		if longer := p.trial.wait(at); longer > wait {
			wait, s.lacks, s.told = longer, Requests, false
		}
	}
	if wait > 0 {
		return s, wait
	}
	p.serial++
	s.serial, s.at, s.told = p.serial, at, kept
	for of := range p.sum {
		s.amounts[of] = a[of]
		p.sum[of] = plus(p.sum[of], a[of])
	}
	s.sum = p.sum
	for i := range p.n {
		if l := &p.lanes[i]; l.usable(at) { // the others were not asked, and are owed nothing
			l.take(a[l.of])
		}
	}
	p.trial.sent(at, !told)
	return s, 0
}

// at is now on the pacer's clock. p.mu is held.
func (p *Pacer) at(now time.Time) int64 {
	at := int64(now.Sub(p.epoch))
	if back := minus(p.last, at); back > slack {
		p.ahead = plus(p.ahead, back)
		p.last = at
	}
	p.last = max(p.last, at)
	return plus(at, p.ahead)
}

// Verdict is what the provider did with an attempt.
type Verdict uint8

// The verdicts.
const (
	Through Verdict = iota // it took it
	Limited                // 429, or what means the same
	Other                  // it failed otherwise, or nobody knows
)

// Answered takes in what came back for an attempt: the verdict, what the headers say (nil: nothing), how long the provider wants to be left alone (0: it did not say), and a uniform draw
// from [0, 1). It tells whether an episode of refusals has
// begun with it: a window that is used up refuses many at once, which are one sign. One begins each second at most, so refusals that go on are one a second.
func (p *Pacer) Answered(now time.Time, s Sent, v Verdict, h *Headers, retryAfter time.Duration, draw float64) (episode bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	p.end(&s)
	if h != nil {
		for _, r := range h.Readings() {
			if r.Of > Tokens || r.Limit <= 0 || r.Remaining < 0 {
				continue
			}
			l := p.lane(r.Of, r.Window, at)
			if l == nil {
				continue
			}
			w := view{at: s.at, limit: r.Limit, remaining: r.Remaining, reset: plus(int64(r.Reset.Sub(p.epoch)), p.ahead)}
			if r.Reset.IsZero() {
				if r.Window == 0 {
					continue
				}
				w.reset = plus(s.at, int64(r.Window)) // at the latest
			}
			l.read(at, &r, w, &s, p.sum[r.Of]-p.done[r.Of])
			l.trust.answered(w, v != Limited)
		}
	}
	switch v {
	case Through:
		p.trial.through(at)
	case Limited:
		episode = p.trial.refused(at)
		if retryAfter > 0 {
			retryAfter += time.Duration(float64(retryAfter) * pausedJitter * draw)
			p.paused = max(p.paused, plus(at, int64(min(retryAfter, maxPaused))))
		}
	}
	return episode
}

// Dropped takes back an attempt that was never sent.
func (p *Pacer) Dropped(s Sent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(&s)
	for i := range p.n {
		l := &p.lanes[i]
		l.level += float64(s.amounts[l.of])
		if l.serial < s.serial { // what is left was told before
			l.sum = plus(l.sum, s.amounts[l.of])
		}
	}
	if p.trial.rate > 0 {
		p.trial.level++
	}
}

func (p *Pacer) end(s *Sent) {
	for of := range p.done {
		p.done[of] = plus(p.done[of], s.amounts[of])
	}
}

// lane finds or makes the lane of a limit; nil where there are too many.
func (p *Pacer) lane(of Dimension, window time.Duration, at int64) *lane {
	for i := range p.n {
		if l := &p.lanes[i]; l.of == of && l.window == window {
			return l
		}
	}
	if p.n == maxLanes {
		return nil
	}
	if of != Requests {
		p.sized.Store(true)
	}
	p.n++
	l := &p.lanes[p.n-1]
	*l = lane{of: of, window: window, filled: at, level: math.Inf(1)}
	return l
}

// RetryIn is how long a request has to wait now, as far as can be told, where Take only says when to ask again.
func (p *Pacer) RetryIn(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	wait, told := max(time.Duration(p.paused-at), 0), false
	for i := range p.n {
		if l := &p.lanes[i]; l.usable(at) {
			told = told || l.of == Requests
			wait = max(wait, l.empty(at, p.sum[l.of], p.shared()))
		}
	}
	if !told && p.trial.rate > 0 {
		wait = max(wait, time.Duration((1-p.trial.level)/p.trial.rate*float64(time.Second))-time.Duration(at-p.trial.filled))
	}
	return wait
}

// Resume forgets for how long the provider wants to be left alone.
func (p *Pacer) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = 0
}

// PacerState is what a pacer knows, to be shown.
type PacerState struct {
	Trusted bool          // the provider's own numbers for requests are followed
	Follows bool          // any of its numbers are
	Rate    float64       // requests a second that are sent at most now, by those numbers or found by trial; 0: no bound was met
	Paused  time.Duration // that the provider wants to be left alone for
	Flying  int64         // attempts without an answer yet
}

// State tells what the pacer knows.
func (p *Pacer) State(now time.Time) PacerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	st := PacerState{Rate: p.trial.rate, Paused: max(time.Duration(p.paused-at), 0), Flying: p.sum[Requests] - p.done[Requests]}
	slowest := math.Inf(1)
	for i := range p.n {
		l := &p.lanes[i]
		usable := l.usable(at)
		if st.Follows = st.Follows || usable; usable && l.of == Requests {
			left, reset := l.left(at, p.sum[l.of], p.shared())
			slowest = min(slowest, max(left, 0)/reset*float64(time.Second))
			st.Trusted, st.Rate = true, slowest
		}
	}
	return st
}
