package admission

import (
	"context"
	"sync"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// room is where requests wait for one limit. It is there while somebody waits, and a goroutine with it that hands out what comes free.
type room struct {
	at    place
	queue *limit.Queue
	news  chan struct{} // something was given back

	mu   sync.Mutex
	last limit.Refusal // by the limit that is waited for
}

// candidate is a request that waits, for those who hand out room.
type candidate struct {
	request *limit.Request
	lease   limit.Lease
	refusal limit.Refusal // the last
}

// longestLook is after how long a room is looked at again, whatever was said: what a lease held may have become free by itself.
const longestLook = 250 * time.Millisecond

// wait has a request wait for the limit that has refused it.
func (g *Gate) wait(ctx context.Context, q *limit.Request, priority int, most time.Duration, refusal limit.Refusal) (p Pass, delay time.Duration, _ limit.Refusal, err error) {
	o := g.options.Load()
	again := *q
	again.Again = true
	c := &candidate{request: &again, refusal: refusal}
	now := time.Now()
	ticket := &limit.Ticket{Caller: q.Caller, Priority: priority, Cost: max(q.Input+q.Output, 1), Deadline: now.Add(most), Draw: draw(), For: c}
	r, w := g.join(now, ticket, &refusal, o, most)
	if w == nil {
		g.Crowded.Add(1)
		return p, 0, refusal, nil
	}
	defer func() {
		g.waiting.Add(-1)
		if o.Waited != nil {
			o.Waited(time.Since(now))
		}
	}()
	timer := time.NewTimer(most)
	defer timer.Stop()
	var grant limit.Grant
	select {
	case grant = <-w.Done():
	case <-timer.C:
		grant = r.leave(w)
	case <-ctx.Done():
		if grant = r.leave(w); grant.Outcome == limit.Granted {
			g.Cancel(&Pass{lease: c.lease, renewed: now})
		}
		return p, 0, limit.Refusal{}, ctx.Err()
	}
	switch grant.Outcome {
	case limit.Granted:
		p = Pass{lease: c.lease, request: *q, ticket: ticket, room: r, renewed: time.Now()}
		return p, max(c.lease.Delay, grant.Delay), limit.Refusal{}, nil
	case limit.Full:
		g.Crowded.Add(1)
	default:
		g.Late.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return p, 0, c.refusal, nil
}

// leave takes a waiter out, unless it has been let in meanwhile.
func (r *room) leave(w *limit.Waiter) limit.Grant {
	r.queue.Cancel(w)
	grant := <-w.Done()
	r.nudge() // it may be the last
	return grant
}

// nudge has the room looked at soon.
func (r *room) nudge() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// join puts a ticket into the room of the limit in the way, which is made where nobody waits for it yet: no more work waits there than can be done in the longest wait of who came
// first. The waiter is nil where it is of no use.
func (g *Gate) join(now time.Time, t *limit.Ticket, refusal *limit.Refusal, o *Options, most time.Duration) (*room, *limit.Waiter) {
	at := place{refusal.Rule, refusal.Caller, refusal.Route, refusal.Target, refusal.Shared}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[at]
	if r == nil {
		work := o.Work
		if work <= 0 {
			work = most
		}
		r = &room{
			at: at, queue: limit.NewQueue(now, limit.QueueOptions{Work: work, Waiters: o.Waiters, Jitter: max(o.Jitter, 1)}),
			news: make(chan struct{}, 1), last: *refusal,
		}
	}
	w, _ := r.queue.Push(now, t)
	if w == nil {
		return r, nil
	}
	g.waiting.Add(1)
	if g.rooms[at] == nil {
		g.rooms[at] = r
		go g.serve(r)
	}
	return r, w
}

// serve hands out what comes free to those in the room, until nobody is left.
func (g *Gate) serve(r *room) {
	next := r.last.Retry
	for {
		timer := time.NewTimer(min(max(next, 100*time.Microsecond), longestLook))
		select {
		case <-timer.C:
		case <-r.news:
			timer.Stop()
		}
		next = r.hand(g.set)
		g.mu.Lock()
		if r.queue.Len() == 0 {
			delete(g.rooms, r.at)
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
	}
}

// hand lets in whom there is room for, and tells when there may be more.
func (r *room) hand(set *limit.Set) (next time.Duration) {
	next = longestLook
	r.queue.Hand(time.Now(), func(w *limit.Waiter) limit.Answer {
		c := w.For.(*candidate) //nolint:forcetypeassert // this package makes all tickets
		lease, refusal := set.Reserve(time.Now(), c.request)
		if !refusal.Refused() {
			c.lease = lease
			return limit.Took
		}
		next = min(next, refusal.Retry)
		r.mu.Lock()
		defer r.mu.Unlock()
		c.refusal = refusal
		if (place{refusal.Rule, refusal.Caller, refusal.Route, refusal.Target, refusal.Shared}) == r.at {
			r.last = refusal
			return limit.Stop
		}
		return limit.Pass
	})
	return next
}
