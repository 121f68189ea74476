package pacing

import (
	"context"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// Ask is an attempt that waits for room.
type Ask struct {
	Terms
	Size
	Caller   limit.ID      // callers take turns
	Priority int           // the higher goes first
	MaxWait  time.Duration // what is left of that of Terms
	Refused  Refusal       // what Try has said; nothing where it was not asked
	Draw     float64       // uniform in [0, 1)
}

// candidate is an attempt in the queue, for those who hand out room.
type candidate struct {
	ask     *Ask
	turn    Turn
	refusal Refusal // the last
}

// longestLook is after how long those that wait are looked at, whatever was said.
const longestLook = 250 * time.Millisecond

// shortestLook spares the scheduler: what could have gone meanwhile is saved up.
const shortestLook = 200 * time.Microsecond

// Wait has an attempt wait until it is let through. It is refused, with a time to retry, where there is no room in time or too many wait already, or when ctx ends, which the
// caller can tell. delay is how long it has to be held back yet: those that waited do not all start at once.
func (p *Pace) Wait(ctx context.Context, now time.Time, a *Ask) (t Turn, delay time.Duration, r Refusal) {
	c := &candidate{ask: a, refusal: a.Refused}
	if r = p.hopeless(now, a); r.Retry > 0 {
		return t, 0, r
	}
	ticket := &limit.Ticket{Caller: a.Caller, Priority: a.Priority, Cost: a.Input + a.Output, Deadline: now.Add(a.MaxWait), Draw: a.Draw, For: c}
	queue, w := p.join(now, ticket, a)
	if w == nil {
		return t, 0, p.refused(now, c)
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
			p.End(time.Now(), &c.turn, false, limit.NoMatter, 0, 0)
		}
		p.nudge()
		return t, 0, Refusal{Retry: time.Millisecond}
	}
	if grant.Outcome != limit.Granted {
		p.nudge() // it may have been the last
		return t, 0, p.refused(time.Now(), c)
	}
	c.turn.queue, c.turn.ticket = queue, ticket
	ticket.For = nil
	return c.turn, grant.Delay, Refusal{}
}

// hopeless tells that there is no room in time for certain.
func (p *Pace) hopeless(now time.Time, a *Ask) (r Refusal) {
	if r.Retry = p.pacer.RetryIn(now); r.Retry <= a.MaxWait && a.MaxWait > 0 {
		return Refusal{}
	}
	return Refusal{Retry: max(r.Retry, a.Refused.Retry, time.Millisecond), Full: a.Refused.Full, Lacks: a.Refused.Lacks}
}

// refused says when to come again.
func (p *Pace) refused(now time.Time, c *candidate) Refusal {
	return Refusal{Retry: max(p.pacer.RetryIn(now), p.behind(p.waiting.Load())), Full: c.refusal.Full, Lacks: p.lacking()}
}

// join puts a ticket into the queue, which is made where nobody waits yet. The waiter is nil where it is of no use.
func (p *Pace) join(now time.Time, t *limit.Ticket, a *Ask) (*limit.Queue, *limit.Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := p.queue
	if queue == nil {
		queue = limit.NewQueue(now, limit.QueueOptions{Work: a.Terms.MaxWait, Waiters: a.Waiters})
	}
	w, _ := queue.Push(now, t)
	if w == nil {
		return queue, nil
	}
	p.waiting.Add(1)
	if p.queue == nil {
		p.queue = queue
		go p.serve(queue)
	}
	return queue, w
}

// serve lets those in the queue through as there is room, until nobody is left.
func (p *Pace) serve(queue *limit.Queue) {
	timer := time.NewTimer(min(max(time.Duration(p.last.Load()), shortestLook), longestLook))
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
		turn, refusal := p.take(time.Now(), &c.ask.Terms, c.ask.Size)
		if refusal.Retry > 0 {
			next, c.refusal = refusal.Retry, refusal
			p.heldBack(&refusal)
			return limit.Stop
		}
		c.turn = turn
		return limit.Took
	})
	return next
}
