package optimizer

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// Where the hold-back is better off the route is put back at once, whatever is under way, and stays so.
func TestLoop_HarmPutsTheRouteBack(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Auto)
	now := noon
	for range 3 { // a ramp is under way
		now = now.Add(10 * time.Second)
		l.Step(now)
	}
	if s.weight("a") <= 1 || s.weight("a") >= 1.8 {
		t.Fatalf("a has %v: not under way", s.weight("a"))
	}
	for i := range 4000 {
		now = now.Add(50 * time.Millisecond)
		x := window.Exchange{At: now, Route: "r", Target: "a", Session: uint64(i+1) * 0x9e3779b97f4a7c15, Arm: uint8(policy.Treated), Failed: i%3 == 0, Violation: i%3 == 0, CostNanoUSD: 1000}
		if i%4 == 0 {
			x.Arm, x.Failed, x.Violation = uint8(policy.Holdback), false, false
		}
		l.Observe(&x)
	}
	now = now.Add(2 * time.Minute) // sessions have ended
	told := false
	for range 60 {
		for _, d := range l.Step(now) {
			told = told || d.Verdict == RolledBack && d.Tuner == "loop"
		}
		now = now.Add(10 * time.Second)
		if told && s.weight("a") != 1 {
			t.Fatalf("put back, a has %v", s.weight("a"))
		}
	}
	if !told || l.Modes("r")["stand"] != Observe {
		t.Errorf("told %t, mode %v", told, l.Modes("r"))
	}
}

// A freeze holds a trial where it is.
func TestLoop_FreezeHoldsTrials(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Canary)
	now, draw := noon, rand.New(rand.NewPCG(1, 1))
	s.play(l, &now, time.Minute, 100, draw, outcomes{})
	order(t, l, now, Order{Action: Freeze, Route: "r"})
	s.play(l, &now, 2*time.Hour, 20, draw, outcomes{})
	if s.canary == nil || s.canary.Share != .01 || s.weight("a") != 1 {
		t.Errorf("frozen: canary %+v, weight %v", s.canary, s.weight("a"))
	}
}

// A target that comes back gets its share also where the tuner may change nothing any more; but not what an operator has taken back meanwhile.
func TestIncident_GivesBackWhatIsDue(t *testing.T) {
	t.Parallel()
	park := func() (*stand, *Loop, time.Time) {
		s := newStand()
		s.propose = towards(.9)
		l := New(s, Settings{Bounds: DefaultBounds, Holdback: .02, Modes: map[string]Mode{"stand": Auto, incidentsOf: Auto}}, s)
		now := noon
		for range 40 {
			now = now.Add(10 * time.Second)
			l.Step(now)
		}
		s.propose, s.away = func(*RouteEvidence) Proposal { return Proposal{} }, "a"
		for range 3 {
			now = now.Add(10 * time.Second)
			l.Step(now)
		}
		return s, l, now
	}
	share := func(s *stand) float64 { return s.weight("a") / (s.weight("a") + s.weight("b")) }
	back := func(s *stand, l *Loop, now time.Time) {
		s.away = ""
		for range 3 {
			now = now.Add(10 * time.Second)
			l.Step(now)
		}
	}
	s, l, now := park()
	if share(s) > .01 {
		t.Fatalf("not parked: %v", share(s))
	}
	l.settings.Modes[incidentsOf] = Observe
	if back(s, l, now); math.Abs(share(s)-.9) > .01 {
		t.Errorf("back while routing observes: a has %v", share(s))
	}
	s, l, now = park()
	order(t, l, now, Order{Action: Undo, Decision: "d1"})
	if back(s, l, now); math.Abs(share(s)-.5) > .01 {
		t.Errorf("back after an undo: a has %v", share(s))
	}
	s, l, now = park()
	order(t, l, now, Order{Action: Pin, Route: "r", Parameter: "weights/a/light", Value: .5})
	if back(s, l, now); s.weight("a") != .5 {
		t.Errorf("back after a pin: a has %v", s.weight("a"))
	}
}

// Targets that were out together have what they had once they are back.
func TestIncident_TwoTogether(t *testing.T) {
	t.Parallel()
	mix := func(a, b, c float64) policy.Parameters {
		p := policy.Parameters{Targets: map[string]policy.Target{}}
		for name, w := range map[string]float64{"a": a, "b": b, "c": c} {
			p.Targets[name] = policy.Target{Weights: [classes]float64{w, w, w}}
		}
		return p
	}
	k := Known{Name: "r", InForce: mix(.6, .3, .1), Static: mix(1, 1, 1)}
	x := &incidents{}
	step := func(a, b bool) {
		k.Targets = []KnownTarget{{Name: "a", Available: a}, {Name: "b", Available: b}, {Name: "c", Available: true}}
		for m := x.step(&k, true, anyShare); m != nil; m = x.step(&k, true, anyShare) {
			m.commit()
			k.InForce = m.next
		}
	}
	step(false, true)
	step(false, false)
	step(true, false)
	step(true, true)
	for name, want := range map[string]float64{"a": .6, "b": .3, "c": .1} {
		if got := shares(&k.InForce, 0)[name]; math.Abs(got-want) > .05 { // the emergency has spread part of it by the operator's weights
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
}

// What an operator has taken back does not come again for a while, in the right order only, and what is frozen can't be approved.
func TestOrder_Holds(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.7)
	l := s.loop(Auto)
	now := noon
	run := func(n int) {
		for range n {
			now = now.Add(10 * time.Second)
			l.Step(now)
		}
	}
	run(40)
	s.propose = towards(.9)
	run(40)
	if _, err := l.Order(now, Order{Action: Undo, Decision: "d1", By: "ann"}); !errors.Is(err, ErrOrder) || !strings.Contains(err.Error(), "undo that first") {
		t.Errorf("undo of the first of two: %v", err)
	}
	order(t, l, now, Order{Action: Undo, Decision: "d2"})
	order(t, l, now, Order{Action: Undo, Decision: "d1"})
	if run(60); s.weight("a") != 1 {
		t.Errorf("undone, a has %v", s.weight("a"))
	}
	s = newStand()
	s.propose = towards(.9)
	l = s.loop(Auto)
	run(40)
	order(t, l, now, Order{Action: Reset, Route: "r"})
	if run(60); s.weight("a") != 1 {
		t.Errorf("reset, a has %v", s.weight("a"))
	}
	s = newStand()
	s.propose = towards(.9)
	l = s.loop(Recommend)
	d := l.Step(now)
	order(t, l, now, Order{Action: Freeze})
	if _, err := l.Order(now, Order{Action: Approve, Decision: d[0].ID, By: "ann"}); err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("approved though it is frozen: %v", err)
	}
	order(t, l, now, Order{Action: Thaw})
	order(t, l, now, Order{Action: Approve, Decision: d[0].ID})
	if run(40); s.weight("a") < 1.79 {
		t.Errorf("approved, a has %v", s.weight("a"))
	}
	s = newStand()
	s.propose = towards(.9)
	l = s.loop(Auto)
	l.Step(now)
	half := s.weight("a")
	order(t, l, now, Order{Action: SetMode, Tuner: "stand", Mode: Recommend})
	if run(20); s.weight("a") != half {
		t.Errorf("a ramp goes on though the mode does not allow it: %v", s.weight("a"))
	}
}
