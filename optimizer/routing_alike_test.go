package optimizer

import (
	"strings"
	"testing"
	"time"
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

// shared checks what a tuner proposes.
func shared(t *testing.T, tuner Routing, what string, e *RouteEvidence, reason string, want map[string]float64) {
	t.Helper()
	p := tuner.Propose(e)
	got := after(t, e, p)
	for name, share := range want {
		if got[name] < share-.003 || got[name] > share+.003 {
			t.Errorf("%s: %s gets %.4f, want %.3f", what, name, got[name], share)
		}
	}
	if !strings.Contains(p.Reason, reason) {
		t.Errorf("%s: %s, want %q", what, p.Reason, reason)
	}
}

func TestRouting_AlikeShareWhatTheyGet(t *testing.T) {
	t.Parallel()
	check := func(what string, change func(replicas []known, other *known), reason string, want map[string]float64) {
		t.Helper()
		shared(t, DefaultRouting, what, likeEvidence(change), reason, want)
	}
	check("the other is dear", func([]known, *known) {}, "move 50 % from other to c and 2 like it: ", map[string]float64{"a": .25, "b": .25, "c": .5, "other": 0})
	check("the other is cheap", func(_ []known, other *known) { other.unit = .1e-6 }, "move 50 % from c and 2 like it to other: ", map[string]float64{"c": 0, "other": 1})
	check("the other is cheaper than they are together", func(replicas []known, other *known) {
		replicas[0].unit, replicas[1].unit, other.unit = .5e-6, 1.5e-6, .8e-6
	}, "to other: ", map[string]float64{"other": 1})
	check("one of them fails", func(replicas []known, _ *known) { replicas[1].violating = 400 }, "from other to c and 1 like it", map[string]float64{"a": .333, "b": 0, "c": .667, "other": 0})
	check("one of them takes little", func(replicas []known, _ *known) { replicas[2].capacity = 6 }, "from other to", map[string]float64{"a": .4, "b": .4, "c": .2, "other": 0}) // of 30 a second
	check("two take what is theirs by weight, all classes together", func(replicas []known, _ *known) {
		replicas[0].capacity, replicas[1].capacity = 7.6, 7.6
	}, "from other to", map[string]float64{"a": .25, "b": .25, "c": .5, "other": 0})
	check("all but one are full", func(replicas []known, _ *known) { replicas[0].capacity, replicas[2].capacity = 3, 6 }, "from other to", map[string]float64{"a": .1, "b": .7, "c": .2})
}

// Who reads why is told that prices were put together.
func TestReport_SaysWhatIsAlike(t *testing.T) {
	t.Parallel()
	e := likeEvidence(func([]known, *known) {})
	if text := Report([]Decision{{ID: "d1", Route: "r", Tuner: "routing", Evidence: e, Proposal: DefaultRouting.Propose(e)}}, time.UTC); !strings.Contains(text, "\n  a, b, c count as one price") {
		t.Error(text)
	}
}

func TestRouting_AlikeWithinTheBounds(t *testing.T) {
	t.Parallel()
	two := func(a, b float64) *RouteEvidence {
		return likeEvidence(func(replicas []known, other *known) {
			replicas[0].weight, replicas[0].static, replicas[1].weight, replicas[1].static = a, a, b, b
			replicas[2].weight, replicas[2].static, other.weight, other.static = 0, 0, 10, 10
		})
	}
	bounded := DefaultRouting
	bounded.MaxShare = .8
	shared(t, bounded, "at most .8", two(1, 9), "from other to", map[string]float64{"a": .2, "b": .8, "other": 0})
	bounded = DefaultRouting
	bounded.MinShare = .1
	shared(t, bounded, "at least .1", two(1, 30), "from other to", map[string]float64{"a": .1, "b": .8, "other": .1})
}

// What was taken from one that is like the others comes back when it is well.
func TestRouting_AlikeComeBack(t *testing.T) {
	t.Parallel()
	e := likeEvidence(func(_ []known, other *known) { other.weight, other.static = 0, 0 })
	for name, w := range map[string]float64{"a": 3.9996, "b": 2e-4, "c": 2e-4} {
		target := e.InForce.Targets[name]
		target.Weights = [classes]float64{w, w, w}
		e.InForce.Targets[name] = target
	}
	shared(t, DefaultRouting, "all are well", e, "move 75 % from a to c and 1 like it: targets that are alike share by your weights again", map[string]float64{"a": .25, "b": .25, "c": .5})
	e.Targets[1].Cells[0].Violations, e.Targets[1].Cells[1].Violations, e.Targets[1].Cells[2].Violations = 400, 400, 400
	shared(t, DefaultRouting, "one still fails", e, "from a to c: targets that are alike", map[string]float64{"a": .333, "b": 0, "c": .667})
}

// Doubt alone takes nothing from one that is like the others.
func TestRouting_AlikeStayWhereNothingStandsOut(t *testing.T) {
	t.Parallel()
	e := likeEvidence(func(replicas []known, other *known) {
		for i := range replicas {
			replicas[i].weight, replicas[i].static, replicas[i].violating = 1, 1, 14
		}
		replicas[0].violating, other.unit, other.violating, other.weight, other.static = 40, 1e-6, 14, 1, 1
	})
	e.Targets[3].Like = "model"
	for i := range e.Targets {
		e.Targets[i].Cells[1], e.Targets[i].Cells[2] = Cell{}, Cell{}
	}
	e.Classes[1].Rate, e.Classes[2].Rate = 0, 0
	if p := DefaultRouting.Propose(e); len(p.Changes) > 0 && !strings.Contains(p.Reason, "no mix is enough of a gain") {
		t.Errorf("%s, %+v", p.Reason, p.Changes)
	}
}

// The price of those that are alike does not change because one goes.
func TestRouting_AlikeThatAreAwayCount(t *testing.T) {
	t.Parallel()
	e := likeEvidence(func(replicas []known, other *known) {
		replicas[0].unit, replicas[1].unit, other.unit = .5e-6, 1.5e-6, .8e-6
		replicas[2].weight, replicas[2].static, other.weight = 0, 0, 100
	})
	e.Targets[1].Usual, e.Targets[1].Available = false, false
	shared(t, DefaultRouting, "the dearer is away", e, "", map[string]float64{"a": .0098, "b": .0098, "other": .98})
}

// Rounding takes nothing that has a weight out of use, however little there is to divide.
func TestRouting_LeastSharesAreNeverZero(t *testing.T) {
	t.Parallel()
	const n = 2000
	e := evidenceOf(known{name: "main", weight: 4, static: 4, count: n, unit: 1e-6}, known{name: "b", weight: 1, static: 1, count: n, unit: 1e-6}, known{name: "c", weight: 1, static: 1, count: n, unit: 4e-6})
	e.Targets[0].Usual = false
	p := DefaultRouting.Propose(e)
	if len(p.Changes) == 0 {
		t.Fatal(p.Reason)
	}
	next, err := apply(e.InForce, p.Changes)
	if err != nil {
		t.Fatal(err)
	}
	if w := next.Targets["c"].Weights; w[0] <= 0 || w[1] <= 0 || w[2] <= 0 {
		t.Errorf("weights %v: %s", w, p.Reason)
	}
	off := e.InForce.Targets["c"]
	off.Weights = [classes]float64{}
	e.InForce.Targets["c"], e.Targets[0].Usual = off, true
	for class := range e.Targets[1].Cells {
		e.Targets[1].Cells[class].Unit = 2e-6 // b has become dear
	}
	if next, err = apply(e.InForce, DefaultRouting.Propose(e).Changes); err != nil || next.Targets["c"].Weights[0] <= 0 {
		t.Errorf("weights %v, %v: what an operator wants used comes back with the next change", next.Targets["c"].Weights, err)
	}
}
