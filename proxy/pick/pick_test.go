package pick

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a few routes with a policy, and a clock.
type world struct {
	t      testing.TB
	routes *Routes
	policy *policy.Snapshot
	now    time.Time
	draw   *rand.Rand
}

// unexplored is what a spec has for no exploration.
const unexplored = -1

// newWorld has routes as the defaults of the configuration make them, but for what the specs say.
func newWorld(t testing.TB, specs ...Spec) *world {
	t.Helper()
	w := &world{t: t, now: epoch, draw: rand.New(rand.NewPCG(1, 2)), policy: &policy.Snapshot{Routes: map[string]policy.Route{}}}
	for i := range specs {
		s := &specs[i]
		if s.Attempts == 0 {
			s.Attempts = 3
		}
		if s.Ejection == (Ejection{}) {
			s.Ejection = DefaultEjection
		}
		if s.MaxWait == 0 {
			s.MaxWait = 10 * time.Second
		}
		switch s.Exploration {
		case 0:
			s.Exploration = DefaultExploration
		case unexplored:
			s.Exploration = 0
		}
		route := policy.Route{Parameters: policy.Parameters{Targets: map[string]policy.Target{}}}
		for _, target := range s.Targets {
			route.Targets[target.Name] = policy.Target{Weights: [Classes]float64{1, 1, 1}}
		}
		w.policy.Routes[s.Name] = route
	}
	var err error
	if w.routes, err = NewRoutes(specs, nil, epoch); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) weigh(route string, weights ...float64) {
	for i, target := range w.routes.Route(route).Targets() {
		w.policy.Routes[route].Targets[target.Name()] = policy.Target{Weights: [Classes]float64{weights[i], weights[i], weights[i]}}
	}
	next := *w.policy
	w.policy = &next // another snapshot, so that plans are made anew
}

func (w *world) walk(route string, q Query) Walk {
	return w.routes.Route(route).Start(w.policy, q)
}

// first is the choice of an exchange that is over at once.
func (w *world) first(route string, q Query) (Choice, Refusal) {
	walk := w.walk(route, q)
	defer walk.End()
	return walk.First(w.now, w.draw.Uint64())
}

// serve has n exchanges go to their targets, a tenth of a second apart, with an outcome by target.
func (w *world) serve(route string, n int, outcome func(target string) Result) (counts map[string]int) {
	counts = map[string]int{}
	for range n {
		w.now = w.now.Add(100 * time.Millisecond)
		c, refusal := w.first(route, Query{Stream: true, Input: 1000})
		if refusal != NoRefusal {
			counts["refused"]++
			continue
		}
		counts[c.Target.Name()]++
		lease := c.Target.Begin(w.now, &Query{Stream: true, Input: 1000})
		r := outcome(c.Target.Name())
		lease.Settle(w.now, &r)
	}
	return counts
}

func good(string) Result { return Result{Outcome: Good, Took: 300 * time.Millisecond} }

func targets(names ...string) (specs []TargetSpec) {
	for _, name := range names {
		specs = append(specs, TargetSpec{Name: name, Identity: name})
	}
	return specs
}

func equals(n int) (specs []TargetSpec) {
	for i := range n {
		specs = append(specs, TargetSpec{Name: fmt.Sprint(i), Equal: "same"})
	}
	return specs
}

func TestChoose_Shares(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b", "c")})
	w.weigh("r", .6, .4, 0)
	const n = 20000
	got := w.serve("r", n, good)
	check := func(name string, want float64) {
		t.Helper()
		if share := float64(got[name]) / n; math.Abs(share-want) > .015 {
			t.Errorf("share of %s: %.3f, want %.3f", name, share, want)
		}
	}
	check("a", .99*.6+.005)
	check("b", .99*.4+.005)
	if got["c"] > 0 {
		t.Error("a share of 0 did not stay 0")
	}
	w.weigh("r", 1, 0, 0)
	if got := w.serve("r", 1000, good); got["a"] != 1000 {
		t.Errorf("got %v, want a alone", got)
	}
}

// Exploration is the part of the choices that it says, the same for all targets with a share.
func TestChoose_Exploration(t *testing.T) {
	t.Parallel()
	for _, part := range []float64{0, .01, .2} {
		s := Spec{Name: "r", Targets: targets("a", "b", "c"), Exploration: part}
		if part == 0 {
			s.Exploration = unexplored
		}
		w := newWorld(t, s)
		w.weigh("r", 1, 1e-9, 0)
		const n = 100_000
		seen, byChance := map[string]float64{}, 0.
		for range n {
			c, _ := w.first("r", Query{})
			if seen[c.Target.Name()]++; c.Why == ByChance {
				byChance++
			}
		}
		if tolerance := 5 * math.Sqrt(part/n); math.Abs(byChance/n-part) > tolerance || math.Abs(seen["b"]/n-part/2) > tolerance || seen["c"] > 0 {
			t.Errorf("of %v: %v by chance, b has %v, c %v", part, byChance/n, seen["b"]/n, seen["c"]/n)
		}
		if e := w.routes.Route("r").Explain(w.now, w.policy, &Query{}); math.Abs(e.Candidates[1].Probability-part/2) > 1e-8 {
			t.Errorf("of %v: explained as %+v", part, e.Candidates)
		}
	}
}

// What is recorded as propensity is how often the choice falls on a target in that state: for every target, the mean of 1/propensity over
// the choices of it, per choice made, is 1.
func TestChoose_PropensityIsExact(t *testing.T) {
	t.Parallel()
	check := func(name string, specs []TargetSpec, weights []float64, prepare func(w *world)) {
		t.Helper()
		w := newWorld(t, Spec{Name: "r", Targets: specs})
		w.weigh("r", weights...)
		prepare(w)
		const n = 200000
		sum, seen := map[string]float64{}, map[string]int{}
		for range n {
			c, refusal := w.first("r", Query{Stream: true})
			if refusal != NoRefusal {
				t.Fatal(refusal)
			}
			if c.Why == ByProbe {
				continue
			}
			if c.Propensity <= 0 || c.Propensity > 1 {
				t.Fatalf("%s: propensity %v", name, c.Propensity)
			}
			sum[c.Target.Name()] += 1 / c.Propensity
			seen[c.Target.Name()]++
		}
		for target, s := range sum {
			p := float64(seen[target]) / n
			if tolerance := 5 * math.Sqrt((1-p)/p/n); math.Abs(s/n-1) > tolerance {
				t.Errorf("%s: target %s, chosen with %.4f, 1/propensity is %.4f per choice, want 1 ± %.4f", name, target, p, s/n, tolerance)
			}
		}
	}
	nothing := func(*world) {}
	check("unequal", targets("a", "b", "c"), []float64{.5, .3, .2}, nothing)
	check("equal, same load", equals(4), []float64{1, 1, 1, 1}, nothing)
	check("equal, different loads", equals(4), []float64{1, 1, 1, 1}, func(w *world) {
		for i, target := range w.routes.Route("r").Targets() {
			for range i {
				target.Begin(w.now, &Query{Stream: true})
			}
		}
	})
	check("a pair and another", append(equals(2), TargetSpec{Name: "other"}), []float64{.4, .4, .2}, func(w *world) {
		w.routes.Route("r").Targets()[1].Begin(w.now, &Query{Stream: true})
	})
	check("one on probation", targets("a", "b", "c"), []float64{.5, .3, .2}, func(w *world) {
		target := w.routes.Route("r").Target("a")
		target.mu.Lock()
		target.eject(target.route.at(w.now), &DefaultEjection, "test")
		target.mu.Unlock()
		w.now = w.now.Add(11 * time.Second)
		target.probed.Store(target.route.at(w.now)) // none is due by time
	})
}

func TestChoose_TheLighterOfEquals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: equals(2)})
	slow := func(target string) Result {
		r := good(target)
		if target == "1" {
			r.Took *= 4
		}
		return r
	}
	w.serve("r", 200, slow)
	got := w.serve("r", 2000, slow)
	if got["1"] > 60 { // exploration alone, 1 % of which a half
		t.Errorf("the slower of two got %d of 2000", got["1"])
	}
}

func TestTarget_OutageIsSeenWithinASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b", "c")})
	w.serve("r", 3000, good)
	down := func(target string) Result {
		if target == "a" {
			return Result{Outcome: Bad}
		}
		return good(target)
	}
	got := w.serve("r", 300, down) // thirty seconds, ten a second for all three
	if got["a"] > 15 {
		t.Errorf("%d of 300 exchanges went to a target that fails", got["a"])
	}
	if s := w.routes.Route("r").Target("a").Status(w.now); s.Ejections == 0 || s.Reason == "" {
		t.Errorf("status %+v", s)
	}
	// It recovers, is probed, and gets its share back.
	w.serve("r", 3000, good)
	if s := w.routes.Route("r").Target("a").Status(w.now); s.State != Healthy && s.State != SlowStart {
		t.Errorf("after five minutes of health: %v", s.State)
	}
	w.serve("r", 1000, good)
	if got := w.serve("r", 3000, good); got["a"] < 850 {
		t.Errorf("a has %d of 3000 after it came back", got["a"])
	}
}

func TestTarget_WhatIsNoFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	w.serve("r", 500, func(string) Result { return Result{Outcome: Neutral} })
	w.serve("r", 20, func(string) Result { return Result{Outcome: Limited, RetryAfter: time.Millisecond} })
	for _, target := range w.routes.Route("r").Targets() {
		if s := target.Status(w.now.Add(time.Second)); s.State != Healthy || s.Ejections > 0 {
			t.Errorf("%s: %+v", target.Name(), s)
		}
	}
}

func TestTarget_RateLimitRoutesAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	a := w.routes.Route("r").Target("a")
	lease := a.Begin(w.now, &Query{})
	lease.Settle(w.now, &Result{Outcome: Limited, RetryAfter: 5 * time.Second})
	if got := w.serve("r", 49, good); got["a"] > 0 {
		t.Errorf("%d went to a rate limited target", got["a"])
	}
	w.now = w.now.Add(time.Second)
	if got := w.serve("r", 100, good); got["a"] < 20 {
		t.Errorf("%d of 100 after the limit was over", got["a"])
	}
}

func TestTarget_CapacityRoutesAway(t *testing.T) {
	t.Parallel()
	specs := targets("a", "b")
	specs[0].MaxConcurrency, specs[1].MaxConcurrency = 1, 1
	w := newWorld(t, Spec{Name: "r", Targets: specs})
	q := &Query{}
	first := w.routes.Route("r").Target("a").Begin(w.now, q)
	if c, _ := w.first("r", *q); c.Target.Name() != "b" {
		t.Errorf("chose %s, which is full", c.Target.Name())
	}
	second := w.routes.Route("r").Target("b").Begin(w.now, q)
	if _, refusal := w.first("r", *q); refusal != Saturated {
		t.Errorf("refusal %v, want Saturated", refusal)
	}
	first.Settle(w.now, &Result{Outcome: Good})
	first.Settle(w.now, &Result{Outcome: Good}) // twice does nothing
	second.Settle(w.now, &Result{Outcome: Good})
	for _, target := range w.routes.Route("r").Targets() {
		if n := target.Status(w.now).InFlight; n != 0 {
			t.Errorf("%s: %d in flight", target.Name(), n)
		}
	}
}

func TestTarget_HangsAreSeenWhileTheyWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b"), SLO: time.Second})
	w.serve("r", 1000, good)
	a := w.routes.Route("r").Target("a")
	var hanging []Lease
	for range 20 { // two seconds in which nothing comes back
		w.now = w.now.Add(100 * time.Millisecond)
		hanging = append(hanging, a.Begin(w.now, &Query{Stream: true, Input: 1000}))
		w.routes.Tick(w.now, nil)
	}
	if s := a.Status(w.now); s.State != Out {
		t.Errorf("after 2 s: %+v", s)
	}
	for i := range hanging {
		hanging[i].Settle(w.now, &Result{Outcome: Bad})
	}
}

func TestRoute_PanicAndSingleTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b", "c")}, Spec{Name: "one", Targets: targets("a")}, Spec{Name: "fast", Targets: targets("a"), FailFast: true})
	bad := func(names string) func(string) Result {
		return func(target string) Result {
			if names == "all" || target == "a" || target == "b" {
				return Result{Outcome: Bad}
			}
			return good(target)
		}
	}
	got := w.serve("r", 600, bad("two"))
	if got["c"] < 400 || got["a"]+got["b"] < 20 {
		t.Errorf("two of three out: %v", got)
	}
	if got := w.serve("one", 300, bad("all")); got["refused"] > 0 {
		t.Errorf("a single target must stay usable: %v", got)
	}
	if got := w.serve("fast", 300, bad("all")); got["refused"] < 200 {
		t.Errorf("set to fail fast: %v", got)
	}
	if c, refusal := w.first("fast", Query{}); refusal == NoRefusal && c.Why != ByProbe {
		t.Errorf("choice %+v", c)
	}
}

func TestTarget_ByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	a := w.routes.Route("r").Target("a")
	check := func(what string, want State, share bool) {
		t.Helper()
		if s := a.Status(w.now).State; s != want {
			t.Errorf("%s: state %v, want %v", what, s, want)
		}
		if got := w.serve("r", 100, good)["a"]; got > 0 != share {
			t.Errorf("%s: got %d of 100", what, got)
		}
	}
	a.Drain(true, "")
	check("drained", Drained, false)
	a.Drain(false, "")
	check("not drained", Healthy, true)
	a.Eject("by hand")
	check("ejected", Out, false)
	w.now = w.now.Add(24 * time.Hour)
	check("ejected, a day later", Out, false)
	a.Restore()
	check("restored", Healthy, true)
	lease := a.Begin(w.now, &Query{})
	if c := lease.Settle(w.now, &Result{Outcome: Refused}); c != Retired {
		t.Errorf("change %v", c)
	}
	check("key refused", KeyRefused, false)
}

func TestRoutes_StateOutlivesAReload(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "drained", "ejected"}
	spec := Spec{Name: "r", Targets: targets(names...), Attempts: 1, Ejection: DefaultEjection}
	w := newWorld(t, spec)
	for _, name := range names[:2] {
		lease := w.routes.Route("r").Target(name).Begin(w.now, &Query{})
		lease.Settle(w.now, &Result{Outcome: Refused})
	}
	w.routes.Route("r").Target("drained").Drain(true, "upgrade")
	w.routes.Route("r").Target("ejected").Eject("wrong answers")
	spec.Targets = targets(names...)
	for i := range spec.Targets[1:] {
		spec.Targets[i+1].Identity = "another key"
	}
	next, err := NewRoutes([]Spec{spec}, w.routes, epoch.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	// A target keeps its state while it stays the same, and begins anew when it does not, but for what an operator has done.
	for i, want := range []struct {
		state  State
		reason string
	}{{KeyRefused, "its key was refused"}, {Healthy, ""}, {Drained, "upgrade"}, {Out, "wrong answers"}} {
		if s := next.Route("r").Target(names[i]).Status(w.now); s.State != want.state || s.Reason != want.reason {
			t.Errorf("%s: %v, %q; want %v, %q", names[i], s.State, s.Reason, want.state, want.reason)
		}
	}
}

func TestChoose_ConcurrentWalksLeakNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: equals(4), SLO: time.Second, Affinity: true})
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(g, 1))
			for i := range 2000 {
				now := epoch.Add(time.Duration(i) * time.Millisecond)
				walk := w.walk("r", Query{Stream: true, Prefix: prefixOf(draw.Uint64() >> 60)})
				c, refusal := walk.First(now, draw.Uint64())
				for ok := refusal == NoRefusal; ok; {
					lease := c.Target.Begin(now, walk.Query())
					r := Result{Outcome: Outcome(draw.IntN(5)), Took: time.Duration(draw.IntN(1e9)), RetryAfter: time.Millisecond}
					lease.Settle(now, &r)
					if r.Outcome == Good {
						walk.Answered()
						break
					}
					c, _, ok = walk.Next(now, draw.Uint64(), Failure{Repeatable: true})
				}
				walk.End()
				walk.End()
				w.routes.Tick(now, nil)
			}
		})
	}
	wg.Wait()
	r := w.routes.Route("r")
	if active, repeats := r.Active(); active != 0 || repeats != 0 {
		t.Errorf("%d exchanges, %d repetitions are left", active, repeats)
	}
	for _, target := range r.Targets() {
		if n := target.inFlight.Load(); n != 0 {
			t.Errorf("%s: %d in flight", target.Name(), n)
		}
		for i := range target.waiting {
			if target.waiting[i].start.Load() != 0 {
				t.Errorf("%s: slot %d is held", target.Name(), i)
			}
		}
	}
}

// Each ejection that follows soon is twice as long, however late in the life of the process the first one comes.
func TestTarget_EjectionsDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b", "c")})
	w.serve("r", 1000, good)
	w.now = w.now.Add(time.Hour)
	a := w.routes.Route("r").Target("a")
	var lengths []time.Duration
	for range 6 {
		w.serve("r", 60, func(target string) Result {
			if target == "a" {
				return Result{Outcome: Bad}
			}
			return good(target)
		})
		s := a.Status(w.now)
		if s.State != Out {
			t.Fatalf("state %v", s.State)
		}
		lengths = append(lengths, time.Duration(a.until.Load()-a.lastOut)+s.For)
		w.now = w.now.Add(s.For)
	}
	for i, seconds := range []int{10, 20, 40, 80, 120, 120} {
		want := time.Duration(seconds) * time.Second
		if got := lengths[i]; got > want || got < want-6*time.Second {
			t.Errorf("ejection %d: %v left, want nearly %v", i, got, want)
		}
	}
}

// What Explain says is what happens.
func TestExplain_ProbabilitiesAreThoseOfChoices(t *testing.T) {
	t.Parallel()
	check := func(name string, spec Spec, weights []float64, q Query, prepare func(w *world)) {
		t.Helper()
		spec.Name = "r"
		w := newWorld(t, spec)
		w.weigh("r", weights...)
		prepare(w)
		r := w.routes.Route("r")
		e := r.Explain(w.now, w.policy, &q)
		const n = 100000
		seen := make([]float64, len(spec.Targets))
		for range n {
			for _, target := range r.Targets() {
				target.probed.Store(r.at(w.now)) // none is due by time
			}
			if q.Prefix.n > 0 {
				r.memory.entries[q.Prefix.hash[0]%memorySize].tag.Store(0) // nothing is known of the prompt
			}
			c, refusal := w.first("r", q)
			if refusal != NoRefusal {
				t.Fatalf("%s: %v", name, refusal)
			}
			seen[c.Target.Index()]++
		}
		sum := 0.
		for i, c := range e.Candidates {
			sum += c.Probability
			if got := seen[i] / n; math.Abs(got-c.Probability) > 5*math.Sqrt(.25/n) {
				t.Errorf("%s: %s is chosen with %.4f, explained as %.4f (%s)", name, c.Target.Name(), got, c.Probability, c.Note)
			}
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: probabilities sum up to %v", name, sum)
		}
	}
	nothing := func(*world) {}
	check("shares", Spec{Targets: targets("a", "b", "c")}, []float64{.5, .3, 0}, Query{}, nothing)
	check("equals", Spec{Targets: equals(3)}, []float64{1, 1, 1}, Query{}, func(w *world) { w.routes.Route("r").Targets()[0].Begin(w.now, &Query{}) })
	check("affinity", Spec{Targets: equals(3), Affinity: true}, []float64{1, 1, 1}, Query{Prefix: prefixOf(77)}, nothing)
	check("pin", Spec{Targets: equals(3)}, []float64{1, 1, 1}, Query{Pin: 2}, nothing)
	check("ejected", Spec{Targets: targets("a", "b", "c")}, []float64{.5, .3, .2}, Query{}, func(w *world) { w.routes.Route("r").Target("b").Eject("x") })
	check("all but one ejected", Spec{Targets: targets("a", "b", "c")}, []float64{.5, .3, .2}, Query{}, func(w *world) {
		w.routes.Route("r").Target("a").Eject("x")
		w.routes.Route("r").Target("b").Eject("x")
	})
	check("on probation", Spec{Targets: targets("a", "b")}, []float64{.5, .5}, Query{}, func(w *world) {
		target := w.routes.Route("r").Target("a")
		target.mu.Lock()
		target.eject(target.route.at(w.now), &DefaultEjection, "test")
		target.mu.Unlock()
		w.now = w.now.Add(11 * time.Second)
	})
	check("all rate limited", Spec{Targets: targets("a", "b")}, []float64{.5, .5}, Query{}, func(w *world) {
		for _, target := range w.routes.Route("r").Targets() {
			lease := target.Begin(w.now, &Query{})
			lease.Settle(w.now, &Result{Outcome: Limited, RetryAfter: time.Hour})
		}
	})
}

// An objective for the time to first token says nothing of answers that are no streams: those take as long as they take.
func TestTarget_WholeAnswersMayTakeLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b"), SLO: time.Second})
	a := w.routes.Route("r").Target("a")
	for range 500 {
		lease := a.Begin(w.now, &Query{Input: 1000})
		w.now = w.now.Add(2 * time.Second)
		w.routes.Tick(w.now, nil)
		w.now = w.now.Add(8 * time.Second)
		lease.Settle(w.now, &Result{Outcome: Good, Took: 10 * time.Second})
	}
	if s := a.Status(w.now); s.State != Healthy || s.Ejections > 0 {
		t.Errorf("%+v", s)
	}
}
