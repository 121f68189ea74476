package admission

import (
	"sync"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// room is where requests wait for one place's limits. While somebody does, a goroutine goes with it that hands out what comes free. It stays for a while after that, with
// what callers owe each other.
type room struct {
	limit.Line
	at limit.Place

	mu      sync.Mutex
	serving bool             // the goroutine is there
	gone    bool             // it is the place's no more
	idle    time.Time        // when the last has left
	away    map[limit.ID]int // requests by callers that have had their turn here, and wait at a wider place
}

const (
	// A room is looked at whenever something is given back, and when the limit says that there is room; in any case after longestLook: what a lease held may have become
	// free by itself. No sooner than shortestLook after the last time, so that it does not spin where clocks are coarse.
	shortestLook, longestLook = 100 * time.Microsecond, time.Second
	// roomKept is how long a room stays that nobody waits in, and debtKept how long where a caller has had more than its turn.
	roomKept, debtKept = 10 * time.Second, 5 * time.Minute
)

// room finds or makes the one of a place.
func (g *Gate) room(now time.Time, at limit.Place, o limit.QueueOptions) *room {
	if l := at.Line(); l != nil {
		return l.For.(*room) //nolint:forcetypeassert // this package makes all lines
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &room{at: at, Line: limit.Line{Queue: limit.NewQueue(now, o), News: make(chan struct{}, 1)}, away: map[limit.ID]int{}}
	r.For = r
	for !at.Open(&r.Line) {
		if l := at.Line(); l != nil {
			return l.For.(*room) //nolint:forcetypeassert // this package makes all lines
		}
	}
	g.rooms[r] = struct{}{}
	return r
}

// join puts a ticket into the room of a place, and has that looked at: something may have been given back since the request was refused. The waiter is nil where it is of no use.
func (g *Gate) join(now time.Time, t *limit.Ticket, at limit.Place, o limit.QueueOptions) (*room, *limit.Waiter) {
	for {
		r := g.room(now, at, o)
		if w, there := r.push(g, now, t, o); there {
			return r, w
		}
	}
}

// push is false where the room is gone.
func (r *room) push(g *Gate, now time.Time, t *limit.Ticket, o limit.QueueOptions) (*limit.Waiter, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, false
	}
	if r.serving {
		r.Use(o)
	} else {
		r.Renew(o)
	}
	w, _ := r.Push(now, t)
	if w == nil {
		return nil, true
	}
	if !r.serving {
		if !g.begin(r) {
			r.Cancel(w)
			return nil, true
		}
		r.serving = true
	}
	r.Nudge()
	return w, true
}

// begin starts the goroutine of a room; false where the gate is closed.
func (g *Gate) begin(r *room) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.serving.Go(func() { g.serve(r) })
	}
	return !g.closed
}

// serve hands out what comes free to those in the room, until nobody is left.
func (g *Gate) serve(r *room) {
	timer := time.NewTimer(longestLook)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.News:
		case <-g.closing: // and nobody comes any more
			return
		}
		next := r.hand(g.set)
		if r.over() {
			return
		}
		timer.Reset(min(max(next, shortestLook), longestLook))
	}
}

// over tells that nobody is left.
func (r *room) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Len() > 0 {
		return false
	}
	r.serving, r.idle = false, time.Now()
	return true
}

// retire takes the room from its place where it was of no use for long enough.
func (r *room) retire(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	unused := now.Sub(r.idle)
	if r.serving || r.Len() > 0 || len(r.away) > 0 || unused < roomKept || unused < debtKept && r.Owes() {
		return false
	}
	r.gone = true
	r.at.Close(&r.Line)
	return true
}

// hand lets in whom there is room for, and tells when there may be more.
func (r *room) hand(set *limit.Set) (next time.Duration) {
	next = longestLook
	r.Hand(time.Now(), func(w *limit.Waiter) limit.Answer {
		c := w.For.(*candidate) //nolint:forcetypeassert // this package makes all tickets
		if r.isAway(w.Caller) {
			return limit.Pass
		}
		now := time.Now()
		lease, refusal := set.Reserve(now, &c.request)
		if !refusal.Refused() {
			c.lease = lease
			return limit.Took
		}
		c.refusal, c.seen = refusal, now
		switch {
		case hopeless(&refusal, w.Deadline.Sub(now)):
			return limit.Drop
		case refusal.Place == r.at:
			if !refusal.Guess {
				next = refusal.Retry
			}
			return limit.Stop
		case refusal.Place.WiderThan(r.at):
			r.send(c)
			return limit.On
		}
		return limit.Drop
	})
	return next
}

// isAway tells that one of the caller's requests has had its turn here and waits elsewhere: one at a time, or all would go there and be sent back by this limit.
func (r *room) isAway(caller limit.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away[caller] > 0
}

// send notes that a request goes on to a wider place.
func (r *room) send(c *candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away[c.request.Caller]++
	c.via = append(c.via, r)
}

// back notes that it has come to an end there, or has to wait here again.
func (r *room) back(caller limit.ID) {
	r.mu.Lock()
	if r.away[caller]--; r.away[caller] <= 0 {
		delete(r.away, caller)
	}
	r.mu.Unlock()
	r.Nudge()
}

// leave takes a waiter out, unless it has been let in meanwhile.
func (r *room) leave(w *limit.Waiter) limit.Grant {
	r.Cancel(w)
	grant := <-w.Done()
	r.Nudge() // it may be the last
	return grant
}
