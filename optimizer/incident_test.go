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

func anyShare(string) float64 { return 1 }
