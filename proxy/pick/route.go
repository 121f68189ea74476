package pick

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/analysis/regime"
)

// Route is a route ready for choosing, with the state of its targets.
type Route struct {
	spec     Spec
	targets  []*Target
	tiers    [][]int // indices of targets, by priority
	fallback [Causes][]ref
	epoch    time.Time // times are kept as nanoseconds since then
	plans    atomic.Pointer[plans]
	budget   budget
	hedges   hedgeBudget
	memory   *memory // of prefixes; nil without affinity
}

// ref is an entry of a fallback chain: a target of the route itself, or another route.
type ref struct {
	route  *Route
	target int // -1: of route, by its shares
}

// Routes are all routes of a configuration, by name.
type Routes struct {
	byName map[string]*Route
	order  []*Route
}

// NewRoutes makes routes of specs: the old ones where nothing has changed. Targets that old has under the same route, name and identity keep their state. epoch is any time that is not
// after those that will be given; old may be nil.
func NewRoutes(specs []Spec, old *Routes, epoch time.Time) (*Routes, error) {
	if old.are(specs) {
		return old, nil
	}
	rs := &Routes{byName: make(map[string]*Route, len(specs))}
	for i := range specs {
		s := specs[i]
		if len(s.Targets) > MaxTargets {
			return nil, fmt.Errorf("route %s: %d targets, at most %d", s.Name, len(s.Targets), MaxTargets)
		}
		r := &Route{spec: s, epoch: epoch}
		var before *Route
		if old != nil {
			if before = old.byName[s.Name]; before != nil {
				r.epoch = before.epoch
				r.budget.spent.Store(before.budget.spent.Load())
				r.budget.refused.Store(before.budget.refused.Load())
				r.hedges.made.Store(before.hedges.made.Load())
				r.hedges.spent.Store(before.hedges.spent.Load())
			}
		}
		for j := range s.Targets {
			t := newTarget(r, j, &s.Targets[j])
			t.inherit(before)
			r.targets = append(r.targets, t)
		}
		r.sortTiers()
		if s.Affinity {
			if r.memory = new(memory); before.sameTargets(r) && before.memory != nil {
				r.memory = before.memory
			}
		}
		rs.byName[s.Name] = r
		rs.order = append(rs.order, r)
	}
	for _, r := range rs.order {
		for c, names := range r.spec.Fallback {
			for _, name := range names {
				f := ref{r, slices.IndexFunc(r.targets, func(t *Target) bool { return t.spec.Name == name })}
				if f.target < 0 {
					if f.route = rs.byName[name]; f.route == nil {
						return nil, fmt.Errorf("route %s: fallback %s: %q is neither a target of it nor a route", r.spec.Name, Cause(c), name)
					}
				}
				r.fallback[c] = append(r.fallback[c], f)
			}
		}
	}
	return rs, nil
}

// are tells whether the specs say what the routes were made of.
func (rs *Routes) are(specs []Spec) bool {
	return rs != nil && slices.EqualFunc(rs.order, specs, func(r *Route, s Spec) bool { return reflect.DeepEqual(&r.spec, &s) })
}

// inherit takes over the state of the target of the same name and identity; of one with another identity, only what an operator has done to it.
// Attempts under way stay with the old one, which they settle.
func (t *Target) inherit(before *Route) {
	if before == nil {
		return
	}
	for _, o := range before.targets {
		switch {
		case o.spec.Name != t.spec.Name:
			continue
		case o.spec.Identity == t.spec.Identity:
			t.copy(o)
		default:
			t.copyHand(o)
		}
		return
	}
}

// copyHand takes over what an operator has done to another target.
func (t *Target) copyHand(o *Target) {
	o.mu.Lock()
	reason := o.reason
	o.mu.Unlock()
	if o.until.Load() == forever {
		t.Eject(reason)
	}
	if o.drained.Load() {
		t.Drain(true, reason)
	}
}

// copy takes over the state of another target.
func (t *Target) copy(o *Target) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k := range t.times {
		from, to := &o.times[k], &t.times[k]
		to.peak.Store(from.peak.Load())
		to.at.Store(from.at.Load())
		to.slope.Store(from.slope.Load())
		to.p97.Store(from.p97.Load())
		to.p99.Store(from.p99.Load())
		fit := *from.fit
		to.fit, to.count = &fit, from.count
	}
	t.inFlight = o.inFlight
	t.trouble.Store(true)
	if until := o.until.Load(); until == forever || !t.route.spec.Ejection.Off { // else nothing would bring it back
		t.until.Store(until)
	}
	t.back.Store(o.back.Load())
	t.limited.Store(o.limited.Load())
	t.paced.Store(o.paced.Load())
	t.drained.Store(o.drained.Load())
	t.retired.Store(o.retired.Load())
	t.ejections.Store(o.ejections.Load())
	if t.route.spec.Ejection.FalseEvery == o.route.spec.Ejection.FalseEvery {
		failures, slow := *o.failures, *o.slow
		t.failures, t.slow = &failures, &slow
	} else {
		usual, _ := o.failures.Rates()
		late, _ := o.slow.Rates()
		t.failures, t.slow = regime.NewErrorRate(usual, t.route.spec.Ejection.FalseEvery), regime.NewErrorRate(late, t.route.spec.Ejection.FalseEvery)
	}
	t.streak, t.lastOut, t.score, t.limits, t.forbidden, t.reason = o.streak, o.lastOut, o.score, o.limits, o.forbidden, o.reason
}

// sameTargets tells whether the indices of two routes' targets mean the same.
func (r *Route) sameTargets(o *Route) bool {
	return r != nil && slices.EqualFunc(r.targets, o.targets, func(a, b *Target) bool { return a.spec.Name == b.spec.Name && a.spec.Identity == b.spec.Identity })
}

func (r *Route) sortTiers() {
	byPriority := map[int][]int{}
	var priorities []int
	for i, t := range r.targets {
		if byPriority[t.spec.Priority] == nil {
			priorities = append(priorities, t.spec.Priority)
		}
		byPriority[t.spec.Priority] = append(byPriority[t.spec.Priority], i)
	}
	slices.Sort(priorities)
	for _, p := range priorities {
		r.tiers = append(r.tiers, byPriority[p])
	}
}

// Route is the route of that name, or nil.
func (rs *Routes) Route(name string) *Route {
	if rs == nil {
		return nil
	}
	return rs.byName[name]
}

// All are the routes in the order of the configuration.
func (rs *Routes) All() []*Route {
	if rs == nil {
		return nil
	}
	return rs.order
}

// Name is the route's name.
func (r *Route) Name() string { return r.spec.Name }

// Targets are the route's targets in the order of the configuration.
func (r *Route) Targets() []*Target { return r.targets }

// Target is the target of that name, or nil.
func (r *Route) Target(name string) *Target {
	for _, t := range r.targets {
		if t.spec.Name == name {
			return t
		}
	}
	return nil
}

// Spec is what the route was made of; it is not to be changed.
func (r *Route) Spec() *Spec { return &r.spec }

// at is a time as the route keeps it.
func (r *Route) at(now time.Time) int64 { return int64(now.Sub(r.epoch)) }

// Tick looks after attempts that wait too long. Call it a few times a second. changed is told of each target that it has ejected; nil: nobody.
func (rs *Routes) Tick(now time.Time, changed func(*Target, Change)) {
	for _, r := range rs.All() {
		at := r.at(now)
		for _, t := range r.targets {
			t.calm(at)
			if t.inFlight.Load() == 0 {
				continue
			}
			if c := t.sweep(at); c != NoChange && changed != nil {
				changed(t, c)
			}
		}
	}
}

// Active is the number of exchanges under way on the route, and of repetitions among their attempts.
func (r *Route) Active() (exchanges, repeats int64) {
	return r.budget.active.Load(), r.budget.repeats.Load()
}

// Repeats counts repetitions that were made, and those that the retry budget has refused.
func (r *Route) Repeats() (made, refused uint64) {
	return r.budget.spent.Load(), r.budget.refused.Load()
}
