package pick

import (
	"math"
	"testing"
	"time"
)

func TestWalk_ElsewhereFirst(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("a", "b", "spare"), Attempts: 5, Backoff: 100 * time.Millisecond}
	spec.Fallback[Failed] = []string{"spare", "other"}
	w := newWorld(t, spec, Spec{Name: "other", Targets: targets("x")})
	w.weigh("r", .5, .5, 0)
	walk := w.walk("r", Query{})
	defer walk.End()
	c, _ := walk.First(w.now, 7)
	seen := []string{c.Target.Name()}
	var waits []time.Duration
	for i := range 4 {
		c, wait, ok := walk.Next(w.now, uint64(i), Failure{Cause: Failed, Repeatable: true})
		if !ok {
			t.Fatalf("no attempt after %v", seen)
		}
		seen, waits = append(seen, c.Target.Name()), append(waits, wait)
	}
	if seen[0] == seen[1] || seen[2] != "spare" || seen[3] != "x" || seen[4] != "x" {
		t.Errorf("went %v", seen)
	}
	if waits[0] != 0 || waits[1] != 0 || waits[2] != 0 || waits[3] > 100*time.Millisecond {
		t.Errorf("waited %v", waits)
	}
	if _, _, ok := walk.Next(w.now, 1, Failure{Repeatable: true}); ok {
		t.Error("more than the allowed attempts")
	}
}

func TestWalk_CausesHaveTheirChains(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("a", "b", "long", "lax", "slow", "cheap"), Attempts: 3}
	spec.Fallback[Context] = []string{"long"}
	spec.Fallback[Content] = []string{"lax"}
	spec.Fallback[Budget] = []string{"cheap"}
	w := newWorld(t, spec)
	w.weigh("r", 1, 0, 0, 0, 0, 0)
	check := func(cause Cause, want string) {
		t.Helper()
		walk := w.walk("r", Query{})
		defer walk.End()
		_, _ = walk.First(w.now, 1)
		c, _, ok := walk.Next(w.now, 2, Failure{Cause: cause, Repeatable: true, RetryAfter: time.Hour})
		switch {
		case ok && c.Target.Name() != want:
			t.Errorf("%v: went to %s, want %q", cause, c.Target.Name(), want)
		case !ok && want != "":
			t.Errorf("%v: gave up, want %s", cause, want)
		}
		if _, repeats := w.routes.Route("r").Active(); ok && (cause == Context || cause == Content || cause == Budget) && repeats != 0 {
			t.Errorf("%v: counts in the retry budget", cause)
		}
	}
	check(Context, "long")
	check(Content, "lax")
	check(Budget, "cheap")
	check(RateLimited, "") // no chain, and the wait is too long
	check(Failed, "")      // likewise
}

func TestWalk_RetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a"), MaxWait: 3 * time.Second})
	walk := w.walk("r", Query{})
	defer walk.End()
	_, _ = walk.First(w.now, 1)
	if _, wait, ok := walk.Next(w.now, 1, Failure{Cause: RateLimited, Repeatable: true, RetryAfter: 2 * time.Second}); !ok || wait < 2*time.Second {
		t.Errorf("waits %v, %v", wait, ok)
	}
	if _, wait, ok := walk.Next(w.now, 1, Failure{Cause: RateLimited, Repeatable: true, RetryAfter: 4 * time.Second}); ok {
		t.Errorf("waits %v", wait)
	}
	if _, _, ok := walk.Next(w.now, 1, Failure{Cause: Failed}); ok {
		t.Error("repeated what must not be")
	}
}

func TestWalk_RetryBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	count := func(active int) (repeated int) {
		var walks []Walk
		for range active {
			walks = append(walks, w.walk("r", Query{}))
		}
		for i := range walks {
			_, _ = walks[i].First(w.now, uint64(i))
			if _, _, ok := walks[i].Next(w.now, uint64(i), Failure{Repeatable: true}); ok {
				repeated++
			}
		}
		for i := range walks {
			walks[i].End()
		}
		return repeated
	}
	check := func(active, want int) {
		t.Helper()
		if got := count(active); got != want {
			t.Errorf("%d exchanges that all fail: %d repeated, want %d", active, got, want)
		}
	}
	check(2, 2)
	check(10, 10) // all clients of a small service that meet a dead target at once
	check(20, 10)
	check(100, 20)
	if active, repeats := w.routes.Route("r").Active(); active != 0 || repeats != 0 {
		t.Errorf("left: %d, %d", active, repeats)
	}
}

func TestWalk_Pin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	w.routes.Route("r").Target("b").Eject("test")
	for i := range uint64(50) {
		walk := w.walk("r", Query{Pin: 2})
		c, _ := walk.First(w.now, i)
		d, _, ok := walk.Next(w.now, i, Failure{Repeatable: true})
		if c.Target.Name() != "b" || c.Why != ByPin || !ok || d.Target.Name() != "b" {
			t.Fatalf("got %v %v, %v", c, d, ok)
		}
		walk.End()
	}
}

func TestWalk_Hedge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	route := w.policy.Routes["r"]
	route.HedgeShare = .03
	w.policy.Routes["r"] = route
	made := 0
	const n = 2000
	for i := range uint64(n) {
		walk := w.walk("r", Query{})
		c, _ := walk.First(w.now, i)
		if h, ok := walk.Hedge(w.now, i); ok {
			made++
			if h.Target == c.Target {
				t.Fatal("hedged at the same target")
			}
		}
		walk.End()
	}
	if made < 50 || made > .03*n {
		t.Errorf("%d hedges of %d, want 3 %%", made, n)
	}
}

// Attempts that lose may cost the hedges' share of what the exchanges cost, however few they are.
func TestWalk_HedgesWithinTheirShareOfTheCost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b")})
	route := w.policy.Routes["r"]
	route.HedgeShare = .1
	w.policy.Routes["r"] = route
	all, lost, made := int64(0), int64(0), 0
	const n = 50_000
	for i := range uint64(n) {
		walk := w.walk("r", Query{})
		_, _ = walk.First(w.now, i)
		cost, extra := int64(1000), int64(0)
		if h, ok := walk.Hedge(w.now, i); ok {
			if made++; h.Why != ByHedge {
				t.Fatal(h.Why)
			}
			extra = 5000 // the losing ones are the long prompts
		}
		walk.Paid(cost+extra, extra)
		walk.End()
		all, lost = all+cost+extra, lost+extra
	}
	if share := float64(lost) / float64(all); share < .08 || share > .105 {
		t.Errorf("%d hedges of %d have cost %.3f of the whole, want .1", made, n, share)
	}
	if m, spent := w.routes.Route("r").Hedges(); m != uint64(made) || spent != lost {
		t.Errorf("%d hedges for %d, want %d for %d", m, spent, made, lost)
	}
}

func prefixOf(hashes ...uint64) (p Prefix) {
	for _, h := range hashes {
		p.Add(mix(h))
	}
	return p
}

func TestAffinity_TheLongestKnownPrefixDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: equals(8), Affinity: true})
	go1 := func(p Prefix) *Target {
		for { // but for exploration
			if c, _ := w.first("r", Query{Prefix: p}); c.Why == ByAffinity {
				return c.Target
			}
		}
	}
	lost := 0 // where exploration has shown the prompt to another target
	for conversation := uint64(100); conversation < 200; conversation++ {
		first := go1(prefixOf(conversation))
		for _, next := range []Prefix{prefixOf(conversation, conversation+1000), prefixOf(conversation, conversation+2000, conversation+3000)} {
			if target := go1(next); target != first {
				lost++
			}
		}
	}
	if lost > 10 {
		t.Errorf("%d of 200 prompts did not go where their begin is known", lost)
	}
	home := go1(prefixOf(1, 2))
	w.now = w.now.Add(2 * memoryAge)
	if seen := w.routes.Route("r").memory.find(mix(1), w.routes.Route("r").at(w.now)); seen != 0 {
		t.Errorf("after two hours %b still know it, %s did", seen, home.Name())
	}
}

func TestAffinity_SticksAndSpreads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: equals(4), Affinity: true})
	homes, counts := map[uint64]*Target{}, map[*Target]int{}
	moved, n := 0, 0
	for round := range 50 {
		for key := uint64(1); key <= 200; key++ {
			c, _ := w.first("r", Query{Prefix: prefixOf(mix(key))})
			n++
			if c.Why != ByAffinity {
				continue
			}
			if round == 0 {
				homes[key] = c.Target
				counts[c.Target]++
			} else if home := homes[key]; home != nil && home != c.Target {
				moved++
			}
		}
	}
	if moved > n/20 { // where exploration has shown the prompt to another target
		t.Errorf("%d of %d choices left their home", moved, n)
	}
	for target, c := range counts {
		if c < 30 || c > 70 {
			t.Errorf("%s is home of %d of 200", target.Name(), c)
		}
	}
	// A hot key is spread by the load bound, and an ejected home is left.
	hot := Query{Prefix: prefixOf(42)}
	var leases []Lease
	for range 100 {
		c, _ := w.first("r", hot)
		leases = append(leases, c.Target.Begin(w.now, &hot))
	}
	most := int64(0)
	for _, target := range w.routes.Route("r").Targets() {
		most = max(most, target.inFlight.Load())
	}
	if float64(most) > math.Ceil(loadBound*101/4) {
		t.Errorf("%d of 100 are at one of four targets", most)
	}
	for i := range leases {
		leases[i].Settle(w.now, &Result{})
	}
	home := homes[1]
	home.Eject("test")
	for range 200 {
		if c, _ := w.first("r", Query{Prefix: prefixOf(mix(1))}); c.Target == home {
			t.Fatal("affinity overrode an ejection")
		}
	}
}
