package optimizer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// traffic are exchanges of sessions as tests want them. Heavy ones are three times as large and come from every fourth session; those outside of the hold-back
// cost the given part.
type traffic struct {
	seed            uint64
	sessions        int
	turns           int     // mean exchanges of a session
	hold            float64 // share of the hold-back
	part            float64 // of the cost, outside of the hold-back
	bad             [sides]float64
	spread          float64 // of the logarithm of what a session's exchanges have in common
	known           bool    // sizes are known before
	heavyIsMoreOnly bool    // the saving is with heavy ones only
}

func (f traffic) each(yield func(x *window.Exchange)) {
	draw := rand.New(rand.NewPCG(f.seed, 9))
	for range f.sessions {
		x := window.Exchange{Route: "chat", Target: "a", Session: draw.Uint64()}
		if draw.Float64() < f.hold {
			x.Arm = uint8(policy.Holdback)
		}
		large := 1.
		if draw.IntN(4) == 0 {
			x.Class, large = 2, 3
		}
		common := f.spread * draw.NormFloat64()
		start := time.Duration(draw.Float64() * float64(24*time.Hour))
		trouble := draw.Float64()
		for range 1 + int(draw.ExpFloat64()*float64(f.turns-1)+.5) {
			y := x
			start += time.Duration(draw.ExpFloat64() * float64(20*time.Second))
			y.At = noon.Add(start)
			input := 1000 * large * math.Exp(common+.7*draw.NormFloat64())
			cost := input*.5e-6 + large*2e-4*math.Exp(common+.5*draw.NormFloat64())
			side := treated
			if y.Arm == uint8(policy.Holdback) {
				side = holdback
			} else if !f.heavyIsMoreOnly || y.Class == 2 {
				cost *= f.part
			}
			if f.known {
				y.Expected = int64(input)
			}
			y.Violation = (trouble+draw.Float64())/2 < f.bad[side]
			y.CostNanoUSD, y.Wait = int64(cost*1e9), time.Duration(3e8*math.Exp(.4*draw.NormFloat64()))
			yield(&y)
		}
	}
}

func proofOf(f traffic) *Proof {
	p := NewProof()
	f.each(p.Observe)
	return p
}

// covers tells whether the share of hits is within bounds.
func covers(t *testing.T, what string, hits, n int, low, high float64) {
	t.Helper()
	share := float64(hits) / float64(n)
	t.Logf("%s: %d of %d, %.1f %%", what, hits, n, 100*share)
	if share < low || share > high {
		t.Errorf("%s: %.3f of %d, want %.3f to %.3f", what, share, n, low, high)
	}
}

// Over many repetitions the interval of what was saved holds the truth as often as it says, though sessions are clusters of very different cost and size, with and
// without knowledge of sizes, and also where classes gain differently.
func TestProof_IntervalsCoverTheTruth(t *testing.T) {
	t.Parallel()
	runs := 100
	low, high := .88, .995
	if on, _ := strconv.ParseBool(os.Getenv("CALIBRATION")); on {
		runs, low, high = 1000, .915, .975
	}
	check := func(what string, f traffic, most float64) {
		t.Helper()
		hits, violations, width, noise := 0, 0, 0., 0.
		for i := range runs {
			f.seed = uint64(i) + 1
			p := NewProof()
			truth := 0.
			f.each(func(x *window.Exchange) {
				if x.Arm != uint8(policy.Holdback) && (!f.heavyIsMoreOnly || x.Class == 2) {
					truth += float64(x.CostNanoUSD) / 1e9 * (1/f.part - 1)
				}
				p.Observe(x)
			})
			r := p.Savings(noon, time.Time{}).Routes[0]
			if r.Missing != "" {
				t.Fatalf("%s: %s", what, r.Missing)
			}
			if !r.Saved.Excludes(truth) {
				hits++
			}
			if p := func(bad float64) float64 { return 2 * bad * bad }; !r.Violations.Excludes(p(f.bad[treated]) - p(f.bad[holdback])) {
				violations++
			}
			width += (r.Saved.High - r.Saved.Low) / 2 / truth / float64(runs)
			noise += r.Saved.Value / truth / float64(runs)
		}
		covers(t, what, hits, runs, low, high)
		covers(t, what+", violations", violations, runs, low, high)
		t.Logf("%s: mean estimate %.3f of the truth ± %.3f", what, noise, width)
		if math.Abs(noise-1) > .1 || width > most {
			t.Errorf("%s: estimates are %.3f of the truth in the mean, ± %.3f; want ± %.3f", what, noise, width, most)
		}
	}
	f := traffic{sessions: 3000, turns: 1, hold: .1, part: .6, spread: .3, bad: [sides]float64{.2, .3}}
	check("single exchanges", f, .25)
	f.known = true
	check("of known size", f, .17)
	f.turns, f.sessions, f.spread = 6, 1500, .5
	check("sessions", f, .3)
	f.heavyIsMoreOnly = true
	check("heavy ones gain", f, .6)
}

func TestProof_NotYetMeasurable(t *testing.T) {
	t.Parallel()
	check := func(f traffic, want string) {
		t.Helper()
		s := proofOf(f).Savings(noon, time.Time{})
		if r := s.Routes[0]; !strings.Contains(r.Verdict(), want) || r.Saved != (Estimate{}) || s.Saved.Known || r.Sure {
			t.Errorf("%q with %+v, want %q", r.Verdict(), r.Saved, want)
		}
	}
	check(traffic{seed: 1, sessions: 500, turns: 1, part: .5}, "not yet measurable: 0 exchanges in the hold-back, 50 are the least")
	check(traffic{seed: 1, sessions: 100, turns: 100, hold: .1, part: .5}, "are of too few sessions")
	check(traffic{seed: 1, sessions: 500, turns: 1, hold: 1, part: .5}, "0 exchanges outside of the hold-back")
	if s := NewProof().Savings(noon, time.Time{}); len(s.Routes) > 0 || s.Saved.Known || s.Text() != "no route has had an exchange yet\n" {
		t.Errorf("%+v", s)
	}
	p := NewProof()
	traffic{seed: 1, sessions: 500, turns: 1, hold: .5, part: .5}.each(func(x *window.Exchange) {
		x.Unpriced = true
		p.Observe(x)
	})
	if r := p.Savings(noon, time.Time{}).Routes[0]; r.Saved.Known || !r.Wait.Known || r.Optimized.Unpriced != r.Optimized.Exchanges || r.Verdict() != "not measurable: no exchange has a price" {
		t.Errorf("without prices: %q, %+v", r.Verdict(), r)
	}
}

// Times of day with more hold-back, or an incident, are no saving: both sides are compared as they are at the same time.
func TestProof_ClassesAreComparedOneByOne(t *testing.T) {
	t.Parallel()
	p := NewProof()
	draw := rand.New(rand.NewPCG(1, 1))
	for range 40000 { // the hold-back has fewer heavy ones by far, and nothing is saved
		x := window.Exchange{At: noon, Route: "chat", Session: draw.Uint64(), CostNanoUSD: 1e6}
		if draw.IntN(10) == 0 {
			x.Arm = uint8(policy.Holdback)
		}
		if limit := []int{1, 4}[x.Arm%2]; draw.IntN(5) >= limit {
			x.Class, x.CostNanoUSD = 2, 1e7
		}
		x.CostNanoUSD += draw.Int64N(1e6)
		p.Observe(&x)
	}
	r := p.Savings(noon, time.Time{}).Routes[0]
	if raw := r.Holdback.Cost/r.Optimized.Cost - 1; math.Abs(raw) < .3 || r.Saved.Excludes(0) || r.Part.High-r.Part.Low > .02 {
		t.Errorf("saved %+v, a part of %+v, where the means differ by %.2f", r.Saved, r.Part, raw)
	}
}

func TestProof_Epochs(t *testing.T) {
	t.Parallel()
	f := traffic{seed: 3, sessions: 4000, turns: 2, hold: .2, part: .5}
	p := proofOf(f)
	before := p.Savings(noon, time.Time{})
	p.Reset("chat", noon.Add(30*time.Hour), "the weights were edited")
	empty := p.Savings(noon, time.Time{})
	if r := empty.Routes[0]; r.Missing == "" || len(r.Earlier) != 1 || r.Earlier[0].Saved != before.Routes[0].Saved || empty.Saved != before.Saved {
		t.Errorf("after a reset: %+v", r)
	}
	f.seed = 4
	f.each(p.Observe)
	both := p.Savings(noon, time.Time{})
	want := before.Saved.Value + both.Routes[0].Saved.Value
	if math.Abs(both.Saved.Value-want) > 1e-9 || both.Saved.Error <= both.Routes[0].Saved.Error || both.Saved.Error > 1.8*both.Routes[0].Saved.Error {
		t.Errorf("%+v, then %+v, together %+v", before.Saved, both.Routes[0].Saved, both.Saved)
	}
	for range 3 * mostEpochs {
		p.Reset("chat", noon, "again")
		f.each(p.Observe)
	}
	if r := p.Savings(noon, time.Time{}).Routes[0]; len(r.Earlier) != mostEpochs {
		t.Errorf("%d epochs", len(r.Earlier))
	}
	p.Forget("chat")
	if s := p.Savings(noon, time.Time{}); len(s.Routes) > 0 {
		t.Errorf("%+v", s)
	}
}

// However long it runs and however many routes there are, memory is bounded and nothing gets lost.
func TestProof_IsBounded(t *testing.T) {
	t.Parallel()
	p := NewProof()
	const days = 60
	for i := range days * 24 * 4 {
		at := noon.Add(time.Duration(i) * 15 * time.Minute)
		p.Observe(&window.Exchange{At: at, Route: "chat", Session: uint64(i + 1), Arm: uint8(i % 2), CostNanoUSD: 1000})
		if i%10 == 0 {
			p.Mark("chat", string(rune('a'+i%26)), at)
		}
	}
	r := p.routes["chat"]
	all := r.since(time.Time{})
	if n := all.total(treated).n + all.total(holdback).n; len(r.spans) > mostSpans || n != days*24*4 || !all.from.Equal(noon) {
		t.Errorf("%d spans, %d exchanges from %v", len(r.spans), n, all.from)
	}
	day := noon.Add((days - 1) * 24 * time.Hour)
	if s := r.since(day); s.from.Before(day.Add(-24*time.Hour)) || s.total(treated).n < 40 {
		t.Errorf("the last day begins at %v", s.from)
	}
	for i := range 3 * proofRoutes {
		p.Observe(&window.Exchange{At: noon, Route: strings.Repeat("x", i+1)})
	}
	if s := p.Savings(noon, time.Time{}); len(s.Routes) != proofRoutes {
		t.Errorf("%d routes", len(s.Routes))
	}
}

func TestProof_Text(t *testing.T) {
	t.Parallel()
	p := proofOf(traffic{seed: 1, sessions: 8000, turns: 3, hold: .05, part: .7, bad: [sides]float64{.1, .1}, spread: .3, known: true})
	s := p.Savings(noon.Add(25*time.Hour), time.Time{})
	text := s.Text()
	t.Log("\n" + text)
	for _, want := range []string{"chat: saved $", "of what it would have cost", "optimized", "hold-back", "violations", "$ per 1,000", "all routes: saved $", "wait, typical"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	stored, err := json.Marshal(s)
	var back Savings
	if err != nil || json.Unmarshal(stored, &back) != nil || back.Text() != text {
		t.Errorf("as JSON: %v, %s", err, stored)
	}
	r := s.Routes[0]
	if math.Abs(r.Part.Value-.3) > .05 || r.Part.Excludes(.3) || !r.Sure || r.Harm.Harmful {
		t.Errorf("part %+v, sure %v, harm %+v", r.Part, r.Sure, r.Harm)
	}
	check := func(e Estimate, want string) {
		t.Helper()
		if got := worth(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(Estimate{true, 12.4, 11.3, 13.5, .5}, "saved $12.40 ± 1.10")
	check(Estimate{true, -.0124, -.0224, -.0024, .005}, "lost $0.0124 ± 0.0100")
	check(Estimate{true, -1, -3, 1, 1}, "nothing that stands out from chance, $-1.00 ± 2.00")
}

func BenchmarkProof_Observe(b *testing.B) {
	var list []window.Exchange
	traffic{seed: 1, sessions: 2000, turns: 4, hold: .02, part: .7, known: true}.each(func(x *window.Exchange) { list = append(list, *x) })
	p := NewProof()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Observe(&list[i%len(list)])
	}
}
