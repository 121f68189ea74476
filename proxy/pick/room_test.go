package pick

import (
	"testing"
	"time"
)

// What has no room is passed over, also for a target of a lower priority; where there is none anywhere the first that has some is waited for, rather than a fallback asked.
func TestRoom_PassedOver(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("a", "b", "low", "spare"), Attempts: 3}
	spec.Targets[2].Priority = 1
	spec.Fallback[RateLimited] = []string{"spare"}
	w := newWorld(t, spec)
	w.weigh("r", 1, 1, 1, 0)
	r := w.routes.Route("r")
	first := func(want string, why Why) {
		t.Helper()
		for draw := range uint64(50) {
			walk := w.walk("r", Query{})
			c, refusal := walk.First(w.now, draw)
			walk.End()
			if refusal != NoRefusal || c.Target.Name() != want || why != ByChance && c.Why != why {
				t.Fatalf("chose %v (%v, %v), want %s (%v)", c.Target, c.Why, refusal, want, why)
			}
			if e := r.Explain(w.now, w.policy, &Query{}); e.Candidates[c.Target.Index()].Probability < .99 {
				t.Fatalf("explained as %+v", e)
			}
		}
	}
	r.Target("a").PacedUntil(w.now.Add(30 * time.Millisecond))
	first("b", ByChance) // whichever step it was
	r.Target("b").PacedUntil(w.now.Add(20 * time.Millisecond))
	first("low", ByChance)
	r.Target("low").PacedUntil(w.now.Add(40 * time.Millisecond))
	first("b", ByRoom)
	if s := r.Target("b").Status(w.now); s.State != Paced || s.For != 20*time.Millisecond {
		t.Errorf("shown as %v for %v", s.State, s.For)
	}
	w.now = w.now.Add(time.Second)
	if s := r.Target("b").Status(w.now); s.State != Healthy {
		t.Errorf("still %v", s.State)
	}
}

// A target that turns out to have no room is left for others, none of which counts as an attempt; the fallbacks of rate limits come when waiting was in vain.
func TestRoom_Divert(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "r", Targets: targets("a", "b", "spare"), Attempts: 1}
	spec.Fallback[RateLimited] = []string{"spare", "other"}
	w := newWorld(t, spec, Spec{Name: "other", Targets: targets("x")})
	w.weigh("r", 1, 1, 0)
	r := w.routes.Route("r")
	walk := w.walk("r", Query{})
	defer walk.End()
	c, _ := walk.First(w.now, 3)
	before := c.Target
	before.PacedUntil(w.now.Add(10 * time.Millisecond))
	c, waits := walk.Divert(w.now, 1)
	if waits || c.Target == before || c.Why != ByRoom || c.Propensity != 0 {
		t.Fatalf("diverted to %s, %v", c.Target.Name(), waits)
	}
	c.Target.PacedUntil(w.now.Add(time.Second))
	if c, waits = walk.Divert(w.now, 1); !waits || c.Target != before || walk.Attempts() != 1 {
		t.Fatalf("waits %v at %s after %d attempts", waits, c.Target.Name(), walk.Attempts())
	}
	for _, want := range []string{"spare", "x"} {
		var ok bool
		if c, ok = walk.Refused(w.now, 1); !ok || c.Target.Name() != want || walk.Attempts() != 1 {
			t.Fatalf("fell back to %v, %v, after %d attempts", c.Target, ok, walk.Attempts())
		}
	}
	if _, ok := walk.Refused(w.now, 1); ok {
		t.Error("fell back to nothing")
	}
	pinned := w.walk("r", Query{Pin: 1})
	defer pinned.End()
	_, _ = pinned.First(w.now, 1)
	if c, waits := pinned.Divert(w.now, 1); !waits || c.Target != r.Target("a") {
		t.Errorf("who names a target is sent to %s", c.Target.Name())
	}
	if _, ok := pinned.Refused(w.now, 1); ok {
		t.Error("who names a target falls back")
	}
}

// After a failure a target that was not tried is waited for rather than the same one asked again; a hedge waits for nothing, and one that was not sent costs nothing.
func TestRoom_NextAndHedge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a", "b"), Attempts: 3})
	w.weigh("r", 1, 1)
	r := w.routes.Route("r")
	walk := w.walk("r", Query{})
	defer walk.End()
	c, _ := walk.First(w.now, 1)
	other := r.Targets()[1-c.Target.Index()]
	other.PacedUntil(w.now.Add(10 * time.Millisecond))
	if _, ok := walk.Hedge(w.now, 1); ok {
		t.Error("hedged where there is no room")
	}
	next, wait, ok := walk.Next(w.now, 1, Failure{Cause: Failed, Repeatable: true})
	if !ok || next.Target != other || wait != 0 {
		t.Errorf("went to %v after %v, %v", next.Target, wait, ok)
	}
	made, _ := r.Hedges()
	before := walk.Attempts()
	r.hedges.made.Add(1)
	walk.attempts++
	walk.Unhedged(next)
	if now, _ := r.Hedges(); now != made || walk.Attempts() != before {
		t.Errorf("%d hedges and %d attempts after one that was not sent", now, walk.Attempts())
	}
}

// A 429 that says nothing is no reason to leave a target alone that somebody paces; one that asks for it is.
func TestRoom_PacedResults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Spec{Name: "r", Targets: targets("a")})
	target := w.routes.Route("r").Target("a")
	settle := func(r Result) State {
		l := target.Begin(w.now, &Query{})
		l.Settle(w.now, &r)
		return target.Status(w.now).State
	}
	if s := settle(Result{Outcome: Limited, Paced: true}); s != Healthy {
		t.Errorf("%v though it is paced", s)
	}
	if s := settle(Result{Outcome: Limited, Paced: true, RetryAfter: time.Second}); s != RateLimit {
		t.Errorf("%v though it asks to be left alone", s)
	}
}
