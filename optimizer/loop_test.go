package optimizer

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// stand is a plant with one route, and a tuner that says what a test wants.
type stand struct {
	in, static policy.Parameters
	canary     *policy.Canary
	holdback   float64
	stale      error
	away       string // target that is out
	published  int
	propose    func(e *RouteEvidence) Proposal
	turns      int      // mean exchanges of a session; 0: there are no sessions
	talking    []uint64 // sessions under way
}

func newStand() *stand {
	two := policy.Parameters{RetryShare: .2, Targets: map[string]policy.Target{}}
	for _, name := range []string{"a", "b"} {
		two.Targets[name] = policy.Target{Weights: [classes]float64{1, 1, 1}}
	}
	return &stand{in: two, static: two}
}

func (s *stand) Known(time.Time) []Known {
	return []Known{{Name: "r", InForce: s.in, Static: s.static, Holdback: s.holdback, Canary: s.canary, Targets: []KnownTarget{{Name: "a", Available: s.away != "a"}, {Name: "b", Available: true}}}}
}

func (s *stand) Publish(routes map[string]policy.Route) error {
	if s.stale == nil {
		if !reflect.DeepEqual(s.in, routes["r"].Parameters) || !reflect.DeepEqual(s.canary, routes["r"].Canary) {
			s.published++ // the hold-back alone does not count
		}
		s.in, s.canary, s.holdback = routes["r"].Parameters, routes["r"].Canary, routes["r"].Holdback
	}
	return s.stale
}

func (*stand) Name() string                        { return "stand" }
func (*stand) Owns(parameter string) bool          { return isWeight(parameter) }
func (s *stand) Propose(e *RouteEvidence) Proposal { return s.propose(e) }
func (s *stand) loop(m Mode) *Loop {
	return New(s, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Holdback: .02, Modes: map[string]Mode{"stand": m}}, s)
}
func (s *stand) weight(name string) (share float64) { return s.in.Targets[name].Weights[0] }

// towards proposes shares of a, whatever there is.
func towards(share float64) func(e *RouteEvidence) Proposal {
	return func(e *RouteEvidence) Proposal {
		p := Proposal{Reason: "a test"}
		for c := range classes {
			a, b := e.InForce.Targets["a"].Weights[c], e.InForce.Targets["b"].Weights[c]
			if math.Abs(a-2*share) > 1e-6 {
				p.Changes = append(p.Changes, Change{weightName("a", c), a, 2 * share}, Change{weightName("b", c), b, 2 - 2*share})
			}
		}
		return p
	}
}

func TestLoop_ModesSayHowFar(t *testing.T) {
	t.Parallel()
	for mode, want := range map[Mode]Verdict{Observe: Held, Recommend: Recommended, Auto: Applied} {
		s := newStand()
		s.propose = towards(.9)
		d := s.loop(mode).Step(noon)
		if len(d) != 1 || d[0].Verdict != want || s.published > 0 != (mode == Auto) {
			t.Errorf("%v: %v, published %d times", mode, d, s.published)
		}
	}
}

// A decision goes its way in small steps, and is told once.
func TestLoop_StepsAreSmall(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.98)
	l := s.loop(Auto)
	told, now, before := 0, noon, s.weight("a")
	for range 30 {
		for _, d := range l.Step(now) {
			if d.Verdict == Applied {
				told++
			}
		}
		if rise := (s.weight("a") - before) / 2; rise > DefaultBounds.Step+1e-9 {
			t.Fatalf("%.3f of the traffic moved at once", rise)
		}
		before = s.weight("a")
		now = now.Add(10 * time.Second)
	}
	if told != 1 || math.Abs(s.weight("a")-1.96) > .01 {
		t.Errorf("told %d times, a has %.3f of 2", told, s.weight("a"))
	}
}

// A tuner that changes its mind all the time is held, and then frozen.
func TestLoop_OscillationFreezes(t *testing.T) {
	t.Parallel()
	s := newStand()
	l := s.loop(Auto)
	applied, frozen := 0, false
	for i := range 180 { // half an hour
		s.propose = func(e *RouteEvidence) Proposal {
			p := towards([]float64{.2, .8}[i/2%2])(e)
			p.Expected.Relative = -.1
			return p
		}
		for _, d := range l.Step(noon.Add(time.Duration(i) * 10 * time.Second)) {
			if d.Verdict == Applied {
				applied++
			}
			frozen = frozen || strings.Contains(d.Why, "frozen")
		}
	}
	if applied != DefaultBounds.PerHour || !frozen {
		t.Errorf("%d decisions, frozen %t; want %d", applied, frozen, DefaultBounds.PerHour)
	}
}

func TestLoop_RefusesNonsense(t *testing.T) {
	t.Parallel()
	for why, changes := range map[string][]Change{
		"would be -1":           {{weightName("a", 0), 1, -1}},
		"does not own retry":    {{"retry_share", .2, .5}},
		"no parameter weights/": {{"weights/nobody/light", 0, 1}},
		"is 1 and not 0.5":      {{weightName("a", 0), .5, 1}},
		"no target would have":  {{weightName("a", 0), 1, 0}, {weightName("b", 0), 1, 0}},
		"2 % is the least":      {{weightName("a", 0), 1, 1.01}, {weightName("b", 0), 1, .99}},
	} {
		s := newStand()
		s.propose = func(*RouteEvidence) Proposal { return Proposal{Changes: changes, Reason: "a test"} }
		if d := s.loop(Auto).Step(noon); len(d) != 1 || d[0].Verdict != Refused || !strings.Contains(d[0].Why, why) || s.published > 0 {
			t.Errorf("want %q: %v, published %d times", why, d, s.published)
		}
	}
	s := newStand()
	s.in.Targets["a"] = policy.Target{}
	s.propose = func(*RouteEvidence) Proposal {
		return Proposal{Changes: []Change{{weightName("a", 0), 0, 1}, {weightName("b", 0), 1, .5}}}
	}
	if d := s.loop(Auto).Step(noon); len(d) != 1 || !strings.Contains(d[0].Why, "is 0, and stays so") {
		t.Errorf("a weight of 0: %v", d)
	}
}

// Somebody else who changes the policy wins.
func TestLoop_StalePublishChangesNothing(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.stale, s.propose = errors.New("stale"), towards(.9)
	l := s.loop(Auto)
	l.Step(noon)
	if s.weight("a") != 1 {
		t.Error("changed")
	}
	s.stale = nil
	l.Step(noon.Add(10 * time.Second))
	if s.weight("a") <= 1 {
		t.Error("it does not try again")
	}
}

// What is gained by taking a decision back must be more than chance makes of prices that are equal.
func TestLoop_DoesNotTurnForLittle(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.8)
	l := s.loop(Auto)
	for i := range 12 {
		l.Step(noon.Add(time.Duration(i) * 10 * time.Second))
	}
	saving := -.02
	s.propose = func(e *RouteEvidence) Proposal {
		p := towards(.3)(e)
		p.Expected.Relative = saving
		return p
	}
	if d := l.Step(noon.Add(10 * time.Minute)); len(d) != 1 || d[0].Verdict != Refused || !strings.Contains(d[0].Why, "take the last decision back") {
		t.Errorf("%v", d)
	}
	if d := l.Step(noon.Add(61 * time.Minute)); len(d) != 1 || d[0].Verdict != Applied {
		t.Errorf("an hour later: %v", d)
	}
}

// Whatever is proposed, what comes out is a policy that can be obeyed.
func FuzzGuard(f *testing.F) {
	f.Add(uint64(1), 1., 1.)
	f.Add(uint64(2), -1., math.Inf(1))
	f.Fuzz(func(t *testing.T, seed uint64, a, b float64) {
		s := newStand()
		draw := rand.New(rand.NewPCG(seed, 1))
		s.propose = func(e *RouteEvidence) Proposal {
			p := Proposal{Urgent: draw.IntN(2) == 0}
			for c := range classes {
				p.Changes = append(p.Changes, Change{weightName("a", c), e.InForce.Targets["a"].Weights[c], a * draw.Float64()},
					Change{weightName("b", c), e.InForce.Targets["b"].Weights[c], b * draw.Float64()})
			}
			return p
		}
		l := s.loop(Auto)
		for i := range 20 {
			l.Step(noon.Add(time.Duration(i) * 40 * time.Second))
			for c := range classes {
				x, y := s.in.Targets["a"].Weights[c], s.in.Targets["b"].Weights[c]
				if !(x >= 0 && y >= 0 && x+y > 0) || math.IsInf(x+y, 0) {
					t.Fatalf("weights %v, %v", x, y)
				}
			}
		}
	})
}

// What the collector makes of exchanges: rates, prices, and the end of a target's capacity.
func TestCollector_Evidence(t *testing.T) {
	t.Parallel()
	c := NewCollector()
	now := noon
	k := &Known{Name: "r", Targets: []KnownTarget{{Name: "a", Available: true}, {Name: "b", Available: true}}}
	serve := func(n int, perToken time.Duration) RouteEvidence {
		for i := range n { // ten a second, half of them at b
			now = now.Add(100 * time.Millisecond)
			x := window.Exchange{At: now, Route: "r", Target: "a", Class: 1, Input: 1000, Output: 200, CostNanoUSD: 2_000_000, PerToken: perToken, Violation: i%20 == 0}
			if i%2 == 0 {
				x.Target, x.CostNanoUSD, x.PerToken = "b", 4_000_000, 10*time.Millisecond
			}
			c.Observe(&x)
		}
		return c.Evidence(now, k)
	}
	e := serve(1000, 10*time.Millisecond)
	a, b := &e.Targets[0], &e.Targets[1]
	if l := e.Classes[1]; math.Abs(l.Rate-10) > .6 || math.Abs(l.Input-1000) > .1 || math.Abs(l.Output-200) > .1 || e.Classes[0].Rate != 0 {
		t.Errorf("load %+v", e.Classes)
	}
	if cost, known := e.Cost(0, 1); !known || math.Abs(cost-.002) > 1e-9 {
		t.Errorf("a costs %v", cost)
	}
	if _, known := e.Cost(0, 0); known {
		t.Error("a class that nobody has asked for has a price")
	}
	if a.Cells[1].Violations != 0 || b.Cells[1].Violations < 30 || a.Slowness != 1 || a.Capacity != 0 {
		t.Errorf("a %+v\nb %+v", a, b)
	}
	serve(200, 14*time.Millisecond)
	if e = serve(200, 14*time.Millisecond); e.Targets[0].Capacity == 0 || e.Targets[0].Capacity > 5 || e.Targets[1].Capacity != 0 {
		t.Errorf("slow at 5 a second: %+v, %+v", e.Targets[0], e.Targets[1])
	}
	limit := e.Targets[0].Capacity
	for range 10 {
		e = serve(100, 10*time.Millisecond)
	}
	if e.Targets[0].Capacity <= limit {
		t.Errorf("a capacity of %v does not grow though it is used and fine", limit)
	}
	k.Targets[0].Available = false
	before := c.Evidence(now, k).Targets[0]
	if e = serve(200, time.Second); e.Targets[0].Usual || e.Targets[0].Cells[1].Count != before.Cells[1].Count {
		t.Error("an incident is learned from")
	}
}
