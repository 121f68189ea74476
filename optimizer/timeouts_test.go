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

// attemptsOf is a route of 10,000 exchanges, of which 100 violate an objective of 1 %, where everything is worth what it costs.
func attemptsOf(change func(e *RouteEvidence)) *RouteEvidence {
	bounds := policy.Parameters{RetryShare: .2, FirstByteFactor: 4, HedgeShare: .03}
	e := &RouteEvidence{Name: "r", Objective: Objective{TTFT: 2 * time.Second, Violations: .01}, InForce: bounds, Static: bounds}
	e.Attempts = Attempts{
		Age: time.Hour, Count: 10000, Violations: 100, Cost: 20, Repeated: 100, Rescued: 90, Late: 100, LateKept: 90,
		Hedged: 150, Lost: .2, Saved: 100, Doubt: 5, Hedgeable: 20,
	}
	change(e)
	return e
}

// changeOf is the parameter that a proposal changes and what it becomes; empty for a hold.
func changeOf(t *testing.T, p Proposal) (name string, to float64) {
	t.Helper()
	if len(p.Changes) > 1 {
		t.Errorf("%d changes at once: %+v", len(p.Changes), p.Changes)
	}
	if len(p.Changes) == 0 {
		return "", 0
	}
	return p.Changes[0].Name, p.Changes[0].To
}

func TestTimeouts_EachDirection(t *testing.T) {
	t.Parallel()
	check := func(what, name string, to float64, reason string, change func(e *RouteEvidence)) {
		t.Helper()
		e := attemptsOf(change)
		p := DefaultTimeouts.Propose(e)
		if got, value := changeOf(t, p); got != name || math.Abs(value-to) > 1e-9 || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: %s becomes %v, want %s %v; %q, want %q", what, got, value, name, to, p.Reason, reason)
		}
		if name != "" && (p.Evidence.Method == "" || !p.Evidence.Fired() || p.Evidence.Baseline.Count != 10000) {
			t.Errorf("%s: evidence %+v", what, p.Evidence)
		}
	}
	check("all is well", "", 0, "are worth what they cost", func(*RouteEvidence) {})

	used := func(e *RouteEvidence) { e.Attempts.Hedged, e.Attempts.Hedgeable = 300, 80 }
	check("hedges are used up, and violations left", "hedge_share", .06, "are used up", used)
	check("the cost of hedges is used up", "hedge_share", .06, "are used up", func(e *RouteEvidence) { e.Attempts.Lost, e.Attempts.Hedgeable = .55, 80 })
	check("more than the highest", "hedge_share", .1, "are used up", func(e *RouteEvidence) { used(e); e.InForce.HedgeShare, e.Attempts.Hedged = .08, 800 })
	check("the operator allows more than that", "hedge_share", .16, "are used up", func(e *RouteEvidence) {
		used(e)
		e.InForce.HedgeShare, e.Static.HedgeShare, e.Attempts.Hedged = .08, .2, 800
	})
	check("nothing is left to save", "", 0, "worth", func(e *RouteEvidence) { used(e); e.Attempts.Hedgeable = 0 })
	check("what they save is not sure", "", 0, "worth", func(e *RouteEvidence) { used(e); e.Attempts.Doubt = 70 })
	waste := func(e *RouteEvidence) {
		e.Attempts.Saved, e.Attempts.Doubt, e.Attempts.Lost, e.Attempts.Violations = 0, 0, .3, 10
	}
	check("hedges save nothing", "hedge_share", .0075, "not worth what they cost", waste)
	check("it is not sure that they save nothing", "", 0, "worth", func(e *RouteEvidence) { waste(e); e.Attempts.Doubt = 100 })
	check("the lowest", "hedge_share", .005, "not worth", func(e *RouteEvidence) {
		waste(e)
		e.Attempts.Hedged, e.Attempts.Lost = 70, .55
		e.InForce.HedgeShare = .007
	})

	hanging := func(e *RouteEvidence) {
		e.Attempts.Late, e.Attempts.LateKept = 90, 0
		e.Attempts.Deadlines = []Deadline{{1.5, 300, .02, -88}, {2, 95, 0, -85}, {2.5, 91, 0, -40}, {3, 90, 0, 0}}
	}
	check("an earlier bound keeps the objective", "first_byte_factor", 2, "come too late", hanging)
	check("in steps", "first_byte_factor", 4, "and then after 2", func(e *RouteEvidence) { hanging(e); e.InForce.FirstByteFactor = 8 })
	check("few are slow enough", "", 0, "worth", func(e *RouteEvidence) {
		hanging(e)
		e.Attempts.Late, e.Attempts.Deadlines[1].Violations, e.Attempts.Deadlines[2].Violations = 30, -4, -3
	})
	check("giving up is for nothing", "first_byte_factor", 6, "few of those", func(e *RouteEvidence) { e.Attempts.Late, e.Attempts.LateKept, e.Attempts.Violations = 200, 0, 50 })
	check("no later than the highest", "", 0, "worth", func(e *RouteEvidence) {
		e.Attempts.Late, e.Attempts.LateKept, e.InForce.FirstByteFactor = 200, 0, 10
	})

	refused := func(e *RouteEvidence) { e.Attempts.Refused, e.Attempts.Violations = 200, 200 }
	check("repetitions are refused", "retry_share", .4, "some were refused", refused)
	check("the highest", "retry_share", .5, "some were refused", func(e *RouteEvidence) { refused(e); e.InForce.RetryShare = .3 })
	check("none more", "", 0, "worth", func(e *RouteEvidence) { refused(e); e.InForce.RetryShare = .5 })
	check("repetitions rescue nobody", "retry_share", .1, "few repetitions rescue", func(e *RouteEvidence) { e.Attempts.Rescued = 5 })
	check("the lowest share", "retry_share", .02, "few repetitions rescue", func(e *RouteEvidence) { e.Attempts.Rescued, e.InForce.RetryShare = 5, .03 })
	check("they rescue again", "retry_share", .1, "rescue again", func(e *RouteEvidence) { e.InForce.RetryShare = .05 })
	check("they are rare again", "retry_share", .1, "rare again", func(e *RouteEvidence) { e.InForce.RetryShare, e.Attempts.Repeated, e.Attempts.Rescued = .05, 3, 1 })
	check("half of them rescue", "", 0, "worth", func(e *RouteEvidence) { refused(e); e.Attempts.Rescued = 50 })
}

func TestTimeouts_HoldsWhereItDoesNotKnow(t *testing.T) {
	t.Parallel()
	check := func(what, reason string, change func(e *RouteEvidence)) {
		t.Helper()
		e := attemptsOf(func(e *RouteEvidence) { // it would hedge less
			e.Attempts.Saved, e.Attempts.Doubt, e.Attempts.Lost, e.Attempts.Violations = 0, 0, .3, 10
			change(e)
		})
		if p := DefaultTimeouts.Propose(e); len(p.Changes) > 0 || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: %+v, %q; want none and %q", what, p.Changes, p.Reason, reason)
		}
	}
	check("nothing", "short while ago", func(e *RouteEvidence) { e.Attempts = Attempts{} })
	check("parameters are new", "short while ago", func(e *RouteEvidence) { e.Attempts.Age = time.Minute })
	check("few exchanges", "too few exchanges", func(e *RouteEvidence) { e.Attempts.Count = 500 })
	check("no objective", "has no price", func(e *RouteEvidence) { e.Objective.Violations = 0 })
	check("no cost", "not known", func(e *RouteEvidence) { e.Attempts.Cost, e.Attempts.Lost = 0, 0 })
	check("few hedges", "worth what they cost", func(e *RouteEvidence) { e.Attempts.Hedged = 20 })
	check("poison", "damaged", func(e *RouteEvidence) { e.Attempts.Saved = math.NaN() })
	check("more poison", "damaged", func(e *RouteEvidence) { e.Attempts.Violations = 20000 })
	check("poisoned deadlines", "damaged", func(e *RouteEvidence) { e.Attempts.Deadlines = []Deadline{{2, 1, 0, math.Inf(-1)}} })
}

// What an operator has turned off stays off, unless the settings say that it need not.
func TestTimeouts_AnOperatorsZero(t *testing.T) {
	t.Parallel()
	e := attemptsOf(func(e *RouteEvidence) {
		e.InForce.HedgeShare, e.Static.HedgeShare, e.InForce.FirstByteFactor, e.Static.FirstByteFactor = 0, 0, 0, 0
		a := &e.Attempts
		a.Late, a.LateKept, a.Hedged, a.Saved, a.Lost, a.Hedgeable = 0, 0, 0, 0, 0, 90
		a.Deadlines = []Deadline{{2, 95, 0, -85}, {4, 90, 0, -70}}
	})
	if p := DefaultTimeouts.Propose(e); len(p.Changes) > 0 {
		t.Errorf("%+v", p)
	}
	may := DefaultTimeouts
	may.MayHedge = true
	if name, to := changeOf(t, may.Propose(e)); name != "hedge_share" || to != firstHedges {
		t.Errorf("hedges: %s becomes %v", name, to)
	}
	may.MayHedge, may.MayGiveUp = false, true
	if name, to := changeOf(t, may.Propose(e)); name != "first_byte_factor" || to != 2 {
		t.Errorf("learned bounds: %s becomes %v", name, to)
	}
	may.MayHedge = true
	e.Static.HedgeShare, e.Static.FirstByteFactor = .03, 4 // it was turned off since
	if p := may.Propose(e); len(p.Changes) > 0 {
		t.Errorf("turned off by hand: %+v", p)
	}
	e.InForce, e.Static = e.Static, e.InForce // the operator has just turned it off
	e.Attempts.Hedged, e.Attempts.Lost, e.Attempts.Violations = 300, .4, 10
	if p := DefaultTimeouts.Propose(e); len(p.Changes) > 0 {
		t.Errorf("not in force yet: %+v", p)
	}
}

// What stands in the journal leads to the same decision again.
func TestTimeouts_IsDeterministic(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	changes := 0
	for range 200 {
		e := attemptsOf(func(e *RouteEvidence) {
			a := &e.Attempts
			a.Violations, a.Saved, a.Lost, a.Hedged, a.Late = 300*draw.Float64(), 100*draw.Float64(), draw.Float64(), 400*draw.Float64(), 100+100*draw.Float64()
			a.Refused, a.Rescued = 100*draw.Float64(), 100*draw.Float64()
			a.Deadlines = []Deadline{{2, 300, 0, 200 * (draw.Float64() - .7)}, {3, 200, 0, 100 * (draw.Float64() - .7)}}
		})
		stored, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var again RouteEvidence
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatal(err)
		}
		p, q := DefaultTimeouts.Propose(e), DefaultTimeouts.Propose(&again)
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v\n%+v", p, q)
		}
		changes += len(p.Changes)
	}
	if changes < 50 {
		t.Errorf("%d changes of 200", changes)
	}
}

// Whatever the evidence, what is proposed is within the bounds, steps and ownership of the tuner.
func FuzzTimeouts(f *testing.F) {
	f.Add(uint64(1), .01, 1., .03, 4., .2, .0, .0, .0)
	f.Add(uint64(7), math.Inf(1), -1., .5, 100., 1., math.NaN(), .2, 1e300)
	f.Add(uint64(3), 1e-300, 1e-9, .001, 1.5, .01, .5, 100., 1.)
	f.Fuzz(func(t *testing.T, seed uint64, violations, cost, hedges, factor, retries, staticHedges, staticFactor, staticRetries float64) {
		draw := rand.New(rand.NewPCG(seed, 1))
		some := func(most float64) float64 { return most * draw.Float64() }
		tuner := DefaultTimeouts
		tuner.MayHedge, tuner.MayGiveUp = seed%2 == 0, seed%3 == 0
		e := attemptsOf(func(e *RouteEvidence) {
			e.Objective.Violations = violations
			e.InForce = policy.Parameters{RetryShare: retries, FirstByteFactor: factor, HedgeShare: hedges}
			e.Static = policy.Parameters{RetryShare: staticRetries, FirstByteFactor: staticFactor, HedgeShare: staticHedges}
			a := &e.Attempts
			a.Violations, a.Cost, a.Hedged, a.Saved, a.Doubt, a.Hedgeable, a.Refused, a.Rescued = some(1000), cost, some(1000), some(300), some(50), some(500), some(500), some(100)
			a.Lost, a.LateKept = some(1)*cost, some(100)
			for _, f := range deadlineFactors {
				a.Deadlines = append(a.Deadlines, Deadline{f, some(1000), some(.01), some(400) - 200})
			}
		})
		p := tuner.Propose(e)
		if p.Reason == "" {
			t.Error("no reason")
		}
		for _, c := range p.Changes {
			from, _ := valueOf(&e.InForce, c.Name)
			static, _ := valueOf(&e.Static, c.Name)
			r := map[string]Range{"retry_share": tuner.RetryShare, "first_byte_factor": tuner.FirstByteFactor, "hedge_share": tuner.HedgeShare}[c.Name]
			if c.From != from || c.To == from || !tuner.Owns(c.Name) || from == 0 && static > 0 {
				t.Errorf("%+v of %v, %v by the operator", c, from, static)
			}
			if c.To > max(r.High, static, from)+1e-9 || !(c.To >= min(r.Low, orLow(static, r.Low), from)-1e-9) || c.To <= 0 {
				t.Errorf("%+v is outside of %+v, %v by the operator", c, r, static)
			}
			if from > 0 && c.To > from*tuner.Step+1.0/1000 && from >= min(r.Low, orLow(static, r.Low)) {
				t.Errorf("%+v is no step", c)
			}
			for _, v := range []float64{p.Evidence.Value, p.Evidence.Threshold, p.Expected.Cost, p.Expected.Relative, p.Expected.Violations, p.Evidence.Baseline.Level} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("%+v, %+v", p.Evidence, p.Expected)
				}
			}
		}
	})
}

// orLow is the operator's setting, where that is not to turn something off.
func orLow(static, low float64) float64 {
	if static == 0 {
		return low
	}
	return static
}
