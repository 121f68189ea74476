package admission

import (
	"context"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// candidate is a request that waits. It is its own goroutine's, but while a room offers it room.
type candidate struct {
	request limit.Request
	lease   limit.Lease
	refusal limit.Refusal // the last
	seen    time.Time     // when that was
	via     []*room       // those that it has had its turn in, before it went on to a wider place
}

// wait has a request wait for the limits that have refused it, at one place after the other: for what is left of the most that one may wait.
func (g *Gate) wait(ctx context.Context, q *limit.Request, priority int, most, rest time.Duration, refusal limit.Refusal) (p Pass, delay time.Duration, _ limit.Refusal, err error) {
	o, start := g.options.Load(), time.Now()
	c := &candidate{request: *q, refusal: refusal, seen: start}
	c.request.Again = true
	defer c.settle()
	ticket := &limit.Ticket{Caller: q.Caller, Priority: priority, Cost: max(q.Input+q.Output, 1), Deadline: start.Add(rest), Draw: draw(), For: c}
	options := limit.QueueOptions{Work: o.Work, Waiters: o.Waiters, Jitter: max(o.Jitter, 1)}
	if options.Work <= 0 {
		options.Work = most
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	waits := false
	defer func() {
		if waits {
			g.waited(o, start)
		}
	}()
	for {
		at := c.refusal.Place
		c.request.Turn = at
		r, w := g.join(time.Now(), ticket, at, options)
		if w == nil {
			g.Crowded.Add(1)
			return p, 0, c.told(r, most), nil
		}
		if !waits {
			waits = true
			g.waiting.Add(1)
		}
		var grant limit.Grant
		select {
		case grant = <-w.Done():
		case <-timer.C:
			grant = r.leave(w)
		case <-g.closing:
			grant = r.leave(w)
		case <-ctx.Done():
			if grant = r.leave(w); grant.Outcome == limit.Granted {
				g.Cancel(&Pass{lease: c.lease, ticket: ticket, place: at, renewed: start})
			}
			return p, 0, limit.Refusal{}, ctx.Err()
		}
		switch grant.Outcome {
		case limit.Granted:
			p = Pass{lease: c.lease, request: *q, ticket: ticket, place: at, renewed: time.Now()}
			return p, max(c.lease.Delay, grant.Delay), limit.Refusal{}, nil
		case limit.Elsewhere:
			if rest := time.Until(ticket.Deadline); rest <= 0 || hopeless(&c.refusal, rest) {
				g.Late.Add(1)
				return p, 0, c.refusal, nil
			}
			if !c.refusal.Place.WiderThan(at) { // it has lost its turns
				c.settle()
			}
			continue
		case limit.Full:
			g.Crowded.Add(1)
		default:
			g.Late.Add(1)
		}
		return p, 0, c.told(r, most), nil
	}
}

// waited counts the end of a wait.
func (g *Gate) waited(o *Options, since time.Time) {
	g.waiting.Add(-1)
	if o.Waited != nil {
		o.Waited(time.Since(since))
	}
}

// settle tells the rooms that the candidate has come through that others may go on.
func (c *candidate) settle() {
	for _, r := range c.via {
		r.back(c.request.Caller)
	}
	c.via = nil
}

// told is the last refusal as of now. It is at least as long until there is room as those take that wait there, of whom nobody waits for longer than most.
func (c *candidate) told(r *room, most time.Duration) limit.Refusal {
	refusal := c.refusal
	refusal.Retry = max(refusal.Retry-time.Since(c.seen), min(r.Takes(), most), 0)
	return refusal
}
