package optimizer

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// attemptRoute is a route with two targets and an objective of two seconds.
func attemptRoute() *Known {
	return &Known{
		Name: "r", Objective: Objective{TTFT: 2 * time.Second, Violations: .01}, InForce: policy.Parameters{RetryShare: .2, HedgeShare: .03, FirstByteFactor: 4},
		Targets: []KnownTarget{{Name: "a", Available: true}, {Name: "b", Available: true}},
	}
}

func TestAttempts_Counts(t *testing.T) {
	t.Parallel()
	c, k := NewCollector(), attemptRoute()
	see := func(n int, x window.Exchange) {
		x.At, x.Route, x.Target = noon, "r", "a"
		for range n {
			c.Observe(&x)
		}
	}
	see(50, window.Exchange{Attempts: 1, Wait: time.Second, CostNanoUSD: 1e9})
	see(5, window.Exchange{Attempts: 2, Rescued: true, Wait: time.Second, CostNanoUSD: 1e9})
	see(3, window.Exchange{Attempts: 3, Failed: true, Violation: true})
	see(4, window.Exchange{Attempts: 2, Hedged: true, HedgeWon: true, Wait: time.Second, CostNanoUSD: 2e9, LostNanoUSD: 1e9})
	see(2, window.Exchange{Attempts: 3, Hedged: true, Rescued: true, Wait: time.Second, CostNanoUSD: 2e9, Unpriced: true})
	see(6, window.Exchange{Attempts: 2, Late: true, Rescued: true, Wait: time.Second, CostNanoUSD: 1e9})
	see(1, window.Exchange{Attempts: 2, Late: true, Rescued: true, Wait: 3 * time.Second, Violation: true, CostNanoUSD: 1e9})
	see(100, window.Exchange{Attempts: 2, Hedged: true, Failed: true, Violation: true, Late: true, Arm: uint8(policy.Holdback)}) // obeys other parameters
	see(100, window.Exchange{Attempts: 2, Hedged: true, Failed: true, Violation: true, Late: true, Arm: uint8(policy.Trial)})
	k.Refused = 7 // before it began
	c.Evidence(noon, k)
	k.Refused = 9
	got := c.Evidence(noon.Add(time.Minute), k).Attempts
	got.Deadlines, got.Saved, got.Doubt = nil, 0, 0
	want := Attempts{
		Age: time.Minute, Count: 71, Violations: 4, Cost: 70, Repeated: 17, Rescued: 14, Refused: 2, Late: 7, LateKept: 6, Hedged: 6, Lost: 4,
	}
	if got.Age != want.Age || math.Abs(got.Cost-want.Cost) > 1e-9 || math.Abs(got.Lost-want.Lost) > 1e-9 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got.Cost, got.Lost = want.Cost, want.Lost
	if got.Deadlines == nil && (got.Count != want.Count || got.Violations != want.Violations || got.Repeated != want.Repeated || got.Rescued != want.Rescued ||
		got.Refused != want.Refused || got.Late != want.Late || got.LateKept != want.LateKept || got.Hedged != want.Hedged) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	weights := *k
	weights.InForce.Targets = map[string]policy.Target{"a": {}}
	if got := c.Evidence(noon.Add(2*time.Minute), &weights).Attempts; got.Count != want.Count {
		t.Error("another mix makes it forget")
	}
	k.InForce.HedgeShare = .01
	if got := c.Evidence(noon.Add(3*time.Minute), k).Attempts; got.Count != 0 || got.Age != 0 || got.Refused != 0 {
		t.Errorf("of other parameters: %+v", got)
	}
}

func TestAttempts_Fade(t *testing.T) {
	t.Parallel()
	c, k := NewCollector(), attemptRoute()
	for i := range 4 * attemptMemory {
		c.Observe(&window.Exchange{At: noon, Route: "r", Target: "a", Attempts: 1, Wait: time.Second, Violation: i < attemptMemory})
	}
	a := c.Evidence(noon, k).Attempts
	if a.Count < attemptMemory/2 || a.Count > 2*attemptMemory || a.Violations > .1*a.Count {
		t.Errorf("%.0f exchanges, %.0f violations", a.Count, a.Violations)
	}
}

// A tenth of the answers come ten times as late, and hedges hide some of that: what they have saved is estimated from what they do not hide.
func TestAttempts_WhatHedgesHaveSaved(t *testing.T) {
	t.Parallel()
	const n = 40000
	for _, part := range []float64{.2, .8} { // of the late ones, that are hedged
		draw := rand.New(rand.NewPCG(3, uint64(10*part)))
		c, k := NewCollector(), attemptRoute()
		saved := 0.
		for range n {
			own := .5 * math.Exp(.4*draw.NormFloat64())
			if draw.Float64() < .1 {
				own *= 10
			}
			x := window.Exchange{At: noon, Route: "r", Target: "a", Attempts: 1}
			if second := 1 + .3*math.Exp(.3*draw.NormFloat64()); own > 1 && draw.Float64() < part {
				x.Hedged, x.Attempts = true, 2
				if second < own {
					x.HedgeWon = true
					if own > 2 && second <= 2 {
						saved++
					}
					own = second
				}
			}
			x.Wait = time.Duration(own * float64(time.Second))
			x.Violation = own > 2
			c.Observe(&x)
		}
		a := c.Evidence(noon, k).Attempts
		if scale := n / a.Count; math.Abs(a.Saved*scale-saved) > 4*a.Doubt*scale || a.Doubt > .1*a.Saved {
			t.Errorf("%.0f %% hedged: saved %.0f ± %.0f, in truth %.0f", 100*part, a.Saved*scale, a.Doubt*scale, saved)
		}
	}
}

// All that were late were hedged and won: nobody knows whether it was worth anything.
func TestWaits_NothingIsKnownOfTheRest(t *testing.T) {
	t.Parallel()
	var w waits
	w.kept[waitBin(time.Second/2)], w.won[waitBin(time.Second)] = 1000, 50
	if saved, doubt := w.saved(); saved != 25 || doubt < 20 {
		t.Errorf("saved %v ± %v", saved, doubt)
	}
	if saved, doubt := new(waits).saved(); saved != 0 || doubt != 0 {
		t.Errorf("of nothing: %v ± %v", saved, doubt)
	}
}

// A hundredth of the answers hang for twenty seconds: bounds before the objective would have kept it, those after it would not, and none cuts usual ones.
func TestAttempts_OtherDeadlines(t *testing.T) {
	t.Parallel()
	c, k := NewCollector(), attemptRoute()
	k.InForce.FirstByteFactor = 0
	draw := rand.New(rand.NewPCG(5, 1))
	const n = 20000
	hung := 0.
	for i := range n {
		own := .3 * math.Exp(.3*draw.NormFloat64())
		if i%125 == 0 {
			own = 20
			hung++
		}
		c.Observe(&window.Exchange{At: noon, Route: "r", Target: "a", Attempts: 1, Wait: time.Duration(own * float64(time.Second)), Violation: own > 2})
	}
	a := c.Evidence(noon, k).Attempts
	if len(a.Deadlines) != len(deadlineFactors) || math.Abs(a.Hedgeable-hung) > 2 {
		t.Fatalf("%+v", a)
	}
	for _, d := range a.Deadlines {
		want := 0.
		if d.Factor <= 2 { // a second and a half at most, and then usual answers
			want = -hung
		}
		if math.Abs(d.Late-hung) > 30 || math.Abs(d.Violations-want) > 6 && (d.Factor <= 2 || d.Factor > 3) || d.Most > .002 {
			t.Errorf("%+v, want %v violations of %v late", d, want, hung)
		}
	}
	k.InForce.FirstByteFactor = 3
	c.Evidence(noon, k)
	c.Observe(&window.Exchange{At: noon, Route: "r", Target: "a", Attempts: 1, Wait: time.Second})
	if got := c.Evidence(noon, k).Attempts.Deadlines; len(got) != 3 || got[0].Late != 0 {
		t.Errorf("only earlier ones are known: %+v", got)
	}
	k.Objective.TTFT = 0
	if got := c.Evidence(noon, k).Attempts.Deadlines; got != nil {
		t.Errorf("without objective: %+v", got)
	}
}

func TestWaitBin(t *testing.T) {
	t.Parallel()
	before := 0
	for d := time.Millisecond; d < time.Hour; d += d / 50 {
		b := waitBin(d)
		if b < before || b < waitBins-1 && waitEnd(b) < d || b > 0 && b < waitBins-1 && waitEnd(b-1) >= d+1 {
			t.Errorf("%v in bin %d, up to %v", d, b, waitEnd(b))
		}
		before = b
	}
	if before != waitBins-1 || waitBin(0) != 0 || waitBin(-1) != 0 || waitBin(math.MaxInt64) != waitBins-1 {
		t.Error("ends")
	}
}

// A tuner is one file behind one interface: the loop, the guard and the decisions take this one as they take any other, and none holds another up.
func TestLoop_TakesAnyTuner(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.in.HedgeShare, s.static.HedgeShare = .03, .03
	s.propose = towards(.98)
	eager := DefaultTimeouts
	eager.MinAge, eager.MinCount = 0, 100
	plant := objectivePlant{s}
	l := New(plant, Settings{Bounds: DefaultBounds, Modes: map[string]Mode{"stand": Auto, "timeouts": Auto}}, s, eager)
	var told []string
	for i := range 10 {
		now := noon.Add(time.Duration(i) * 30 * time.Second)
		for j := range 400 { // a tenth is hedged, which saves nothing
			x := window.Exchange{At: now, Route: "r", Target: "a", Attempts: 1, Wait: time.Second / 2, CostNanoUSD: 1e6, Output: 10}
			if j%10 == 0 {
				x.Hedged, x.Attempts, x.CostNanoUSD, x.LostNanoUSD = true, 2, 2e6, 1e6
			}
			l.Observe(&x)
		}
		for _, d := range l.Step(now) {
			if d.Verdict == Applied {
				told = append(told, d.Tuner+": "+d.String())
			}
		}
		if len(told) < 2 {
			t.Fatalf("one waits for the other: %q", told)
		}
	}
	all := strings.Join(told, "\n")
	if s.in.HedgeShare >= .03 || s.in.HedgeShare < DefaultTimeouts.HedgeShare.Low || s.weight("a") < 1.9 {
		t.Errorf("hedges %v, a has %v of 2\n%s", s.in.HedgeShare, s.weight("a"), all)
	}
	if strings.Count(all, "stand: ") != 1 || !strings.Contains(all, "timeouts: ") || !strings.Contains(all, "r now hedges up to") {
		t.Errorf("told\n%s", all)
	}
}

// objectivePlant is a stand whose route has an objective.
type objectivePlant struct{ *stand }

func (p objectivePlant) Known(now time.Time) []Known {
	k := p.stand.Known(now)
	k[0].Objective = Objective{TTFT: 2 * time.Second, Violations: .01}
	return k
}
