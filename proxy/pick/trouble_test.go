package pick

import (
	"testing"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// settle has an attempt at a target end that began a moment ago.
func (w *world) settle(target string, r Result) Change {
	t := w.routes.Route("r").Target(target)
	lease := t.Begin(w.now, &Query{Stream: true})
	return lease.Settle(w.now, &r)
}

// While no target takes traffic, what has taken them out says which fallback serves new exchanges.
func TestWalk_NewExchangesTakeTheChainOfTheTrouble(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("main", "spare", "other", "cheap")}
	spec.Fallback = [Causes][]string{Failed: {"spare"}, RateLimited: {"other"}, Budget: {"cheap"}}
	for name, c := range map[string]struct {
		trouble func(w *world)
		want    string
	}{
		"limited":     {func(w *world) { w.settle("main", Result{Outcome: Limited, RetryAfter: time.Minute}) }, "other"},
		"key refused": {func(w *world) { w.settle("main", Result{Outcome: Refused}) }, "cheap"},
		"ejected":     {func(w *world) { w.routes.Route("r").Target("main").Eject("by hand") }, "spare"},
	} {
		w := newWorld(t, spec)
		w.weigh("r", 1, 0, 0, 0)
		c.trouble(w)
		choice, refusal := w.first("r", Query{})
		if refusal != NoRefusal || choice.Target.Name() != c.want || choice.Why != ByFallback {
			t.Errorf("%s: %v, %v; want %s", name, choice, refusal, c.want)
		}
		e := w.routes.Route("r").Explain(w.now, w.policy, &Query{})
		if e.Fallback == nil || e.Fallback.Name() != c.want || e.Why != ByFallback || e.Refusal != NoRefusal {
			t.Errorf("%s: explained as %+v", name, e)
		}
	}
}

// What an exchange is told, and does, does not depend on tiers that have nothing to give; and forever is no time to wait.
func TestRoute_FailFastWithAnEmptyTier(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("east", "west"), FailFast: true}
	spec.Targets[1].Priority = 1
	w := newWorld(t, spec)
	w.routes.Route("r").Target("west").Drain(true, "")
	w.serve("r", 10, func(string) Result { return Result{Outcome: Bad} })
	if c, refusal := w.first("r", Query{}); refusal != AllEjected {
		t.Errorf("got %v, %v", c, refusal)
	}
	w.routes.Route("r").Target("east").Eject("by hand")
	if d := w.routes.Route("r").RetryIn(w.now); d != time.Second {
		t.Errorf("retry in %v", d)
	}
}

// An exchange may try again where it is, also when it holds the last slot there.
func TestWalk_ItsOwnSlotIsFree(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("a")}
	spec.Targets[0].MaxConcurrency = 1
	w := newWorld(t, spec)
	walk := w.walk("r", Query{})
	c, _ := walk.First(w.now, 1)
	lease := c.Target.Begin(w.now, walk.Query())
	if _, _, ok := walk.Next(w.now, 2, Failure{Repeatable: true, Held: true}); !ok {
		t.Error("no repetition where the exchange's own attempt fills the target")
	}
	other := w.walk("r", Query{})
	if _, refusal := other.First(w.now, 3); refusal != Saturated {
		t.Errorf("another exchange: %v", refusal)
	}
	other.End()
	lease.Settle(w.now, &Result{})
	walk.End()
	if n := c.Target.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// 429s of one burst count once, 403s only when they come in a row.
func TestTarget_BurstsCountOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	a := w.routes.Route("r").Target("a")
	var leases []Lease
	for range 6 {
		leases = append(leases, a.Begin(w.now, &Query{}))
	}
	w.now = w.now.Add(50 * time.Millisecond)
	for i := range leases {
		leases[i].Settle(w.now, &Result{Outcome: Limited})
	}
	if s := a.Status(w.now); s.State != RateLimit || s.For != time.Second {
		t.Errorf("%v for %v, want a second", s.State, s.For)
	}
	w.now = w.now.Add(time.Minute)
	for range 3 {
		for range mostForbidden - 1 {
			if c := w.settle("a", Result{Outcome: Forbidden}); c != NoChange {
				t.Fatalf("a 403 in %v", c)
			}
		}
		w.settle("a", good(""))
	}
	for i := range mostForbidden {
		if c := w.settle("a", Result{Outcome: Forbidden}); c == Retired != (i == mostForbidden-1) {
			t.Errorf("403 number %d in a row: %v", i+1, c)
		}
	}
}

// A reload keeps the attempts under way, and what it says of ejection holds at once.
func TestRoutes_ReloadOfEjection(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("a", "b"), Attempts: 3, Ejection: DefaultEjection}
	w := newWorld(t, spec)
	a := w.routes.Route("r").Target("a")
	lease := a.Begin(w.now, &Query{})
	w.serve("r", 100, func(target string) Result {
		if target == "b" {
			return Result{Outcome: Bad}
		}
		return good("")
	})
	if s := w.routes.Route("r").Target("b").Status(w.now).State; s != Out && s != Probation {
		t.Fatalf("b is %v", s)
	}
	spec.Ejection.Off = true
	off, err := NewRoutes([]Spec{spec}, w.routes, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if s := off.Route("r").Target("b").Status(w.now).State; s != Healthy {
		t.Errorf("b stays %v though nothing is ejected any more", s)
	}
	if n := off.Route("r").Target("a").Status(w.now).InFlight; n != 1 {
		t.Errorf("%d attempts under way after the reload, want 1", n)
	}
	lease.Settle(w.now, &Result{})
	if n := off.Route("r").Target("a").Status(w.now).InFlight; n != 0 {
		t.Errorf("%d attempts under way after their end, want 0", n)
	}
	spec.Ejection.Off, spec.Ejection.FalseEvery = false, 1000
	eager, err := NewRoutes([]Spec{spec}, w.routes, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if got, old := eager.Route("r").Target("a").failures, w.routes.Route("r").Target("a").failures; *got == *old {
		t.Error("the detector is the one for the old rate of false alarms")
	}
}

// On routes with affinity, too, the stated propensity is how often a choice is made.
func TestChoose_PropensityWithAffinity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b"), Affinity: true})
	w.weigh("r", .9, .1)
	counts, stated := map[string]float64{}, map[string]float64{}
	const n = 40_000
	for i := range uint64(n) {
		c, _ := w.first("r", Query{Prefix: prefixOf(i)}) // nobody has seen it
		key := c.Target.Name()
		counts[key]++
		stated[key] += 1 / c.Propensity / n
	}
	for name, sum := range stated { // the mean of chosen/propensity is 1 where propensities are true
		if sum < .85 || sum > 1.15 {
			t.Errorf("%s: chosen %v times, inverse propensities add up to %.3f, want 1", name, counts[name], sum)
		}
	}
}

// A trial of one route is none of the routes that it falls back on.
func TestWalk_ArmsObeyTheirParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	r := w.policy.Routes["r"]
	only := func(name string) policy.Parameters {
		return policy.Parameters{Targets: map[string]policy.Target{name: {Weights: [Classes]float64{1, 1, 1}}}}
	}
	static, canary := only("a"), only("b")
	r.Static, r.Canary = &static, &policy.Canary{Parameters: canary, Share: .5}
	w.policy.Routes["r"] = r
	for arm, want := range map[policy.Arm]string{policy.Holdback: "a", policy.Trial: "b"} {
		for range 50 {
			if c, _ := w.first("r", Query{Arm: arm}); c.Target.Name() != want {
				t.Fatalf("%v: %s, want %s", arm, c.Target.Name(), want)
			}
		}
	}
}
