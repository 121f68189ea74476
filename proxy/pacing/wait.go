package pacing

import (
	"context"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// Ask is an attempt that waits for room.
type Ask struct {
	Terms
	limit.Need               // callers take turns
	Priority   int           // the higher goes first
	MaxWait    time.Duration // what is left of that of Terms
	Refused    Refusal       // what Try has said; nothing where it was not asked
	Draw       float64       // uniform in [0, 1)
}

// candidate is an attempt in the queue, for those who hand out room.
type candidate struct {
	ask  *Ask
	turn Turn
}

// longestLook is after how long those that wait are looked at, whatever was said.
const longestLook = 250 * time.Millisecond

// longestRetry is the most that is kept of a refusal's time to retry: a provider is asked again after an hour.
const longestRetry = 24 * time.Hour

// shortestLook spares the scheduler: what could have gone meanwhile is saved up.
const shortestLook = 200 * time.Microsecond

// Wait has an attempt wait until it is let through. It is refused, with a time to retry, where there is no room in time or too many wait already, or when ctx ends, which the
// caller can tell. delay is how long it has to be held back yet: those that waited do not all start at once.
func (p *Pace) Wait(ctx context.Context, now time.Time, a *Ask) (t Turn, delay time.Duration, r Refusal) {
	c := &candidate{ask: a}
	if r = p.hopeless(now, a); r.Retry > 0 {
		return t, 0, r
	}
	ticket := &limit.Ticket{Caller: a.Caller, Priority: a.Priority, Cost: a.Input + a.Output, Deadline: now.Add(a.MaxWait), Draw: a.Draw, For: c}
	queue, w := p.join(now, ticket, a)
	if w == nil {
		return t, 0, p.refused(now, a.Share)
	}
	defer p.waiting.Add(-1)
	timer := time.NewTimer(a.MaxWait)
	defer timer.Stop()
	var grant limit.Grant
	select {
	case grant = <-w.Done():
	case <-timer.C:
		queue.Cancel(w)
		grant = <-w.Done()
	case <-ctx.Done():
		queue.Cancel(w)
		if grant = <-w.Done(); grant.Outcome == limit.Granted { // nobody is there to use it
			c.turn.queue, c.turn.ticket = queue, ticket
			p.End(time.Now(), &c.turn, false, limit.NoMatter, 0, 0)
		}
		p.nudge()
		return t, 0, Refusal{Retry: time.Millisecond}
	}
	if grant.Outcome != limit.Granted {
		p.nudge() // it may have been the last
		return t, 0, p.refused(time.Now(), a.Share)
	}
	c.turn.queue, c.turn.ticket = queue, ticket
	ticket.For = nil
	return c.turn, grant.Delay, Refusal{}
}

// hopeless tells that there is no room in time for certain.
func (p *Pace) hopeless(now time.Time, a *Ask) (r Refusal) {
	if r.Retry = p.pacer.RetryIn(now, a.Share); r.Retry <= a.MaxWait && a.MaxWait > 0 {
		return Refusal{}
	}
	return Refusal{Retry: max(r.Retry, a.Refused.Retry, time.Millisecond), Full: a.Refused.Full, Lacks: a.Refused.Lacks, Told: a.Refused.Told}
}

// refused says when to come again.
func (p *Pace) refused(now time.Time, share float64) Refusal {
	r := p.behind(p.waiting.Load())
	r.Retry = max(r.Retry, p.pacer.RetryIn(now, share))
	return r
}

// behind is what those are told who would wait behind so many: when these have been let through, and what the first of them lacks.
func (p *Pace) behind(n int32) Refusal {
	r := p.last.load()
	r.Retry = max(r.Retry, time.Microsecond) * time.Duration(n+1)
	return r
}

// lastRefusal is why an attempt was last held back: the retry in nanoseconds, six bits for what it lacked, one for whether the
// provider tells of that, the lowest for whether the target was full.
type lastRefusal struct{ packed atomic.Uint64 }

func (l *lastRefusal) store(r *Refusal) {
	packed := uint64(min(r.Retry, longestRetry))<<8 | uint64(r.Lacks)<<2 //nolint:gosec // above 0
	if r.Full {
		packed |= 1
	}
	if r.Told {
		packed |= 2
	}
	l.packed.Store(packed)
}

func (l *lastRefusal) load() Refusal {
	packed := l.packed.Load()
	return Refusal{Retry: time.Duration(packed >> 8), Full: packed&1 != 0, Told: packed&2 != 0, Lacks: limit.Dimension(packed >> 2 & 0x3f)} //nolint:gosec // one was stored
}

// join puts a ticket into the queue, which is made where nobody waits yet. Where it is the first there, that is looked at: room may have come since there was none, or be enough for this
// one. Those behind others can't go before these, and when there may be room for the first is known. The waiter is nil where it is of no use.
func (p *Pace) join(now time.Time, t *limit.Ticket, a *Ask) (*limit.Queue, *limit.Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue, o := p.queue, limit.QueueOptions{Work: a.Terms.MaxWait, Waiters: a.Waiters}
	if queue == nil {
		queue = limit.NewQueue(now, o)
	}
	queue.Use(o)
	w, _ := queue.Push(now, t)
	if w == nil {
		return queue, nil
	}
	p.waiting.Add(1)
	if p.queue == nil {
		p.queue = queue
		go p.serve(queue)
	}
	if queue.First(w) {
		p.nudge()
	}
	return queue, w
}

// serve lets those in the queue through as there is room, until nobody is left.
func (p *Pace) serve(queue *limit.Queue) {
	timer := time.NewTimer(longestLook)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.news:
		}
		next := p.hand(queue)
		p.mu.Lock()
		if queue.Len() == 0 {
			p.queue = nil
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		timer.Reset(min(max(next, shortestLook), longestLook))
	}
}

// hand lets through whom there is room for, and tells when there may be more.
func (p *Pace) hand(queue *limit.Queue) (next time.Duration) {
	next = longestLook
	queue.Hand(time.Now(), func(w *limit.Waiter) limit.Answer {
		c := w.For.(*candidate) //nolint:forcetypeassert // this package makes all tickets
		turn, refusal := p.take(time.Now(), &c.ask.Terms, c.ask.Need)
		if refusal.Retry > 0 {
			next = refusal.Retry
			p.last.store(&refusal)
			return limit.Stop
		}
		c.turn = turn
		return limit.Took
	})
	return next
}
