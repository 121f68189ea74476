package simulate

import (
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// gate lets exchanges in as far as their callers' limits allow, as package proxy/admission does, in virtual time.
type gate struct {
	w     *world
	set   *limit.Set
	rooms map[place]*room
}

// place is what requests wait for.
type place struct {
	rule                  string
	caller, route, target limit.ID
}

// room is those that wait for one limit.
type room struct {
	line
	last limit.Refusal
}

// pass is what an exchange was let in with.
type pass struct {
	gate   *gate // nil: it holds nothing
	lease  limit.Lease
	caller limit.ID
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
	g := &gate{w: w, set: limit.New(begin, limit.Options{}), rooms: map[place]*room{}}
	if err := g.set.Configure(begin, rules); err != nil {
		panic("BUG: scenario was checked: " + err.Error())
	}
	return g
}

// callerID is what limits know a caller by.
func callerID(i int) limit.ID { return limit.ID(i + 1) }

// enter lets a request in, at once or after a wait, or refuses it.
func (g *gate) enter(t *waiting, in func(pass), refused func()) {
	refusal := g.behind(&t.request)
	if !refusal.Refused() {
		var lease limit.Lease
		if lease, refusal = g.set.Reserve(g.w.time(), &t.request); !refusal.Refused() {
			p := pass{gate: g, lease: lease, caller: t.request.Caller}
			g.w.at(g.w.now+lease.Delay, func() { in(p) })
			return
		}
	}
	most := g.w.Route.Wait
	if refusal.Never || most <= 0 || refusal.Retry > most && refusal.Limit.Of != limit.Concurrent {
		refused()
		return
	}
	r := g.roomOf(&refusal)
	t.granted = func(delay time.Duration) {
		p := pass{gate: g, lease: t.lease, caller: t.request.Caller, ticket: &t.Ticket, queue: t.in}
		g.w.at(g.w.now+max(t.lease.Delay, delay), func() { in(p) })
	}
	t.refused = refused
	r.begin = refusal.Retry
	if !r.join(t, most) {
		refused()
	}
}

// behind is the refusal of those that wait for the same limit already.
func (g *gate) behind(q *limit.Request) (refusal limit.Refusal) {
	var standings [16]limit.Standing
	for _, s := range g.set.Standings(standings[:0], g.w.time(), q) {
		if r := g.rooms[place{s.Rule, s.Caller, s.Route, s.Target}]; r != nil && r.queue != nil && r.last.Limit.Of == s.Limit.Of && r.last.Limit.Per == s.Limit.Per {
			return r.last
		}
	}
	return refusal
}

func (g *gate) roomOf(refusal *limit.Refusal) *room {
	at := place{refusal.Rule, refusal.Caller, refusal.Route, refusal.Target}
	r := g.rooms[at]
	if r == nil {
		r = &room{}
		r.line = line{w: g.w, options: limit.QueueOptions{Work: g.w.Route.Wait, Waiters: mostWaiters}, least: 100 * time.Microsecond}
		r.try = func(t *waiting) (limit.Answer, time.Duration) {
			lease, again := g.set.Reserve(g.w.time(), &t.request)
			switch {
			case !again.Refused():
				t.lease = lease
				return limit.Took, 0
			case (place{again.Rule, again.Caller, again.Route, again.Target}) == at:
				r.last = again
				return limit.Stop, again.Retry
			}
			return limit.Pass, again.Retry
		}
		g.rooms[at] = r
	}
	if r.queue == nil {
		r.last = *refusal
	}
	return r
}

// leave gives the pass back.
func (p *pass) leave(now time.Time, u limit.Usage) {
	if p.gate == nil {
		return
	}
	p.gate.set.Settle(now, p.lease, u)
	if p.queue != nil {
		p.queue.Settle(p.ticket, u.Input+u.Output)
	}
	if r := p.gate.rooms[place{rule: p.gate.w.Callers[p.caller-1].Name, caller: p.caller}]; r != nil {
		r.nudge()
	}
	*p = pass{}
}
