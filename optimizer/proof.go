package optimizer

import (
	"maps"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// Proof measures what the optimizer has saved or lost against the operator's own settings, by the hold-back: the sessions that stay on them. It compares
// what happens at the same time under both, so neither the time of day nor an incident, nor what a provider's prices do, passes for a saving.
//
// What is estimated: what the exchanges outside of the hold-back would have come to, one by one, on the operator's settings, less what they did come to, with
// the load on the targets as it was. What moving all the traffic has changed of the targets' speed or quotas is felt on both sides, and is no part of it.
//
// Costs are not winsorised: they add up to the bill, and the interval says how far one dear exchange in the hold-back can have bent the result.
// Unpriced exchanges are left out of costs, and counted.
//
// Memory is bounded: 512 routes, and for each of them 48 stretches of time, of which the older ones are put together; of more than 64 routes each has fewer, down
// to 6. Of routes beyond the bound nothing is measured, which Unproven and Savings tell.
// A Proof is not safe for concurrent use.
type Proof struct {
	routes map[string]*routeProof
	beyond map[string]struct{} // routes that there is no room for
	gone   Epoch               // of routes that are no more, together; without an exchange: none
}

const (
	proofRoutes = 512
	spanLength  = time.Hour
	mostSpans   = 48      // of a route
	leastSpans  = 6       // of a route, where there are many
	allSpans    = 64 * 48 // of all routes, unless each has its least
	mostEpochs  = 16
)

// spans is how many stretches of time a route may have.
func (p *Proof) spans() int { return min(mostSpans, max(leastSpans, allSpans/max(len(p.routes), 1))) }

// routeProof is what is known of a route since its operator last changed its settings, and sums of before.
type routeProof struct {
	spans  []*span // in the order of time, the last one open
	epochs []Epoch
	single uint64 // exchanges without a session: each is one of its own
	harm   harmWatch
}

// Epoch is what came of the time under one version of the operator's settings, and is over.
type Epoch struct {
	From     time.Time `json:"from"` // of the first exchange
	To       time.Time `json:"to"`
	Why      string    `json:"why"` // it ended
	Treated  uint64    `json:"treated"`
	Holdback uint64    `json:"holdback"`
	Saved    Estimate  `json:"saved_usd"`
	Waited   Estimate  `json:"saved_wait_s"`
}

// NewProof returns one that knows nothing.
func NewProof() *Proof {
	return &Proof{routes: map[string]*routeProof{}, beyond: map[string]struct{}{}}
}

// Observe takes an exchange in. It should see every one of a route: what gets lost must do so whatever its arm.
func (p *Proof) Observe(x *window.Exchange) {
	r := p.route(x.Route)
	if r == nil {
		return
	}
	session := x.Session
	if session == 0 {
		r.single++
		session = r.single
	}
	hash := scatter(session ^ groupSalt)
	r.open(x.At, p.spans()).add(x, hash%groups)
	r.harm.add(x, hash)
}

// groupSalt makes a session's group independent of its arm.
const groupSalt = 0x70726f6f66

// scatter is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func scatter(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// route is a route's state, or nil beyond the bound.
func (p *Proof) route(name string) *routeProof {
	r := p.routes[name]
	switch {
	case r != nil:
		return r
	case len(p.routes) < proofRoutes:
		name = strings.Clone(name)
		r = &routeProof{}
		p.routes[name] = r
		delete(p.beyond, name)
	case len(p.beyond) < mostBeyond:
		p.beyond[strings.Clone(name)] = struct{}{}
	}
	return r
}

// mostBeyond is how many routes without a proof are told by name.
const mostBeyond = 10000

// Unproven is how many routes there is no room for: what the optimizer does to them is not measured, and not taken back where it does harm.
func (p *Proof) Unproven() int { return len(p.beyond) }

// open is the span that an exchange at a time belongs to: late ones count for the last.
func (r *routeProof) open(at time.Time, most int) *span {
	if len(r.spans) == 0 {
		r.spans = append(r.spans, &span{from: at, to: at})
	}
	last := r.spans[len(r.spans)-1]
	if at.Sub(last.from) >= spanLength {
		last = r.begin(at, last.decision, most)
	}
	return last
}

// begin opens a span, and keeps their number bounded.
func (r *routeProof) begin(at time.Time, decision string, most int) *span {
	for len(r.spans) >= most {
		r.condense(at)
	}
	s := &span{from: at, to: at, decision: decision}
	r.spans = append(r.spans, s)
	return s
}

// condense puts two neighbours together: those that are short for their age, so that the resolution is finest for what was just now.
func (r *routeProof) condense(now time.Time) {
	best, least := 0, 0.
	for i := range len(r.spans) - 1 {
		a, b := r.spans[i], r.spans[i+1]
		ratio := (b.to.Sub(a.from).Seconds() + 1) / (now.Sub(b.to).Seconds() + spanLength.Seconds())
		if a.decision != b.decision || a.mixed || b.mixed {
			ratio *= 8 // the measured effects of both decisions are lost by it
		}
		if i == 0 || ratio < least {
			best, least = i, ratio
		}
	}
	r.spans[best].merge(r.spans[best+1])
	r.spans = append(r.spans[:best+1], r.spans[best+2:]...)
}

// Mark says that a decision is in force from now on, so that its effect can be told; the empty string is the operator's own settings. IDs are not to be used
// twice.
func (p *Proof) Mark(route, decision string, at time.Time) {
	r := p.route(route)
	if r == nil {
		return
	}
	if n := len(r.spans); n > 0 && r.spans[n-1].decision == decision && !r.spans[n-1].mixed {
		return
	}
	r.begin(at, decision, p.spans())
}

// Reset begins a new epoch: the operator has changed the settings of a route, or the share of its hold-back, and what was measured says nothing of what is going
// to be. What the time before has saved stays, as sums.
func (p *Proof) Reset(route string, at time.Time, why string) {
	r := p.route(route)
	if r == nil {
		return
	}
	r.end(strings.Clone(why))
	if n := len(r.epochs); n > mostEpochs {
		r.epochs[1] = r.epochs[0].and(r.epochs[1])
		r.epochs = r.epochs[1:]
	}
	r.spans = nil
	r.harm = harmWatch{}
}

// end makes an epoch of what there is.
func (r *routeProof) end(why string) {
	all := r.since(time.Time{})
	if all.from.IsZero() {
		return
	}
	e := Epoch{From: all.from, To: all.to, Why: why, Treated: uint64(all.total(treated).n), Holdback: uint64(all.total(holdback).n)}
	if all.missing() == "" {
		e.Saved, e.Waited = all.saved(costOf), all.saved(waitOf)
	}
	r.epochs = append(r.epochs, e)
}

// and is both epochs together, of which o is the later one.
func (e Epoch) and(o Epoch) Epoch {
	return Epoch{e.From, o.To, o.Why, e.Treated + o.Treated, e.Holdback + o.Holdback, e.Saved.plus(o.Saved), e.Waited.plus(o.Waited)}
}

// keep forgets routes that are not known and have had no exchange for a while: of a run before, or of late exchanges of what was removed.
func (p *Proof) keep(now time.Time, known func(route string) bool) {
	for _, name := range slices.Sorted(maps.Keys(p.routes)) { // sums do not depend on chance
		if r := p.routes[name]; !known(name) && (len(r.spans) == 0 || now.Sub(r.spans[len(r.spans)-1].to) >= removedAfter) {
			p.Forget(name)
		}
	}
	for name := range p.beyond {
		if !known(name) {
			delete(p.beyond, name)
		}
	}
}

// Forget drops a route that is there no longer. What it has saved stays, as a sum over all of those.
func (p *Proof) Forget(route string) {
	delete(p.beyond, route)
	r := p.routes[route]
	if r == nil {
		return
	}
	delete(p.routes, route)
	const why = "routes that are no more"
	r.end(why)
	for _, e := range r.epochs {
		if e.Why = why; p.gone.Why == "" {
			p.gone = e
			continue
		}
		from, to := p.gone.From, p.gone.To
		p.gone = p.gone.and(e)
		if from.Before(e.From) {
			p.gone.From = from
		} else {
			p.gone.From = e.From
		}
		if to.After(p.gone.To) {
			p.gone.To = to
		}
	}
}

// since are the sums of the spans that end after a time, of this epoch.
func (r *routeProof) since(from time.Time) *span {
	sum := &span{}
	first := true
	for _, s := range r.spans {
		if s.to.Before(from) {
			continue
		}
		if first {
			sum.decision, first = s.decision, false
		}
		sum.merge(s)
	}
	return sum.whole()
}

// saved is what all exchanges outside of the hold-back have saved together.
func (s *span) saved(m measure) Estimate {
	e, n := s.amount(m)
	return e.times(-n)
}
