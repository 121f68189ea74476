package optimizer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// known is a target as a test describes it.
type known struct {
	name             string
	weight, static   float64
	count, violating float64 // exchanges of each class, and of them those that violate the objective
	unit             float64 // US dollars per token of work
	capacity         float64
}

// evidenceOf is a route with 10 exchanges a second of each class, and an objective of 1 %.
func evidenceOf(targets ...known) *RouteEvidence {
	e := &RouteEvidence{
		Name: "r", Objective: Objective{TTFT: 2 * time.Second, Violations: .01},
		InForce: policy.Parameters{Targets: map[string]policy.Target{}}, Static: policy.Parameters{Targets: map[string]policy.Target{}},
	}
	for c := range e.Classes {
		e.Classes[c] = Load{Rate: 10, Input: 1000, Output: 200}
	}
	for _, k := range targets {
		e.InForce.Targets[k.name] = policy.Target{Weights: [classes]float64{k.weight, k.weight, k.weight}}
		e.Static.Targets[k.name] = policy.Target{Weights: [classes]float64{k.static, k.static, k.static}}
		t := TargetEvidence{Name: k.name, Available: true, Usual: true, Capacity: k.capacity}
		for c := range t.Cells {
			t.Cells[c] = Cell{Count: k.count, Violations: k.violating, Unit: k.unit}
		}
		e.Targets = append(e.Targets, t)
	}
	return e
}

// after are the shares that a proposal leads to, over all classes.
func after(t *testing.T, e *RouteEvidence, p Proposal) map[string]float64 {
	t.Helper()
	next, err := apply(e.InForce, p.Changes)
	if err != nil {
		t.Fatal(err)
	}
	shares, total := map[string]float64{}, totals(&next)
	for name, target := range next.Targets {
		for class, w := range target.Weights {
			shares[name] += w / total[class] / classes
		}
	}
	return shares
}

func TestRouting_TheCheapestMixWithinTheObjective(t *testing.T) {
	t.Parallel()
	const n = 5000
	cheap, dear := known{name: "cheap", weight: 1, static: 1, count: n, unit: 1e-6}, known{name: "dear", weight: 1, static: 1, count: n, unit: 4e-6}
	check := func(what string, e *RouteEvidence, low, high float64, reason string) {
		t.Helper()
		p := DefaultRouting.Propose(e)
		if got := after(t, e, p)["cheap"]; got < low || got > high || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: cheap gets %.3f, want %.3f to %.3f; %s, want %q", what, got, low, high, p.Reason, reason)
		}
	}
	check("all is well", evidenceOf(cheap, dear), .99985, .99995, "from dear to cheap: the cheapest mix within the objective")
	some := cheap
	some.violating = n * .018
	check("nearly two in a hundred violate", evidenceOf(some, dear), .4, .6, "the cheapest mix within the objective")
	bad := cheap
	bad.violating = n * .2
	check("a fifth violates", evidenceOf(bad, dear), .0001, .06, "may break the objective")
	small := cheap
	small.capacity = 6
	e := evidenceOf(small, dear)
	check("the cheap one takes a fifth of the load, and has it", e, .5, .5, "no mix is enough")
	e.Targets[0].Rate, e.Targets[0].Slowness = 15, 2
	check("the cheap one gets more than it takes", e, .1, .3, "a target gets more than it takes")
	off := cheap
	off.static, off.weight = 0, 0
	check("an operator has set it to 0", evidenceOf(off, dear, known{name: "third", weight: 1, static: 1, count: n, unit: 2e-6}), 0, 0, "from dear to third")
	worst := dear
	worst.violating = n * .3
	check("both violate", evidenceOf(bad, worst), .99985, .99995, "from dear to cheap")
}

func TestRouting_HoldsWhereItDoesNotKnow(t *testing.T) {
	t.Parallel()
	a, b := known{name: "a", weight: 1, static: 1, count: 500, unit: 1e-6}, known{name: "b", weight: 1, static: 1, count: 500, unit: 3e-6}
	check := func(what, reason string, change func(e *RouteEvidence)) {
		t.Helper()
		e := evidenceOf(a, b)
		change(e)
		if p := DefaultRouting.Propose(e); len(p.Changes) > 0 || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: %d changes, %q; want none and %q", what, len(p.Changes), p.Reason, reason)
		}
	}
	check("no traffic", "no traffic", func(e *RouteEvidence) { e.Classes = [classes]Load{} })
	check("few exchanges", "a has served 15 exchanges", func(e *RouteEvidence) {
		for c := range e.Targets[0].Cells {
			e.Targets[0].Cells[c].Count = 5
		}
	})
	check("no price", "what b costs is not known", func(e *RouteEvidence) {
		for c := range e.Targets[1].Cells {
			e.Targets[1].Cells[c].Unit = 0
		}
	})
	check("an incident", "fewer than two targets", func(e *RouteEvidence) { e.Targets[0].Usual = false })
	check("poison", "no mix can be computed", func(e *RouteEvidence) { e.Targets[0].Cells[0].Unit = math.Inf(1) })
	check("more poison", "", func(e *RouteEvidence) { e.Targets[0].Cells[0].Violations = math.NaN() })
}

// What stands in the journal leads to the same decision again.
func TestRouting_IsDeterministic(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var targets []known
		for i := range 2 + draw.IntN(6) {
			targets = append(targets, known{
				name: string(rune('a' + i)), weight: draw.Float64(), static: 1, count: 100 + 1000*draw.Float64(), violating: 20 * draw.Float64(),
				unit: math.Exp(draw.NormFloat64()) * 1e-6, capacity: 40 * draw.Float64(),
			})
		}
		e := evidenceOf(targets...)
		stored, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var again RouteEvidence
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatal(err)
		}
		if p, q := DefaultRouting.Propose(e), DefaultRouting.Propose(&again); !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v\n%+v", p, q)
		}
	}
}

// Without an objective, what is cheaper may not fail much more often than what the operator has chosen; and targets that never fail are no trouble.
func TestRouting_WithoutObjective(t *testing.T) {
	t.Parallel()
	for failing, want := range map[float64]float64{0: .999, 60: .2} {
		e := evidenceOf(known{"cheap", 1, 1, 600, failing, 1e-6, 0}, known{"dear", 9, 9, 600, 0, 2e-6, 0})
		e.Objective = Objective{}
		p := DefaultRouting.Propose(e)
		if got := after(t, e, p)["cheap"]; failing == 0 && math.Abs(got-want) > .001 || failing > 0 && got > want {
			t.Errorf("%v of 600 fail: cheap gets %v (%s)", failing, got, p.Reason)
		}
	}
}

// Where all targets together take less than there is, there is a mix all the same.
func TestRouting_TooLittleCapacity(t *testing.T) {
	t.Parallel()
	e := evidenceOf(known{"a", 1, 1, 600, 60, 1e-6, 2}, known{"b", 1, 1, 600, 0, 2e-6, 2})
	if p := DefaultRouting.Propose(e); after(t, e, p)["b"] < .9 {
		t.Errorf("%v (%s)", after(t, e, p), p.Reason)
	}
}

// A class that nobody asks for is left alone: nothing is known of what it costs.
func TestRouting_LeavesClassesWithoutTraffic(t *testing.T) {
	t.Parallel()
	e := evidenceOf(known{"a", 1, 1, 600, 0, 1e-6, 0}, known{"b", 1, 1, 600, 0, 2e-6, 0})
	e.Classes[2] = Load{}
	for _, c := range DefaultRouting.Propose(e).Changes {
		if strings.HasSuffix(c.Name, "/heavy") {
			t.Errorf("%+v", c)
		}
	}
}

// Of quality and cost an operator's limits are kept, and where nothing meets them that is said.
func TestRouting_LimitsOfQualityAndCost(t *testing.T) {
	t.Parallel()
	of := func(quality, most float64, qa, qb float64) *RouteEvidence {
		e := evidenceOf(known{"a", 1, 1, 600, 0, 1e-6, 0}, known{"b", 1, 1, 600, 0, 2e-6, 0}) // $.002 and $.004 an exchange
		e.Objective.Quality, e.Objective.MaxCost = quality, most
		e.Targets[0].Quality, e.Targets[1].Quality = qa, qb
		return e
	}
	check := func(name string, e *RouteEvidence, least, most float64, reason string) {
		t.Helper()
		p := DefaultRouting.Propose(e)
		if b := after(t, e, p)["b"]; b < least || b > most || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: b has %.4f, want %v to %v (%s)", name, b, least, most, p.Reason)
		}
	}
	check("no limits", of(0, 0, .7, .9), 0, .01, "the cheapest mix")
	check("a floor between them", of(.75, 0, .7, .9), .249, .26, "the cheapest mix")
	check("a floor above what is in force", of(.85, 0, .7, .9), .749, .76, "below the quality of 0.85")
	check("the best alone", of(.9, 0, .7, .9), .99, 1, "below the quality of 0.9")
	check("above all", of(.95, 0, .7, .9), .5, .5, "no mix has the quality of 0.95")
	check("nothing is known of a", of(.8, 0, 0, .9), 0, .01, "the cheapest mix")
	check("room for it", of(0, 2.5, .7, .9), 0, .01, "the cheapest mix")
	check("too dear", of(0, 1.5, .7, .9), .5, .5, "no mix costs as little as $1.50 per 1,000 exchanges")
	check("both", of(.85, 3, .7, .9), .5, .5, "no mix of a quality of 0.85 costs as little as $3 per 1,000")
	check("both together", of(.75, 3, .7, .9), .249, .26, "the cheapest mix")

	e := of(0, 2.5, .7, .9) // the cheap one breaks the objective
	for c := range e.Targets[0].Cells {
		e.Targets[0].Cells[c].Violations = 12
	}
	if p := DefaultRouting.Propose(e); !strings.Contains(p.Reason, "within the limits of quality and cost") && !strings.Contains(p.Reason, "no mix keeps") {
		t.Errorf("objective against cost: %s", p.Reason)
	} else if b := after(t, e, p)["b"]; b > .5 {
		t.Errorf("b has %.3f, which costs too much", b)
	}
	e = of(0, 2.01, .7, .9)
	e.InForce.Targets["a"], e.InForce.Targets["b"] = policy.Target{Weights: [classes]float64{.994, .994, .994}}, policy.Target{Weights: [classes]float64{.006, .006, .006}}
	check("a small saving that brings it below", e, 0, .005, "costs $2.01 per 1,000 exchanges, at most $2.01")
}

// A hold says what keeps it: that too little is known, or what targets take.
func TestRouting_SaysWhatKeepsIt(t *testing.T) {
	t.Parallel()
	check := func(name string, e *RouteEvidence, want string) {
		t.Helper()
		if p := DefaultRouting.Propose(e); len(p.Changes) > 0 || p.Reason != want {
			t.Errorf("%s: %v, %q, want %q", name, p.Changes, p.Reason, want)
		}
	}
	check("capacities", evidenceOf(known{"a", 1, 1, 600, 0, 1e-6, 10}, known{"b", 1, 1, 600, 0, 2e-6, 10}), "the targets take less than there is")
	check("capacity of the good one", evidenceOf(known{"a", 1, 1, 600, 0, 1e-6, 5}, known{"b", 1, 1, 600, 12, 2e-6, 0}), "what the targets take leaves no mix that keeps the objective")
	check("doubt", evidenceOf(known{"a", 1, 1, 60, 1, 1e-6, 0}, known{"b", 1, 1, 60, 1, 2e-6, 0}), "too little is known to be sure that another mix keeps the objective")
}
