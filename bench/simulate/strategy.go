package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
)

// strategy decides where requests go.
type strategy interface {
	start(w *world, r *request) walk
	tick(now time.Time)
}

// walk is one exchange's way.
type walk interface {
	first(now time.Time) (target int, ok bool)
	next(now time.Time, f failure, after time.Duration) (target int, wait time.Duration, ok bool)
	hedge(now time.Time) (target int, ok bool)
	hedgeAfter(target int) (time.Duration, bool)
	firstByte(target int) time.Duration
	began(now time.Time, target int, hedge bool)
	content(now time.Time, a *attempt)
	settle(now time.Time, a *attempt, r *request, res *pick.Result)
	end(now time.Time, e *ended)
}

// Production is the name of the strategy that the proxy runs.
const Production = "llmopt"

// Consecutive is the name of weighted shares with Envoy's outlier detection: ejection after five failures in a row.
const Consecutive = "consecutive-5xx"

// Optimized is the name of the same with the optimizer.
const Optimized = "llmopt-auto"

// RoutingOnly is the name of the same with the tuner of shares alone.
const RoutingOnly = "llmopt-auto-routing"

// LimitsOnly is the name of the same with the tuner of limits alone.
const LimitsOnly = "llmopt-limits"

// makers are all strategies by name.
var makers = map[string]func(w *world) strategy{
	Production:       newProduction,
	Optimized:        newOptimized,
	RoutingOnly:      func(w *world) strategy { return newTuned(w, optimizer.DefaultRouting) },
	LimitsOnly:       func(w *world) strategy { return newTuned(w, optimizer.DefaultLimits) },
	Clairvoyant:      newClairvoyant,
	"shuffle":        func(w *world) strategy { return newBaseline(w, shuffle) },
	"least-busy":     func(w *world) strategy { return newBaseline(w, leastBusy) },
	"lowest-latency": func(w *world) strategy { return newBaseline(w, lowestLatency) },
	"lowest-cost":    func(w *world) strategy { return newBaseline(w, lowestCost) },
	"p2c-ewma":       func(w *world) strategy { return newBaseline(w, peakEWMA) },
	Consecutive:      func(w *world) strategy { return newBaseline(w, shuffle) },
	NoEjection:       withoutEjection,
	NoAffinity:       withoutAffinity,
	NoChance:         withoutExploration,
}

// Strategies are the names of all there are: the production one first.
func Strategies() []string {
	names := slices.Sorted(maps.Keys(makers))
	return append([]string{Production}, slices.DeleteFunc(names, func(n string) bool { return n == Production })...)
}

func makerOf(name string, targets int) (func(w *world) strategy, error) {
	for _, prefix := range []string{fixedPrefix, noReflexPrefix} {
		if text, ok := strings.CutPrefix(name, prefix); ok {
			shares, err := sharesOf(text, targets)
			return func(w *world) strategy {
				if prefix == noReflexPrefix {
					w = noReflexes(w)
				}
				p := newProduction(w).(*production) //nolint:forcetypeassert // it makes nothing else
				p.weigh(shares)
				return p
			}, err
		}
	}
	if m := makers[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no policy %q: want %s", name, strings.Join(Strategies(), ", "))
}

// production is the proxy's own code in virtual time.
type production struct {
	w       *world
	routes  *pick.Routes
	route   *pick.Route
	policy  *policy.Snapshot
	windows *window.Recorder
	series  []*window.Series
	loop    *optimizer.Loop   // nil: the operator's shares stay
	static  policy.Parameters // the operator's
	cycled  time.Time

	gate   *gate // nil: no caller has limits
	tokens *limit.Estimator
	paced  [pick.MaxTargets]optimizer.KnownPace
	read   limit.Headers
}

func newProduction(w *world) strategy {
	spec := pick.Spec{
		Name: w.Route.Name, SLO: w.Route.SLO, Attempts: w.Route.Attempts, Backoff: 200 * time.Millisecond, MaxWait: 5 * time.Second,
		Affinity: w.Route.Affinity, Exploration: w.Route.Explore, Ejection: w.Route.Ejection,
	}
	route := policy.Route{Parameters: policy.Parameters{
		Targets: map[string]policy.Target{}, Limits: limitsOf(w), FirstByteFactor: w.Route.Learned, HedgeShare: w.Route.Hedge, RetryShare: pick.DefaultRetryShare,
	}}
	p := &production{w: w, windows: window.NewRecorder(pick.MaxTargets), gate: newGate(w), tokens: limit.NewEstimator()}
	for i := range w.providers {
		w.providers[i].pace = newPace(w)
	}
	for i := range w.Targets {
		t := &w.Targets[i]
		spec.Targets = append(spec.Targets, pick.TargetSpec{
			Name: t.Name, Identity: t.Name, Priority: t.Priority, MaxConcurrency: t.Max, Equal: fmt.Sprint(t.In, t.Out),
		})
		route.Targets[t.Name] = policy.Target{Weights: [policy.Classes]float64{t.Weight, t.Weight, t.Weight}, Pace: paceShareOf(t)}
		p.series = append(p.series, p.windows.Series(window.Key{Target: t.Name, Route: w.Route.Name, Class: "light", Arm: "treated"}))
	}
	var err error
	if p.routes, err = pick.NewRoutes([]pick.Spec{spec}, nil, begin); err != nil {
		panic("BUG: scenario was checked: " + err.Error())
	}
	p.route = p.routes.Route(w.Route.Name)
	p.policy = &policy.Snapshot{Version: 1, Routes: map[string]policy.Route{w.Route.Name: route}}
	return p
}

func (p *production) tick(now time.Time) {
	p.routes.Tick(now, p.changed)
	p.windows.Advance(now)
	if p.gate != nil {
		p.gate.set.Sweep(now)
	}
	if p.loop != nil {
		p.cycle(now)
	}
}

func (p *production) changed(t *pick.Target, c pick.Change) {
	if c == pick.Ejected {
		p.w.result.ejected(p.w, t.Index())
	}
}

func (p *production) start(_ *world, r *request) walk {
	route := p.policy.Routes[p.w.Route.Name]
	q := pick.Query{Stream: true, Input: int64(r.input), Arm: route.Arm(r.session)}
	if p.w.isWatched(r) {
		q.Arm = policy.Holdback
	}
	if w := p.w; w.Route.Affinity {
		q.Prefix = prefixOf(r.blocks)
	}
	return &productionWalk{p: p, walk: p.route.Start(p.policy, q), arm: q.Arm, params: route.Of(q.Arm)}
}

// prefixOf is the chain of the first 2,000 tokens.
func prefixOf(blocks []uint64) (p pick.Prefix) {
	for _, b := range blocks[:min(len(blocks), pick.MaxPrefix)] {
		p.Add(b*0x9e3779b97f4a7c15 + 1)
	}
	return p
}

type productionWalk struct {
	p       *production
	walk    pick.Walk
	params  *policy.Parameters
	leases  [2]pick.Lease // of the attempt, and of its hedge
	turns   [2]turn       // likewise
	hedged  pick.Choice   // the hedge's
	pass    pass
	paced   time.Duration // that it has waited for limits of providers
	lacked  limit.Dimension
	lacks   bool          // it has found no room there, for want of lacked
	short   time.Duration // of one that was turned away: until there may be room
	away    bool          // it was
	size    int64         // output that was reserved
	guessed bool          // before enough answers were known
	chosen  int           // the first target, from 1
	forced  bool
	arm     policy.Arm
}

func (x *productionWalk) first(now time.Time) (int, bool) {
	c, refusal := x.walk.First(now, x.p.w.luck.Uint64())
	if refusal != pick.NoRefusal {
		return 0, false
	}
	x.chosen, x.forced = c.Target.Index()+1, c.Propensity == 0 && c.Why != pick.ByAffinity
	return c.Target.Index(), true
}

func (x *productionWalk) next(now time.Time, f failure, after time.Duration) (int, time.Duration, bool) {
	cause := pick.Failed
	if f == limited {
		cause = pick.RateLimited
	}
	c, wait, ok := x.walk.Next(now, x.p.w.luck.Uint64(), pick.Failure{Cause: cause, Repeatable: true, RetryAfter: after})
	if !ok {
		return 0, 0, false
	}
	return c.Target.Index(), wait, true
}

func (x *productionWalk) hedge(now time.Time) (int, bool) {
	c, ok := x.walk.Hedge(now, x.p.w.luck.Uint64())
	if !ok {
		return 0, false
	}
	x.hedged = c
	return c.Target.Index(), true
}

func (x *productionWalk) hedgeAfter(target int) (time.Duration, bool) {
	if x.params.HedgeShare <= 0 {
		return 0, false
	}
	d := x.p.route.Targets()[target].HedgeAfter(x.walk.Query())
	return d, d > 0
}

func (x *productionWalk) firstByte(target int) time.Duration {
	d := x.p.w.Route.FirstByte
	if learned := x.p.route.Targets()[target].FirstByte(x.walk.Query(), x.params.FirstByteFactor); learned > 0 {
		d = min(d, learned)
	}
	return d
}

func leaseOf(hedge bool) int {
	if hedge {
		return 1
	}
	return 0
}

func (x *productionWalk) began(now time.Time, target int, hedge bool) {
	x.leases[leaseOf(hedge)] = x.p.route.Targets()[target].Begin(now, x.walk.Query())
}

func (x *productionWalk) content(now time.Time, a *attempt) {
	x.walk.Answered()
	x.leases[leaseOf(a.hedge)].Answered()
	x.heard(now, a, limit.Through)
}

func (x *productionWalk) settle(now time.Time, a *attempt, r *request, res *pick.Result) {
	res.Paced = x.turns[leaseOf(a.hedge)].pace != nil
	x.p.changed(x.p.route.Targets()[a.target], x.leases[leaseOf(a.hedge)].Settle(now, res))
	o := window.Observation{Duration: now.Sub(begin.Add(a.start)), TTFT: res.Took, TokensInput: int64(r.input), Outcome: window.UpstreamError}
	switch res.Outcome {
	case pick.Good:
		o.Outcome, o.TokensOutput = window.OK, int64(r.output)
	case pick.Limited:
		o.Outcome = window.RateLimited
	case pick.Neutral:
		o.Outcome = window.Canceled
	}
	x.p.series[a.target].Record(now, &o)
	x.over(now, a, r, res.Outcome)
}

func (x *productionWalk) end(now time.Time, e *ended) {
	x.walk.Paid(int64(e.cost*1e9), int64(e.lost*1e9))
	x.walk.End()
	x.leave(now, e)
	if x.p.loop != nil {
		x.p.observe(now, x, e)
	}
}
