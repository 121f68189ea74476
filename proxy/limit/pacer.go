package limit

import (
	"cmp"
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
	sized atomic.Bool // there are limits of tokens

	mu       sync.Mutex
	clock    clock
	serial   uint64
	sum      [Tokens + 1]int64 // that was sent, by dimension
	done     [Tokens + 1]int64 // and answered
	paused   int64
	lanes    [maxLanes]lane
	n        int
	shown    float64 // the share of who asked last, to be shown
	trial    trial
	refusals episodes
	odd      odd
}

// NewPacer makes a pacer that knows nothing: it lets everything through.
func NewPacer(now time.Time) *Pacer {
	return &Pacer{epoch: now.Add(-2 * time.Second), shown: DefaultShare} // times are well above 0, which stands for never
}

// Sized tells whether the provider tells of limits of tokens. Until it does, sizes of attempts make no difference.
func (p *Pacer) Sized() bool { return p.sized.Load() }

// Sent is an attempt that a pacer has let through.
type Sent struct {
	serial  uint64
	at      int64
	caller  ID
	amounts [Tokens + 1]int64
	sum     [Tokens + 1]int64 // of all up to it
	lacks   Dimension
	told    bool
	asked   bool // trial was
}

// Lacks is what there was no room for, of an attempt that was not let through.
func (s *Sent) Lacks() Dimension { return s.lacks }

// Told tells whether limits that the provider tells of were kept to with the attempt, of any dimension. Of one that was not let through: that there was no room in those.
func (s *Sent) Told() bool { return s.told }

// Need is what an attempt is thought to take, in tokens, and for whom.
type Need struct {
	Caller        ID
	Input, Output int64
}

// Take lets an attempt through, or says how long it has to wait before it may ask again. share, up to 1, is how much of the limits that the provider tells of
// the attempt may use (0: DefaultShare), which does nothing to what is found by trial. What was let through has to be told of by Answered or Dropped.
func (p *Pacer) Take(now time.Time, n Need, share float64) (s Sent, wait time.Duration) {
	var a amounts
	a.set(n.Input, n.Output, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	share = cmp.Or(share, DefaultShare)
	p.shown = share
	wait = max(time.Duration(p.paused-at), 0)
	told, kept := false, false // limits of requests are, and any are
	for i := range p.n {
		if l := &p.lanes[i]; l.usable(at) {
			told, kept = told || l.of == Requests, true
			if longer := l.wait(at, p.sum[l.of], a[l.of], share); longer > wait {
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
	s.serial, s.at, s.told, s.caller = p.serial, at, kept, n.Caller
	p.odd.took(n.Caller)
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
	s.asked = !told
	p.trial.sent(at, p.serial, s.asked)
	return s, 0
}

// at is now on the pacer's clock. p.mu is held.
func (p *Pacer) at(now time.Time) int64 {
	return p.clock.read(int64(now.Sub(p.epoch)), monotonic(p.epoch) && monotonic(now))
}

// Verdict is what the provider did with an attempt.
type Verdict uint8

// The verdicts.
const (
	Through Verdict = iota // it took it
	Limited                // 429, or what means the same
	Other                  // it failed otherwise, or nobody knows
)

// Meaning is what an answer says of how fast requests come.
type Meaning uint8

// The meanings.
const (
	Nothing Meaning = iota // it is no refusal, or one for what a caller asks for alone: those of others are let through
	More                   // another refusal of an episode
	Episode                // an episode of refusals begins: a window that is used up refuses many at once, which are one sign
)

// Answered takes in what came back for an attempt: the verdict, what the headers say (nil: nothing), how long the provider wants to be left alone (0: it did not say), and a uniform draw
// from [0, 1). It tells what that means. One episode begins each second at most, so refusals that go on are one a second.
func (p *Pacer) Answered(now time.Time, s Sent, v Verdict, h *Headers, retryAfter time.Duration, draw float64) (m Meaning) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	p.end(&s)
	told := p.told(at)
	read, explained := p.read(at, &s, v, h)
	switch v {
	case Through:
		p.trial.through(at, s.serial)
	case Other:
		p.trial.shut.unknown(at, s.serial)
	case Limited:
		explained = explained || !read && p.short(at, &s)
		if !explained && p.odd.alone(s.caller) {
			p.trial.shut.unknown(at, s.serial)
			return Nothing
		}
		if m = More; p.refusals.begins(at) {
			m = Episode
		}
		p.refused(at, &s, told, explained)
		if retryAfter > 0 {
			retryAfter += time.Duration(float64(retryAfter) * pausedJitter * draw)
			p.paused = max(p.paused, plus(at, int64(min(retryAfter, maxPaused))))
		}
	}
	return m
}

// refused has all that is known of limits take a refusal in. told: a limit of requests was followed. explained: one is that has nothing left.
func (p *Pacer) refused(at int64, s *Sent, told, explained bool) {
	if !explained {
		for i := range p.n {
			p.lanes[i].refused(at)
		}
	}
	switch {
	case !told && explained:
		p.trial.shut.unknown(at, s.serial)
	case !told:
		p.trial.refused(at, s.at, s.serial)
	case told && !p.told(at): // not any more
		p.trial.begin(at)
	}
}

// read takes the headers of an answer in. It tells whether they tell of limits at all, and whether one that is followed explains that the attempt was refused: it is nearly used up, or
// the attempt was for more than is left. The others have room then, and are right about it.
func (p *Pacer) read(at int64, s *Sent, v Verdict, h *Headers) (read, explained bool) {
	if h == nil {
		return false, false
	}
	for _, r := range h.Readings() {
		if r.Of > Tokens || r.Limit <= 0 || r.Remaining < 0 {
			continue
		}
		l := p.lane(r.Of, r.Window, at)
		if l == nil {
			continue
		}
		w := view{at: s.at, limit: r.Limit, remaining: r.Remaining, reset: plus(int64(r.Reset.Sub(p.epoch)), p.clock.ahead)}
		if r.Reset.IsZero() {
			if r.Window == 0 {
				continue
			}
			w.reset = plus(s.at, int64(r.Window)) // at the latest
		}
		read = true
		l.read(at, &r, w, s, p.sum[r.Of]-p.done[r.Of])
		if v != Limited {
			l.trust.answered(w)
		} else if l.short(float64(w.remaining), s.amounts[r.Of]) {
			explained = explained || l.usable(at) && (!l.stale || l.close(at))
			l.trust.empty = 0
		}
	}
	return read, explained
}

// short tells whether a refusal whose headers say nothing is explained by what has been counted here.
func (p *Pacer) short(at int64, s *Sent) bool {
	for i := range p.n {
		l := &p.lanes[i]
		if left, _ := l.left(at, p.sum[l.of], 1); l.usable(at) && !l.stale && l.short(left, s.amounts[l.of]) {
			return true
		}
	}
	return false
}

// told tells whether a limit of requests is followed that the provider tells of: then what is found by trial is not asked.
func (p *Pacer) told(at int64) bool {
	for i := range p.n {
		if l := &p.lanes[i]; l.of == Requests && l.usable(at) {
			return true
		}
	}
	return false
}

// Dropped takes back an attempt that was never sent.
func (p *Pacer) Dropped(s Sent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(&s)
	for i := range p.n {
		l := &p.lanes[i]
		l.take(-s.amounts[l.of])
		if l.serial < s.serial { // what is left was told before
			l.sum = plus(l.sum, s.amounts[l.of])
		}
	}
	p.trial.dropped(s.at, s.serial, s.asked)
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

// RetryIn is how long a request has to wait now that may use so much of the limits, as far as can be told, where Take only says when to ask again.
func (p *Pacer) RetryIn(now time.Time, share float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(now)
	wait, told := max(time.Duration(p.paused-at), 0), false
	for i := range p.n {
		if l := &p.lanes[i]; l.usable(at) {
			told = told || l.of == Requests
			wait = max(wait, l.empty(at, p.sum[l.of], cmp.Or(share, DefaultShare)))
		}
	}
	if !told {
		wait = max(wait, p.trial.retryIn(at))
	}
	return wait
}

// Resume forgets for how long the provider wants to be left alone.
func (p *Pacer) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = 0
	p.trial.shut.forget()
}

// PacerState is what a pacer knows, to be shown.
type PacerState struct {
	Trusted bool          // the provider's own numbers for requests are followed
	Follows bool          // any of its numbers are
	Rate    float64       // requests a second that are sent at most now, by those numbers or found by trial; 0: no bound was met
	Paused  time.Duration // that the provider wants to be left alone for
	Flying  int64         // attempts without an answer yet
}

// State tells what the pacer knows. The rate is for the share of who asked last.
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
			slowest = min(slowest, l.rate(at, p.sum[l.of], p.shown)*float64(time.Second))
			st.Trusted, st.Rate = true, slowest
		}
	}
	return st
}
