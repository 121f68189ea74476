package optimizer

import (
	"testing"
	"time"

	"llm-auto-optimizer/analysis"
)

func TestDecision_IsOneSentence(t *testing.T) {
	t.Parallel()
	saving := analysis.Reason{Method: "linear programme", Statistic: "part of the cost that is saved", Value: .312, Threshold: .01}
	move := Proposal{
		Reason: "move 18 % from azure-east to openai: the cheapest mix within the objective", Evidence: saving,
		Expected: Effect{Relative: -.312, Violations: .0002}, Changes: []Change{{"weights/openai/light", 1, 1.4}},
	}
	trial := &TrialReport{Share: .05, Exchanges: [2]float64{410, 398}, Failures: [2]float64{.002, .001}, Violations: [2]float64{.01, .012}, Cost: .71, CostError: .04}
	check := func(want string, verdict Verdict, edit func(d *Decision)) {
		t.Helper()
		d := Decision{ID: "d7", At: noon, Route: "chat", Tuner: "routing", Verdict: verdict, Proposal: move}
		if edit != nil {
			edit(&d)
		}
		if got := d.String(); got != "12:00:00 "+want {
			t.Errorf("%s:\n got %s\nwant 12:00:00 %s", verdict, got, want)
		}
	}
	why := func(why string) func(d *Decision) { return func(d *Decision) { d.Why = why } }
	check("chat moved 18 % from azure-east to openai: the cheapest mix within the objective (part of the cost that is saved 0.312 > 0.01); "+
		"expected cost −31 %, violations +0.02 %", Applied, nil)
	check("chat should move 18 % from azure-east to openai: the cheapest mix within the objective (part of the cost that is saved 0.312 > 0.01); "+
		"expected cost −31 %, violations +0.02 %; approve d7 within 1d", Recommended, func(d *Decision) { d.Expires = noon.Add(24 * time.Hour) })
	check("chat may not move 18 % from azure-east to openai: the last decision is less than 1m ago; it was for the cheapest mix within the objective "+
		"(part of the cost that is saved 0.312 > 0.01)", Refused, why("the last decision is less than 1m ago"))
	check("chat tries on 1 % of the sessions to move 18 % from azure-east to openai: the cheapest mix within the objective "+
		"(part of the cost that is saved 0.312 > 0.01); expected cost −31 %, violations +0.02 %", Trying, func(d *Decision) { d.Trial = &TrialReport{Share: .01} })
	report := "; at 5 % of the sessions 398 exchanges against 410: failures 0.10 % against 0.20 %, violations 1.20 % against 1.00 %, cost −29.0 ± 4.0 %"
	with := func(s string) func(d *Decision) { return func(d *Decision) { d.Trial, d.Why = trial, s } }
	check("chat raised the trial of d7 (move 18 % from azure-east to openai): no harm at 5 %, on to 25 %"+report, Trying, with("no harm at 5 %, on to 25 %"))
	check("chat moved 18 % from azure-east to openai after the trial of d7: no harm at a half of the traffic"+report, Promoted, with("no harm at a half of the traffic"))
	check("chat rolled back the trial of d7 (move 18 % from azure-east to openai): a target is out"+report, RolledBack, with("a target is out"))
	check("chat went back to the operator's own settings, and its tuners observe for 1d: the hold-back is better off", RolledBack, func(d *Decision) {
		d.ID, d.Proposal, d.Why = "", Proposal{Reason: "back to the operator's own settings, and its tuners observe for 1d"}, "the hold-back is better off"
	})
	check("chat left its routing tuner out for 1h: the tuner panicked: chaos", Fenced, func(d *Decision) {
		d.Proposal, d.Why, d.Expires = Proposal{}, "the tuner panicked: chaos", noon.Add(time.Hour)
	})
	check("chat: ann undid d7 (move 18 % from azure-east to openai): not worth it", Ordered, func(d *Decision) {
		d.Proposal, d.By, d.Why = Proposal{Reason: "undid d7" + move.what()}, "ann", "not worth it"
	})
	check("ann froze all routes for 2h", Ordered, func(d *Decision) {
		d.Route, d.Proposal, d.By, d.Expires = "", Proposal{Reason: "froze all routes"}, "ann", noon.Add(2*time.Hour)
	})
	check("chat: ann approved d7 (move 18 % from azure-east to openai); expected cost −31 %, violations +0.02 %", Applied, func(d *Decision) {
		d.Reason, d.By = "approved d7"+move.what(), "ann"
	})
	check("chat moved 18 % from azure-east to openai at 11:50 UTC: expected cost −31 %, violations +0.02 %; "+
		"measured cost −29.0 % ± 4.0, violations 0.00 % ± 0.10, wait −20 ms ± 30", Verified, func(d *Decision) {
		m := &Measured{
			From: noon.Add(-10 * time.Minute), Relative: Estimate{Value: -.29, Low: -.33, High: -.25, Known: true},
			Violations: Estimate{Low: -.001, High: .001, Known: true}, Wait: Estimate{Value: -.02, Low: -.05, High: .01, Known: true},
		}
		d.Measured, d.Why = m, m.Against(d.Expected)
	})
	check("chat stays as it is: no mix is enough of a gain (part of the cost that is saved 0.005 < 0.01)", Held, func(d *Decision) {
		saving.Value = .005
		d.Proposal = Proposal{Reason: "no mix is enough of a gain", Evidence: saving}
	})
	check("chat would move 18 % from azure-east to openai, but routing only observes: the cheapest mix within the objective "+
		"(part of the cost that is saved 0.312 > 0.01); expected cost −31 %, violations +0.02 %", Held, nil)
	check("chat now hedges up to 2 % of the exchanges in place of 1 %: hedges are used up", Applied, func(d *Decision) {
		d.Proposal = Proposal{Reason: "hedge up to 2 % of the exchanges in place of 1 %: hedges are used up"}
	})
	check("chat: azure-east is out: its 40 % go to the others", Applied, func(d *Decision) { d.Proposal = Proposal{Reason: "azure-east is out: its 40 % go to the others"} })
	check("chat: refused: weights/a/light would be -1", Refused, func(d *Decision) { d.Proposal, d.Why = Proposal{}, "weights/a/light would be -1" })
	check("chat: refused: a test (frozen by ann)", Refused, func(d *Decision) { d.Proposal, d.Why = Proposal{Reason: "a test"}, "frozen by ann" })
}

func TestWrap(t *testing.T) {
	t.Parallel()
	check := func(s string, width, indent int, want string) {
		t.Helper()
		if got := Wrap(s, width, indent); got != want {
			t.Errorf("Wrap(%q, %d, %d): got %q, want %q", s, width, indent, got, want)
		}
	}
	check("", 10, 2, "")
	check("one two  three", 9, 2, "one two\n  three")
	check("cost −31 %, so", 11, 2, "cost\n  −31 %, so")
	check("on 5 % or", 6, 0, "on 5 %\nor")
	check("longerthanall x", 5, 1, "longerthanall\n x")
}

// A move of one class alone is told as that, in its own percentage.
func TestRouting_NamesTheClassThatMoves(t *testing.T) {
	t.Parallel()
	e := evidenceOf(known{name: "cheap", weight: 1, static: 1, count: 5000, unit: 1e-6}, known{name: "dear", weight: 1, static: 1, count: 5000, unit: 4e-6})
	for name, w := range map[string]float64{"cheap": .999, "dear": .001} {
		target := e.InForce.Targets[name]
		target.Weights[1], target.Weights[2] = w, w
		e.InForce.Targets[name] = target
	}
	const want = "move 50 % of the light exchanges from dear to cheap: the cheapest mix within the objective"
	if p := DefaultRouting.Propose(e); p.Reason != want {
		t.Errorf("got %q, want %q", p.Reason, want)
	}
}
