package optimizer

import (
	"errors"
	"math"
	"testing"

	"llm-auto-optimizer/proxy/policy"
)

// A target with most of the traffic goes out and comes back: meanwhile the others have a mix of their own, afterwards it has its share again.
func TestIncidents_ParkAndRestore(t *testing.T) {
	t.Parallel()
	weights := func(a, b, c float64) policy.Parameters {
		p := policy.Parameters{Targets: map[string]policy.Target{}}
		for name, w := range map[string]float64{"a": a, "b": b, "c": c} {
			p.Targets[name] = policy.Target{Weights: [classes]float64{w, w, w}}
		}
		return p
	}
	k := &Known{Name: "r", InForce: weights(2.7, .3, 0), Static: weights(1, 1, 0), Targets: []KnownTarget{{Name: "a"}, {Name: "b", Available: true}, {Name: "c", Available: true}}}
	x := &incidents{}
	share := func(name string) float64 { return shares(&k.InForce, 1)[name] }
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %.4f, want %.4f", what, got, want)
		}
	}
	m := x.step(k, true, anyShare)
	if m == nil {
		t.Fatal("nothing is done about a target that is out")
	}
	if again := x.step(k, true, anyShare); again == nil {
		t.Error("what was not put in force is not tried again")
	}
	m.commit()
	k.InForce = m.next
	if share("a") > .01 || share("a") == 0 || share("b") < .98 || share("c") != 0 {
		t.Errorf("parked: %v", shares(&k.InForce, 1))
	}
	near("the sum of the weights", totals(&k.InForce)[1], 3)
	if m := x.step(k, true, anyShare); m != nil {
		t.Errorf("again: %s", m.reason)
	}
	k.Targets[0].Returning = true
	if m = x.step(k, true, anyShare); m == nil {
		t.Fatal("a target is back, and has nothing")
	}
	m.commit()
	k.InForce = m.next
	near("a is back", share("a"), .9)
	near("b beside it", share("b"), .1)
	if m := x.step(k, true, anyShare); m != nil {
		t.Errorf("at the end: %s", m.reason)
	}
	k.Targets[1].Available = false
	k.Targets[0] = KnownTarget{Name: "a"}
	k.Targets[2].Available = false
	if m := x.step(k, true, anyShare); m != nil {
		t.Errorf("all are out: %s", m.reason)
	}
}

// In modes that change nothing, incidents change nothing either; a publish that fails is made up for.
func TestLoop_Incidents(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Observe, Recommend, Auto} {
		s := newStand()
		s.propose = func(*RouteEvidence) Proposal { return Proposal{Reason: "a hold"} }
		s.away = "a"
		l := New(s, Settings{Bounds: DefaultBounds, Modes: map[string]Mode{incidentsOf: mode}}, s)
		s.stale = errors.New("stale")
		l.Step(noon)
		if s.weight("a") != 1 {
			t.Errorf("%v: changed", mode)
		}
		s.stale = nil
		l.Step(noon)
		if parked := s.weight("a") < .1; parked != (mode == Auto) {
			t.Errorf("%v: a has %v", mode, s.weight("a"))
		}
		s.away = ""
		l.Step(noon)
		if math.Abs(s.weight("a")-1) > 1e-6 {
			t.Errorf("%v: afterwards a has %v", mode, s.weight("a"))
		}
	}
}

// The first decision about the mix that an incident leaves belongs to the incident: it neither waits for what was moved before, nor counts. The next one does.
func TestGuard_EmergencyIsNotCounted(t *testing.T) {
	t.Parallel()
	s := newStand()
	r := &routeLoop{guards: map[string]*guard{}, ramps: map[string]*ramp{incidentsOf: {}}}
	g := &guard{Bounds: DefaultBounds}
	r.guards[incidentsOf] = g
	p := towards(.1)(&RouteEvidence{InForce: s.in})
	for range g.PerHour {
		g.note(noon, &p)
	}
	g.Moved = []Moved{{noon, 1}}
	back := towards(.9)(&RouteEvidence{InForce: s.in})
	now := noon.Add(g.CoolDown / 2)
	refused := func(when string) {
		t.Helper()
		if g.check(now, &s.in, &s.static, &back) == "" {
			t.Error(when, "a decision too many is taken")
		}
	}
	refused("before the incident")
	if most := g.most(now, g.StepEvery, false); most > 0 {
		t.Errorf("%v may move although all has", most)
	}
	r.emergency(true)
	if why := g.check(now, &s.in, &s.static, &back); why != "" || g.most(now, g.StepEvery, false) != g.Step || r.ramps[incidentsOf] != nil {
		t.Errorf("in the emergency: %q, %v may move", why, g.most(now, g.StepEvery, false))
	}
	g.note(now, &back)
	if len(g.Decided) != g.PerHour || len(g.Turns) > 0 {
		t.Errorf("it was counted: %d decisions, %d turns", len(g.Decided), len(g.Turns))
	}
	refused("after the emergency's own")
	r.emergency(true)
	r.emergency(false)
	refused("when the target is back")
}

func anyShare(string) float64 { return 1 }
