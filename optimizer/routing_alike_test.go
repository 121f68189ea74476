package optimizer

import (
	"strings"
	"testing"
)

// likeEvidence is a route with replicas a, b and c of one model, of weights 1, 1 and 2, and another target.
func likeEvidence(change func(replicas []known, other *known)) *RouteEvidence {
	const n = 2000
	replicas := []known{
		{name: "a", weight: 1, static: 1, count: n, unit: 1e-6}, {name: "b", weight: 1, static: 1, count: n, unit: 1e-6}, {name: "c", weight: 2, static: 2, count: n, unit: 1e-6},
	}
	other := known{name: "other", weight: 4, static: 4, count: n, unit: 4e-6}
	change(replicas, &other)
	e := evidenceOf(append(replicas, other)...)
	for i := range replicas {
		e.Targets[i].Like = "model"
	}
	return e
}

func TestRouting_AlikeAreOnePrice(t *testing.T) {
	t.Parallel()
	cached := func(replicas []known, other *known) { // what is in whose cache tells them apart
		replicas[0].unit, replicas[1].unit, other.weight, other.static = .5e-6, 1.5e-6, 0, 0
	}
	e := likeEvidence(cached)
	if p := DefaultRouting.Propose(e); len(p.Changes) > 0 {
		t.Errorf("replicas with other caches: %s, %+v", p.Reason, p.Changes)
	}
	e.Targets[0].Like, e.Targets[1].Like = "one", "another"
	if p := DefaultRouting.Propose(e); !strings.Contains(p.Reason, "to a: the cheapest mix") {
		t.Errorf("targets of other prices: %s", p.Reason)
	}
}

func TestRouting_AlikeShareWhatTheyGet(t *testing.T) {
	t.Parallel()
	check := func(what string, e *RouteEvidence, reason string, want map[string]float64) {
		t.Helper()
		p := DefaultRouting.Propose(e)
		got := after(t, e, p)
		for name, share := range want {
			if got[name] < share-.002 || got[name] > share+.002 {
				t.Errorf("%s: %s gets %.4f, want %.3f", what, name, got[name], share)
			}
		}
		if !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: %s, want %q", what, p.Reason, reason)
		}
	}
	check("the other is dear", likeEvidence(func([]known, *known) {}), "move 50 % from other to c and 2 like it: ", map[string]float64{"a": .25, "b": .25, "c": .5, "other": 0})
	check("the other is cheap", likeEvidence(func(_ []known, other *known) { other.unit = .1e-6 }), "move 50 % from c and 2 like it to other: ", map[string]float64{"c": 0, "other": 1})
	check("the other is cheaper than they are together", likeEvidence(func(replicas []known, other *known) {
		replicas[0].unit, replicas[1].unit, other.unit = .5e-6, 1.5e-6, .8e-6
	}), "to other: ", map[string]float64{"other": 1})
	check("one of them fails", likeEvidence(func(replicas []known, _ *known) { replicas[1].violating = 400 }), "from other to", map[string]float64{"b": 0, "other": 0})
	check("one of them takes little", likeEvidence(func(replicas []known, _ *known) { replicas[2].capacity = 6 }), "from other to", map[string]float64{"other": 0}) // of 30 a second
	e := likeEvidence(func(replicas []known, _ *known) { replicas[2].capacity = 6 })
	if share := after(t, e, DefaultRouting.Propose(e))["c"]; share > .2+1e-3 {
		t.Errorf("one that takes a fifth gets %.3f", share)
	}
}
