package optimizer

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// Plant is what the loop acts on.
type Plant interface {
	// Known is what is known of all routes at the moment.
	Known(now time.Time) []Known
	// Publish puts changed routes in force, by name. An error means that somebody else has changed the policy since Known: nothing is changed then.
	Publish(routes map[string]policy.Route) error
}

// Settings are the loop's.
type Settings struct {
	Bounds   Bounds
	Trials   Trials
	Holdback float64                    // share of the sessions that stay on the operator's settings
	Modes    map[string]Mode            // by tuner; others observe
	Routes   map[string]map[string]Mode // of single routes, by route and tuner
	// Phase is called at the begin of each phase of a cycle, and "" at its end. The loop has no clock. Nil: nobody wants to know.
	Phase func(phase, tuner string)
}

// The phases of a cycle. Those of analysing to guarding are gone through for each route and tuner.
const (
	PhaseCollect = "collect"
	PhaseAnalyse = "analyse"
	PhaseDecide  = "decide"
	PhaseGuard   = "guard"
	PhasePublish = "publish"
	PhaseVerify  = "verify"
)

// Phases are all of them, in their order.
var Phases = []string{PhaseCollect, PhaseAnalyse, PhaseDecide, PhaseGuard, PhasePublish, PhaseVerify}

// Loop is the optimizer. It is not safe for concurrent use.
type Loop struct {
	*Collector
	Proof    *Proof // of what it has saved; what is known of it outlives restarts by itself
	plant    Plant
	settings Settings
	tuners   []Tuner
	writing  map[string]json.RawMessage // the tuners' settings as decisions have them
	routes   map[string]*routeLoop
	orders   orders
	fences   map[string]Fence
	failed   map[string]failing // by tuner; it outlives a fence
	decided  uint64             // decisions that have an ID
}

// routeLoop is a route's state in the loop.
type routeLoop struct {
	name   string
	static policy.Parameters // that all of this belongs to
	seen   time.Time         // when the plant last knew it; zero: not since the begin
	guards map[string]*guard // by tuner: no two own the same parameter, so that none has to wait because of another
	ramps  map[string]*ramp  // under way, by tuner
	goals  map[string]*goal  // the same, of decisions that are made
	trial  *trial            // nil: none
	backed map[string]*backOff
	barred []bar   // what operators do not want again
	held   bool    // there is a hold-back to compare with
	share  float64 // of the sessions
	incidents
	said map[string]string // last verdict of each tuner
}

// ramp is a decision on its way to what its tuner wants, in steps.
type ramp struct {
	at    time.Time // of the last step
	moved time.Time // of the last one that moved anything
}

// rampOpen is how long a decision may stand still before it is over.
const rampOpen = 5 * time.Minute

// New returns a loop.
func New(plant Plant, s Settings, tuners ...Tuner) *Loop {
	l := &Loop{
		Collector: NewCollector(), Proof: NewProof(), plant: plant, settings: s, tuners: tuners, writing: map[string]json.RawMessage{}, routes: map[string]*routeLoop{},
		orders: newOrders(), fences: map[string]Fence{}, failed: map[string]failing{},
	}
	for _, t := range tuners {
		l.writing[t.Name()], _ = json.Marshal(t) //nolint:errchkjson // plain data; without it a decision can't be replayed, and says so
	}
	if l.settings.Phase == nil {
		l.settings.Phase = func(string, string) {}
	}
	return l
}

// Change puts other settings and tuners in place. What is under way goes on by them.
func (l *Loop) Change(s Settings, tuners ...Tuner) {
	next := New(l.plant, s, tuners...)
	l.settings, l.tuners, l.writing = next.settings, next.tuners, next.writing
	for _, r := range l.routes {
		for _, g := range r.guards {
			g.Bounds = s.Bounds
		}
	}
}

// Observe takes an exchange in.
func (l *Loop) Observe(x *window.Exchange) {
	if x.Limited.Refused == window.ByGateway {
		l.Collector.ObserveRefused(x)
		return
	}
	if x.Target != "" { // else none was left
		l.Collector.Observe(x)
	}
	r := l.routes[x.Route]
	if r == nil || x.Shared {
		return
	}
	if r.held {
		l.Proof.Observe(x)
	}
	if r.trial != nil {
		r.trial.observe(x)
	}
}

// change is what a cycle makes of a route.
type change struct {
	known   *Known
	next    policy.Parameters
	changed bool
	canary  *policy.Canary
	commits []func() // once it is in force
}

// Step is one cycle. It returns what was decided; holds and refusals are left out where nothing has changed since the cycle before.
func (l *Loop) Step(now time.Time) (decisions []Decision) {
	l.settings.Phase(PhaseCollect, "")
	changes := map[string]*change{}
	for _, c := range l.Collector.Changed() {
		decisions = append(decisions, Decision{
			At: now, Route: c.Route, Tuner: "analysis", Verdict: Noticed, Proposal: Proposal{Reason: fmt.Sprintf("%s's %s", c.Target, &c.Regime), Evidence: c.Reason},
		})
	}
	all := l.plant.Known(now)
	priceMemory(all)
	for _, known := range all {
		r := l.route(now, &known)
		r.seen = now
		c := &change{known: &known, next: known.InForce, canary: known.Canary}
		changes[known.Name] = c
		for _, d := range l.stepRoute(now, r, c) {
			if d.Tuner == "" {
				d.Tuner = "loop"
			}
			decisions = append(decisions, d)
		}
	}
	l.settings.Phase(PhasePublish, "")
	if l.publish(changes) {
		for _, name := range slices.Sorted(maps.Keys(changes)) {
			for _, commit := range changes[name].commits {
				commit()
			}
		}
	} else {
		l.overtaken(decisions)
	}
	l.dropRemoved(now)
	l.settings.Phase("", "")
	return decisions
}

// removedAfter is how long the plant must not have known a route for it to be removed: while settings are read again, it may miss one.
const removedAfter = 10 * time.Minute

// dropRemoved forgets routes that are no more. What they have saved stays as a sum.
func (l *Loop) dropRemoved(now time.Time) {
	for _, name := range l.Routes() {
		r := l.routes[name]
		if r.seen.IsZero() {
			r.seen = now
		}
		if now.Sub(r.seen) < removedAfter {
			continue
		}
		delete(l.routes, name)
		l.orders.remove(name)
		l.Proof.Forget(name)
	}
	for name := range l.Collector.routes {
		if l.routes[name] == nil {
			l.Collector.Drop(name)
		}
	}
	l.Proof.keep(now, func(name string) bool { return l.routes[name] != nil })
}

// overtaken says of decisions that they are not in force, because somebody else has changed the policy meanwhile.
func (l *Loop) overtaken(decisions []Decision) {
	for i := range decisions {
		switch d := &decisions[i]; d.Verdict {
		case Applied, Trying, Promoted, RolledBack:
			d.Verdict, d.Why, d.Guard = Refused, "somebody else has changed the policy meanwhile", nil
			delete(l.routes[d.Route].ramps, d.Tuner)
			delete(l.routes[d.Route].said, d.Tuner)
		default:
		}
	}
}

// publish puts in force what has changed; false: somebody else was faster, and the next cycle sees what is in force then.
func (l *Loop) publish(changes map[string]*change) bool {
	out := map[string]policy.Route{}
	for name, c := range changes {
		next := l.routeOf(c.known, c.next, c.canary)
		if now := l.routeOf(c.known, c.known.InForce, c.known.Canary); c.changed || next.Holdback != c.known.Holdback || !reflect.DeepEqual(next, now) {
			out[name] = next
		}
	}
	return len(out) == 0 || l.plant.Publish(out) == nil
}

// routeOf is the policy of a route: with a hold-back where anything differs from what the operator has set, or may do so soon, so that both sides are known
// to be alike before.
func (l *Loop) routeOf(k *Known, p policy.Parameters, canary *policy.Canary) policy.Route {
	r := policy.Route{Parameters: p, Canary: canary}
	if canary != nil || l.tunes(k.Name) && l.settings.Holdback > 0 || !reflect.DeepEqual(p, k.Static) {
		r.Static, r.Holdback = &k.Static, l.settings.Holdback
	}
	return r
}

// route is the state of a route, which begins anew when the operator has set it up anew.
func (l *Loop) route(now time.Time, k *Known) *routeLoop {
	r := l.routes[k.Name]
	if r == nil || !reflect.DeepEqual(r.static, k.Static) {
		if r != nil {
			l.orders.forget(k.Name)
			l.Proof.Reset(k.Name, now, "the route was set up anew")
		}
		r = &routeLoop{
			name: k.Name, static: k.Static, guards: map[string]*guard{}, ramps: map[string]*ramp{}, goals: map[string]*goal{},
			backed: map[string]*backOff{}, said: map[string]string{},
		}
		l.routes[k.Name] = r
	}
	return r
}

// mode is how far a tuner may go on a route.
func (l *Loop) mode(route, tuner string) Mode {
	if _, fenced := l.fences[tuner]; fenced {
		return Observe
	}
	return l.allowed(route, tuner)
}

// allowed is the same as settings and operators have it, also of a tuner that has failed.
func (l *Loop) allowed(route, tuner string) Mode {
	m, ordered := l.orders.mode(route, tuner)
	if own, has := l.settings.Routes[route][tuner]; has && !ordered {
		m, ordered = own, true
	}
	if !ordered {
		m = l.settings.Modes[tuner]
	}
	if m == Canary && l.untriable(tuner) != "" {
		return Recommend
	}
	return m
}

// untriable is why a tuner's changes can't be tried; empty: they can.
func (l *Loop) untriable(tuner string) string {
	for _, t := range l.tuners {
		if u, is := t.(Untriable); is && t.Name() == tuner {
			return u.Why()
		}
	}
	return ""
}

// tunes tells whether any tuner may change a route.
func (l *Loop) tunes(route string) bool {
	return slices.ContainsFunc(l.tuners, func(t Tuner) bool { return l.allowed(route, t.Name()) >= Canary })
}

// stepRoute is one cycle of one route.
func (l *Loop) stepRoute(now time.Time, r *routeLoop, c *change) (decisions []Decision) {
	frozen := l.orders.frozen(now, r.name)
	if frozen == "" {
		if d := l.endPins(now, r, c); d != nil {
			return d // what is under way goes on from there with the next cycle
		}
	}
	if frozen == "" {
		if d := l.stepIncident(now, r, c); d != nil {
			return d // what is under way is over, and the rest comes with the next cycle
		}
	}
	l.settings.Phase(PhaseVerify, "")
	d, over := l.verify(now, r, c, frozen)
	decisions = append(decisions, d...)
	if over {
		return decisions
	}
	decisions = append(decisions, l.stepTrial(now, r, c, frozen)...)
	l.settings.Phase(PhaseCollect, "")
	e := l.Evidence(now, c.known)
	e.InForce = c.next
	l.press(&e, c.known.Budgets)
	if why := e.unusable(); why != "" {
		l.Collector.Drop(r.name)
		if said := "unusable"; r.said["loop"] != said { // once, until it can be used again
			r.said["loop"] = said
			decisions = append(decisions, Decision{At: now, Route: r.name, Verdict: Refused, Why: "what is known of the route can't be used, and is forgotten: " + why})
		}
		return decisions
	}
	delete(r.said, "loop")
	for _, t := range l.tuners {
		for _, d := range l.stepTuner(now, r, t, &e, c, frozen) {
			if said := string(d.Verdict) + d.Reason + d.Why; d.Verdict != Held && d.Verdict != Refused || said != r.said[t.Name()] {
				r.said[t.Name()] = said
				decisions = append(decisions, d)
			}
		}
		e.InForce = c.next
	}
	return decisions
}

// Untune forgets what is under way on all routes: they are put back to how they are configured.
func (l *Loop) Untune(now time.Time) {
	for name, r := range l.routes {
		r.trial, r.parked = nil, nil
		clear(r.goals)
		clear(r.ramps)
		l.orders.forget(name)
		l.Proof.Reset(name, now, "the optimizer was switched off")
	}
}

// Modes are the modes in force, by tuner, of a route.
func (l *Loop) Modes(route string) map[string]Mode {
	out := map[string]Mode{}
	for _, t := range l.tuners {
		out[t.Name()] = l.mode(route, t.Name())
	}
	return out
}

// Routes are the names of the routes that the loop has seen, in order.
func (l *Loop) Routes() []string { return slices.Sorted(maps.Keys(l.routes)) }

// Trials are the trials under way, by route.
func (l *Loop) Trials() map[string]TrialReport {
	out := map[string]TrialReport{}
	for name, r := range l.routes {
		if r.trial != nil {
			out[name] = *r.trial.report()
		}
	}
	return out
}

// clone is a copy that stays as it is.
func (e *RouteEvidence) clone() *RouteEvidence {
	c := *e
	c.InForce.Targets, c.Static.Targets = maps.Clone(e.InForce.Targets), maps.Clone(e.Static.Targets)
	c.Targets = append([]TargetEvidence(nil), e.Targets...)
	c.Cache = e.Cache.clone()
	c.Limits = e.Limits.clone()
	return &c
}
