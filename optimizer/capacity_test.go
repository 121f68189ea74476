package optimizer

import (
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// loaded feeds a collector with a target a at 10 exchanges a second and b at 10, of which a's tokens take so long.
type loaded struct {
	c  *Collector
	at time.Time
	k  Known
}

func newLoaded() *loaded {
	p := policy.Parameters{Targets: map[string]policy.Target{"a": {Weights: [classes]float64{1, 1, 1}}, "b": {Weights: [classes]float64{1, 1, 1}}}}
	return &loaded{NewCollector(), time.Unix(1000, 0), Known{Name: "r", InForce: p, Static: p, Targets: []KnownTarget{{Name: "a", Available: true}, {Name: "b", Available: true}}}}
}

func (l *loaded) run(d time.Duration, perToken time.Duration) (e RouteEvidence) {
	for end := l.at.Add(d); l.at.Before(end); {
		for range 100 {
			l.at = l.at.Add(100 * time.Millisecond)
			l.c.Observe(&window.Exchange{At: l.at, Route: "r", Target: "a", Input: 100, Output: 10, PerToken: perToken})
			l.c.Observe(&window.Exchange{At: l.at, Route: "r", Target: "b", Input: 100, Output: 10, PerToken: 10 * time.Millisecond})
		}
		e = l.c.Evidence(l.at, &l.k)
	}
	return e
}

// A target that is taken out while it is slow under all the load that it ever had takes less than that; one that is not slow tells nothing.
func TestCollector_LearnsOfTargetsThatGoOut(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{false, true} {
		l := newLoaded()
		l.run(3*time.Minute, 10*time.Millisecond)
		if slow {
			for range 60 { // less than a cycle, so that nothing is judged before
				l.at = l.at.Add(100 * time.Millisecond)
				l.c.Observe(&window.Exchange{At: l.at, Route: "r", Target: "a", Input: 100, Output: 10, PerToken: 30 * time.Millisecond})
			}
		}
		l.k.Targets[0].Available = false
		e := l.c.Evidence(l.at, &l.k)
		if got := e.Targets[0].Capacity; slow && (got < 7 || got > 9) || !slow && got != 0 {
			t.Errorf("slow %v: capacity %v", slow, got)
		}
		if room := l.c.room("r", "a", l.at); slow && (room < .35 || room > .5) || !slow && room != 1 {
			t.Errorf("slow %v: room %v", slow, room)
		}
	}
}

// Each time that a capacity is met again it is tried less often whether there is more; one that is far lower is a new one.
func TestTargetSums_LimitIsBelieved(t *testing.T) {
	t.Parallel()
	s := &targetSums{slow: slowFor}
	check := func(rate, capacity float64, met int) {
		t.Helper()
		if s.limit(rate); s.capacity != capacity || s.met != met {
			t.Errorf("after %v: %v, met %d times; want %v, %d", rate, s.capacity, s.met, capacity, met)
		}
	}
	check(10, 10, 0)
	check(9, 9, 1)
	check(11, 9, 2)
	check(4, 4, 0)
	for range 20 {
		s.limit(4)
	}
	check(4, 4, mostMet)
	healthy := &TargetEvidence{Rate: 4, Slowness: 1}
	s.perToken = .02
	if s.judge(noon, healthy); s.capacity <= 4 || s.capacity > 4*(1+growth/200) {
		t.Errorf("well known, it grows to %v", s.capacity)
	}
	fresh := &targetSums{capacity: 4, perToken: .02}
	if fresh.judge(noon, healthy); fresh.capacity < 4*(1+growth*.99) {
		t.Errorf("met once, it grows to %v", fresh.capacity)
	}
}

// For as long as a target stays slow it has met its capacity once; after a few times that is known well enough to be hardly tried any more.
func TestTargetSums_OneMeetingCountsOnce(t *testing.T) {
	t.Parallel()
	s, at := &targetSums{perToken: .02}, noon
	look := func(n int, rate, slowness float64) {
		for range n {
			at = at.Add(10 * time.Second)
			s.judge(at, &TargetEvidence{Rate: rate, Slowness: slowness})
		}
	}
	for meeting := range 6 {
		look(30, 10, 1)
		look(20, 10, 1.5)
		if s.met != meeting {
			t.Errorf("met %d times, want %d", s.met, meeting)
		}
		if s.capacity < 10*lessLoad || s.capacity > 9.7 {
			t.Errorf("after %d times: capacity %v", meeting, s.capacity)
		}
	}
	known := s.capacity
	if look(360, known, 1); s.capacity < known || s.capacity > 1.05*known {
		t.Errorf("an hour later: capacity %v, was %v", s.capacity, known)
	}
}

// A target that gets more than it takes is relieved at once, also where that takes the last decision back: it would go out.
func TestGuard_ReliefNeedNotWait(t *testing.T) {
	t.Parallel()
	e := evidenceOf(known{name: "cheap", weight: .9, static: 1, count: 5000, unit: 1e-6, capacity: 18}, known{name: "dear", weight: .1, static: 1, count: 5000, unit: 4e-6})
	e.Targets[0].Rate, e.Targets[0].Slowness = 27, crowded
	p := DefaultRouting.Propose(e)
	if got := after(t, e, p)["cheap"]; got > .61 || !p.Urgent {
		t.Errorf("cheap gets %.2f, urgent %v: %s", got, p.Urgent, p.Reason)
	}
	g := &guard{Bounds: DefaultBounds, GuardState: GuardState{Decided: []time.Time{noon}, Last: map[string]float64{weightName("cheap", 0): .4}}}
	if why := g.check(noon.Add(30*time.Second), &e.InForce, &e.Static, &p); why != "" {
		t.Error(why)
	}
	e.Targets[0].Slowness = 1
	if p := DefaultRouting.Propose(e); len(p.Changes) > 0 {
		t.Errorf("of a target that is not slow: %s", p.Reason)
	}
}

// What comes back gets no more than it can take.
func TestIncidents_RestoreWithinTheRoom(t *testing.T) {
	t.Parallel()
	l := newLoaded()
	l.k.Targets[0].Available = false
	var x incidents
	m := x.step(&l.k, true, anyShare)
	m.commit()
	l.k.InForce, l.k.Targets[0].Available = m.next, true
	m = x.step(&l.k, true, func(string) float64 { return .3 })
	if got := shares(&m.next, 0); got["a"] < .299 || got["a"] > .301 || got["b"] < .699 {
		t.Errorf("shares %v, want .3 and .7", got)
	}
}

// Cycles in between, which alarms and operators bring, are no looks of their own; and answers that come faster than anybody reads say nothing of capacity.
func TestTargetSums_LooksTakeTheirTime(t *testing.T) {
	t.Parallel()
	slow := &TargetEvidence{Rate: 10, Slowness: 2}
	check := func(name string, perToken float64, every time.Duration, looks int, want bool) {
		t.Helper()
		s := &targetSums{perToken: perToken}
		for i := range looks {
			s.judge(noon.Add(time.Duration(i)*every), slow)
		}
		if s.capacity > 0 != want {
			t.Errorf("%s: capacity %v", name, s.capacity)
		}
	}
	check("two cycles", .02, 10*time.Second, 2, true)
	check("a hundred within a second", .02, 10*time.Millisecond, 100, false)
	check("a hundred over a minute", .02, 600*time.Millisecond, 100, true)
	check("fast tokens", .0002, 10*time.Second, 10, false)
}
