package simulate

import (
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// gate lets exchanges in as far as their callers' limits allow, in virtual time: what package proxy/admission does with goroutines and timers around limit.Set and limit.Queue. A caller's
// limits are of one rule, so that nobody has to wait at one place after the other.
type gate struct {
	w     *world
	set   *limit.Set
	rooms []*room // in the order in which they were first needed
}

// room is those that wait for the limits of one caller.
type room struct {
	line
	limit.Line
}

// restLook is after how long those that wait are looked at where nothing was given back and nothing is known of when there is room.
const restLook = time.Second

// pass is what an exchange was let in with.
type pass struct {
	gate   *gate // nil: it holds nothing
	lease  limit.Lease
	queue  *limit.Queue // of one that has waited
	ticket *limit.Ticket
}

// newGate is nil where no caller has limits.
func newGate(w *world) *gate {
	var rules []limit.Rule
	for i := range w.Callers {
		if c := &w.Callers[i]; len(c.Limits) > 0 {
			rules = append(rules, limit.Rule{Name: c.Name, Caller: limit.Scope{Only: callerID(i)}, Limits: c.Limits})
		}
	}
	if len(rules) == 0 {
		return nil
	}
	g := &gate{w: w, set: limit.New(begin, limit.Options{})}
	if err := g.set.Configure(begin, rules); err != nil {
		panic("BUG: scenario was checked: " + err.Error())
	}
	return g
}

// callerID is what limits know a caller by.
func callerID(i int) limit.ID { return limit.ID(i + 1) }

// enter lets a request in, at once or after a wait, or refuses it.
func (g *gate) enter(t *waiting, in func(pass), refused func()) {
	lease, refusal := g.set.Reserve(g.w.time(), &t.request)
	if !refusal.Refused() {
		g.w.at(g.w.now+lease.Delay, func() { in(pass{gate: g, lease: lease}) })
		return
	}
	most := g.w.Route.Wait
	if most <= 0 || hopeless(&refusal, most) {
		refused()
		return
	}
	t.request.Again, t.request.Turn = true, refusal.Place
	t.granted = func(delay time.Duration) {
		p := pass{gate: g, lease: t.lease, ticket: &t.Ticket, queue: t.in}
		g.w.at(g.w.now+max(t.lease.Delay, delay), func() { in(p) })
	}
	t.refused = refused
	r := g.room(refusal.Place)
	if !r.join(t, most) {
		refused()
		return
	}
	r.nudge()
}

// hopeless tells that waiting is of no use: what gives room by requests ending is not known so well.
func hopeless(r *limit.Refusal, most time.Duration) bool {
	return r.Never || !r.Guess && r.Retry > most
}

// room finds or makes the room of a place.
func (g *gate) room(at limit.Place) *room {
	if l := at.Line(); l != nil {
		return l.For.(*room) //nolint:forcetypeassert // the gate makes all lines
	}
	r := &room{Line: limit.Line{Queue: limit.NewQueue(g.w.time(), limit.QueueOptions{}), News: make(chan struct{}, 1)}}
	r.For = r
	r.line = line{w: g.w, options: limit.QueueOptions{Work: g.w.Route.Wait, Waiters: mostWaiters}, kept: r.Queue, least: 100 * time.Microsecond, longest: restLook}
	r.try = func(t *waiting) (limit.Answer, time.Duration) {
		now := g.w.time()
		lease, refusal := g.set.Reserve(now, &t.request)
		switch {
		case !refusal.Refused():
			t.lease = lease
			return limit.Took, 0
		case hopeless(&refusal, t.Deadline.Sub(now)):
			return limit.Drop, restLook
		case refusal.Guess:
			return limit.Stop, restLook
		}
		return limit.Stop, refusal.Retry
	}
	at.Open(&r.Line)
	g.rooms = append(g.rooms, r)
	return r
}

// leave gives the pass back: what it was for took so much, or has come to nothing and counts for nothing.
func (p *pass) leave(now time.Time, u limit.Usage, counts bool) {
	if p.gate == nil {
		return
	}
	if counts {
		p.gate.set.Settle(now, p.lease, u)
	} else {
		p.gate.set.Cancel(now, p.lease)
	}
	if p.queue != nil {
		p.queue.Settle(p.ticket, u.Input+u.Output)
	}
	for _, r := range p.gate.rooms {
		select {
		case <-r.News:
			r.nudge()
		default:
		}
	}
	*p = pass{}
}
