package optimizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// outcomes are how often exchanges fail at the two targets, and what they cost.
type outcomes struct{ failA, failB, costA, costB float64 }

// play has the stand serve exchanges by the policy in force, and the loop look every ten seconds. It returns what was decided.
func (s *stand) play(l *Loop, now *time.Time, span time.Duration, rate float64, draw *rand.Rand, o outcomes) (decisions []Decision, harmed float64) {
	n := 0.
	for range int(span / (10 * time.Second)) {
		for range int(rate * 10) {
			route := policy.Route{Parameters: s.in, Canary: s.canary}
			if s.holdback > 0 {
				route.Static, route.Holdback = &s.static, s.holdback
			}
			session, known := s.session(draw)
			arm := route.Arm(session)
			p := route.Of(arm)
			a, b := p.Targets["a"].Weights[0], p.Targets["b"].Weights[0]
			x := window.Exchange{At: *now, Route: "r", Target: "a", Arm: uint8(arm), Input: 500, Output: 100}
			if known {
				x.Session = session
			}
			if s.canary != nil {
				x.Trial = s.canary.Salt
			}
			cost, fail := o.costA, o.failA
			if draw.Float64()*(a+b) >= a {
				x.Target, cost, fail = "b", o.costB, o.failB
			}
			x.CostNanoUSD = int64(cost * 1e6 * (.5 + draw.Float64()))
			x.Failed = draw.Float64() < fail
			x.Violation = x.Failed
			if n++; x.Failed && arm == policy.Trial {
				harmed++
			}
			l.Observe(&x)
		}
		*now = now.Add(10 * time.Second)
		decisions = append(decisions, l.Step(*now)...)
	}
	return decisions, harmed / n
}

// A change that does no harm goes through the stages and is put in force; the operator's settings keep a share of the sessions.
func TestTrial_GoodChangeIsPromoted(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	inner := s.propose
	s.propose = func(e *RouteEvidence) Proposal {
		p := inner(e)
		p.Expected = Effect{Relative: -.2}
		return p
	}
	l := s.loop(Canary)
	now, draw := noon, rand.New(rand.NewPCG(1, 1))
	var shares []float64
	var all []Decision
	for range 60 {
		d, _ := s.play(l, &now, time.Minute, 100, draw, outcomes{.01, .01, 1, 2})
		all = append(all, d...)
		if s.canary != nil && (len(shares) == 0 || s.canary.Share != shares[len(shares)-1]) {
			shares = append(shares, s.canary.Share)
		}
		if s.canary != nil && s.weight("a") != 1 {
			t.Fatal("the change is in force while it is on trial")
		}
	}
	if len(shares) < 4 || shares[0] != .01 || shares[len(shares)-1] != .5 {
		t.Errorf("shares %v", shares)
	}
	if s.canary != nil || math.Abs(s.weight("a")-1.8) > .01 || s.holdback != .02 {
		t.Errorf("canary %v, weight %v, hold-back %v", s.canary, s.weight("a"), s.holdback)
	}
	verdicts := map[Verdict]int{}
	for i := range all {
		verdicts[all[i].Verdict]++
		if all[i].ID == "" && all[i].Verdict != Held && all[i].Verdict != Refused {
			t.Errorf("no ID: %v", all[i].String())
		}
	}
	if verdicts[Trying] != 4 || verdicts[Promoted] != 1 || verdicts[RolledBack] != 0 {
		for i := range all {
			t.Log(all[i].String())
		}
		t.Errorf("verdicts %v", verdicts)
	}
}

// A change that costs what it was not to cost, or saves nothing, is given up.
func TestTrial_MustPay(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcomes{"dearer": {0, 0, 3, 1}, "no cheaper": {0, 0, 1, 1}} {
		s := newStand()
		s.propose = func(e *RouteEvidence) Proposal {
			p := towards(.9)(e)
			p.Expected = Effect{Relative: -.3}
			return p
		}
		l := s.loop(Canary)
		now, draw := noon, rand.New(rand.NewPCG(3, 3))
		d, _ := s.play(l, &now, time.Hour, 50, draw, o)
		rolled := false
		for i := range d {
			rolled = rolled || d[i].Verdict == RolledBack
			if d[i].Verdict == Promoted {
				t.Errorf("%s: promoted: %v", name, d[i].String())
			}
		}
		if !rolled {
			t.Errorf("%s: not rolled back", name)
		}
	}
}

// What happens while a target is out says nothing of a change, and an incident ends the trial.
func TestTrial_IncidentEndsIt(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := New(s, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Modes: map[string]Mode{"stand": Canary, incidentsOf: Auto}}, s)
	now, draw := noon, rand.New(rand.NewPCG(4, 4))
	s.play(l, &now, time.Minute, 10, draw, outcomes{})
	if s.canary == nil {
		t.Fatal("no trial")
	}
	s.away = "a"
	d, _ := s.play(l, &now, time.Minute, 10, draw, outcomes{failA: 1})
	ended := false
	for i := range d {
		ended = ended || d[i].Verdict == RolledBack && strings.Contains(d[i].Why, "out")
	}
	if !ended {
		t.Errorf("%v, canary %v", d, s.canary)
	}
}

// Somebody who takes the trial out of the policy has ended it; one of a run before is taken out.
func TestTrial_OthersEndIt(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Canary)
	l.Step(noon)
	if s.canary == nil {
		t.Fatal("no trial")
	}
	s.canary = nil
	if d := l.Step(noon.Add(10 * time.Second)); len(d) == 0 || d[0].Verdict != RolledBack {
		t.Errorf("%v", d)
	}
	s = newStand()
	s.propose, s.canary = func(*RouteEvidence) Proposal { return Proposal{} }, &policy.Canary{Parameters: s.in, Share: .1, Salt: 9}
	s.loop(Canary).Step(noon)
	if s.canary != nil {
		t.Error("a trial that nobody follows stays")
	}
}

// What a tuner that fails does is nothing, and is told once.
func TestLoop_FencesTuners(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(*RouteEvidence) Proposal{
		"panicked":           func(*RouteEvidence) Proposal { panic("a bug") },
		"wants":              func(*RouteEvidence) Proposal { return Proposal{Changes: []Change{{weightName("a", 0), 1, math.NaN()}}} },
		"expects what is no": func(*RouteEvidence) Proposal { return Proposal{Expected: Effect{Cost: math.Inf(1)}} },
	} {
		s := newStand()
		s.propose = bad
		l := s.loop(Auto)
		if d := l.Step(noon); len(d) != 1 || d[0].Verdict != Fenced || !strings.Contains(d[0].Why, name) {
			t.Errorf("%s: %v", name, d)
		}
		s.propose = towards(.9)
		if d := l.Step(noon.Add(time.Minute)); len(d) != 0 || s.published != 0 {
			t.Errorf("%s: it goes on: %v", name, d)
		}
		l.Step(noon.Add(fencedFor))
		if l.Step(noon.Add(fencedFor + 10*time.Second)); s.published == 0 {
			t.Errorf("%s: it never comes back", name)
		}
	}
}

// Evidence that is no number decides nothing, and is forgotten.
func TestLoop_PoisonedEvidence(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Auto)
	l.Observe(&window.Exchange{At: noon, Route: "r", Target: "a"})
	l.Collector.routes["r"].targets["a"].cells[0].outcomeSums[len(spans)-1].count = math.NaN()
	if d := l.Step(noon); len(d) != 1 || d[0].Verdict != Refused || s.published != 0 {
		t.Errorf("%v", d)
	}
	if d := l.Step(noon.Add(10 * time.Second)); len(d) != 1 || d[0].Verdict != Applied {
		t.Errorf("afterwards: %v", d)
	}
}

// A decision read from the journal is computed again, and agrees; one that was changed does not.
func TestReplay(t *testing.T) {
	t.Parallel()
	e := RouteEvidence{Name: "r", Objective: Objective{Violations: .05}, InForce: newStand().in, Static: newStand().in}
	for c := range e.Classes {
		e.Classes[c] = Load{10, 500, 100}
	}
	for i, name := range []string{"a", "b"} {
		k := TargetEvidence{Name: name, Available: true, Usual: true, Rate: 15}
		for c := range k.Cells {
			k.Cells[c] = Cell{Count: 500, Violations: 5, Unit: float64(1+i) * 1e-6}
		}
		e.Targets = append(e.Targets, k)
	}
	p := DefaultRouting.Propose(&e)
	settings, _ := json.Marshal(DefaultRouting)
	d := Decision{At: noon, Route: "r", Tuner: "routing", Mode: Auto, Verdict: Applied, Proposal: p, Evidence: &e, Settings: settings, Guard: &GuardState{}, Bounds: &DefaultBounds}
	if len(p.Changes) == 0 {
		t.Fatalf("no change: %s", p.Reason)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	read := func() (d Decision) {
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	check := func(name string, spoil func(d *Decision), want string) {
		t.Helper()
		d := read()
		spoil(&d)
		differs, err := Replay(&d)
		if err != nil || want == "" && differs != "" || !strings.Contains(differs, want) {
			t.Errorf("%s: %q, %v; want %q", name, differs, err, want)
		}
	}
	check("as it was", func(*Decision) {}, "")
	check("another price", func(d *Decision) { d.Evidence.Targets[0].Cells[0].Unit = 9e-6 }, "in place of")
	check("another change", func(d *Decision) { d.Changes[0].To = .5 }, "change")
	check("not refused", func(d *Decision) {
		for range 6 {
			d.Guard.Decided = append(d.Guard.Decided, noon.Add(-time.Minute))
		}
	}, "the guard says")
	check("pinned", func(d *Decision) { d.Pinned = []string{d.Changes[0].Name} }, "in place of")
	d = read()
	d.Evidence = nil
	if _, err := Replay(&d); !errors.Is(err, ErrNoReplay) {
		t.Errorf("without evidence: %v", err)
	}
}

// A loop that begins again knows its orders, its guard and what is under way.
func TestLoop_Remembers(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Recommend)
	d := l.Step(noon)
	if _, err := l.Order(noon, Order{Action: Approve, Decision: d[0].ID, By: "ann"}); err != nil {
		t.Fatal(err)
	}
	l.Step(noon.Add(10 * time.Second))
	half := s.weight("a")
	b, err := l.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	next := s.loop(Recommend)
	if err := next.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if again, _ := next.MarshalBinary(); !bytes.Equal(b, again) {
		t.Errorf("%s\n%s", b, again)
	}
	for i := range 30 {
		next.Step(noon.Add(time.Duration(20+10*i) * time.Second))
	}
	if half >= 1.8 || math.Abs(s.weight("a")-1.8) > 1e-6 {
		t.Errorf("from %v to %v", half, s.weight("a"))
	}
	if err := next.UnmarshalBinary([]byte(`{"format":7}`)); err == nil {
		t.Error("an unknown format is taken")
	}
}

func FuzzLoop_Memory(f *testing.F) {
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Recommend)
	l.Step(noon)
	b, _ := l.MarshalBinary()
	f.Add(b)
	f.Add([]byte(`{"format":1,"routes":{"r":{"goals":{"stand":null}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newStand()
		s.propose = towards(.9)
		l := s.loop(Recommend)
		if l.UnmarshalBinary(b) == nil {
			l.Step(noon)
			_, _ = l.Order(noon, Order{Action: Undo, Decision: "d1", By: "ann"})
		}
	})
}

// A tuner that panics again is left out for longer; one that went well for a day begins anew.
func TestLoop_FencesForLonger(t *testing.T) {
	t.Parallel()
	s := newStand()
	l := s.loop(Auto)
	check := func(at time.Duration, want time.Duration) {
		t.Helper()
		if d := l.Fence(noon.Add(at), "stand", "r", "a test"); d.Expires.Sub(d.At) != want {
			t.Errorf("left out for %v, want %v", d.Expires.Sub(d.At), want)
		}
	}
	check(0, time.Hour)
	check(2*time.Hour, 2*time.Hour)
	b, err := l.MarshalBinary()
	if l = s.loop(Auto); err != nil || l.UnmarshalBinary(b) != nil {
		t.Fatal(err)
	}
	check(5*time.Hour, 4*time.Hour)
	check(33*time.Hour-time.Second, 8*time.Hour) // till 41
	check(66*time.Hour, time.Hour)
	for i, want := range []time.Duration{2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, fencedMost, fencedMost} {
		check((70+time.Duration(i)*24)*time.Hour, want)
	}
}
