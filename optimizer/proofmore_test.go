package optimizer

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// Without harm the verdict is ever given in one route of twenty at most, though sessions have bad luck as a whole, and somebody looks all the time; with harm
// it is given soon.
func TestProof_Harm(t *testing.T) {
	t.Parallel()
	fired := func(runs int, f traffic) (share, exchanges float64) {
		for i := range runs {
			f.seed = uint64(i) + 1
			p, n, at := NewProof(), 0, 0
			var list []*window.Exchange
			f.each(func(x *window.Exchange) { list = append(list, x) })
			slices.SortFunc(list, func(a, b *window.Exchange) int { return a.At.Compare(b.At) })
			for _, x := range list {
				p.Observe(x)
				if n++; at == 0 && n%200 == 0 && p.Harm("chat", x.At).Harmful {
					at = n
				}
			}
			if at > 0 {
				share += 1 / float64(runs)
				exchanges += float64(at)
			}
		}
		return share, exchanges / max(share*float64(runs), 1)
	}
	f := traffic{sessions: 2500, turns: 5, hold: .05, part: .8, bad: [sides]float64{.15, .15}}
	if share, _ := fired(60, f); share > .05 {
		t.Errorf("fired in %.3f of the runs without harm", share)
	}
	f.bad[treated] = .05
	if share, _ := fired(20, f); share > 0 {
		t.Errorf("fired in %.3f of the runs with fewer violations", share)
	}
	f.bad = [sides]float64{treated: .5, holdback: .1}
	share, n := fired(20, f)
	t.Logf("much harm: seen in %.2f of the runs after %.0f exchanges", share, n)
	if share < .95 || n > 10000 {
		t.Errorf("seen in %.3f of the runs after %.0f exchanges", share, n)
	}
}

func TestProof_HarmOfAnyKind(t *testing.T) {
	t.Parallel()
	p := NewProof()
	if h := p.Harm("chat", noon); h.Harmful || h.EValue != 1 {
		t.Errorf("of no exchange: %+v", h)
	}
	draw := rand.New(rand.NewPCG(1, 1))
	for range 20000 { // failures that have been rare among many violations
		x := window.Exchange{At: noon, Route: "chat", Violation: draw.IntN(10) == 0}
		if draw.IntN(10) == 0 {
			x.Arm = uint8(policy.Holdback)
		} else if draw.IntN(30) == 0 {
			x.Failed, x.Violation = true, true
		}
		p.Observe(&x)
	}
	h := p.Harm("chat", noon)
	if !h.Harmful || h.EValue < HarmLimit || !strings.HasPrefix(h.Reason.Effect, "failures 0 % -> ") || !h.Reason.Fired() {
		t.Errorf("%+v", h)
	}
	if text := p.Savings(noon, time.Time{}).Text(); !strings.Contains(text, "it does harm: harm e-process: log e-value") {
		t.Error(text)
	}
	if p.Reset("chat", noon, "edited"); p.Harm("chat", noon).Harmful {
		t.Error("harm outlives the epoch")
	}
}

// What a decision has changed is what comes after it, less what the one before had changed already.
func TestProof_Effect(t *testing.T) {
	t.Parallel()
	p := NewProof()
	draw := rand.New(rand.NewPCG(1, 2))
	at := noon
	phase := func(decision string, part, bad float64, n int) {
		p.Mark("chat", decision, at)
		for range n {
			at = at.Add(time.Second)
			x := window.Exchange{At: at, Route: "chat", Session: draw.Uint64(), CostNanoUSD: int64(1e6 * math.Exp(.3*draw.NormFloat64())), Wait: time.Second, Violation: draw.Float64() < .1}
			if draw.IntN(10) == 0 {
				x.Arm = uint8(policy.Holdback)
			} else {
				x.CostNanoUSD, x.Violation = int64(part*float64(x.CostNanoUSD)), draw.Float64() < bad
			}
			p.Observe(&x)
		}
	}
	phase("", 1, .1, 5000)
	phase("one", .6, .1, 20000)
	phase("two", .45, .02, 20000)
	phase("three", .45, .02, 100)
	check := func(decision string, relative, violations float64) {
		t.Helper()
		m := p.Effect("chat", decision)
		if m.Missing != "" || m.Relative.Excludes(relative) || m.Relative.Error > .03 || m.Violations.Excludes(violations) || m.Violations.Error > .015 || m.Wait.Value != 0 {
			t.Errorf("%s: %+v", decision, m)
		}
		text := m.Against(Effect{Relative: relative, Violations: violations})
		t.Log(text)
		if !strings.Contains(text, "; measured cost −") {
			t.Error(text)
		}
	}
	check("one", -.4, 0)
	check("two", -.25, -.08)
	none := func(decision, want string) {
		t.Helper()
		if m := p.Effect("chat", decision); !strings.Contains(m.Missing, want) || m.Cost.Known || !strings.Contains(m.Against(Effect{}), "not enough data yet: ") {
			t.Errorf("%s: %+v, want %q", decision, m, want)
		}
	}
	none("three", "exchanges in the hold-back, 50 are the least")
	none("never", "not known")
	none("", "not known")
	phase("four", .45, .02, 2000)
	none("four", "before the decision, ")
	if m := p.Effect("chat", "one"); m.Treated+m.Holdback != 20000 {
		t.Errorf("one: %d and %d exchanges", m.Treated, m.Holdback)
	}
}

func TestProof_IsStored(t *testing.T) {
	t.Parallel()
	p := proofOf(traffic{seed: 5, sessions: 3000, turns: 3, hold: .1, part: .5, bad: [sides]float64{.2, .1}, known: true})
	p.Reset("chat", noon, "edited")
	p.Mark("chat", "one", noon)
	f := traffic{seed: 6, sessions: 3000, turns: 3, hold: .1, part: .5, bad: [sides]float64{.2, .1}, known: true}
	half := NewProof()
	n := 0
	f.each(func(x *window.Exchange) {
		p.Observe(x)
		half.Observe(x)
		if n++; n == 4000 { // stored and brought back in the middle
			half = again(t, half)
		}
	})
	q := again(t, p)
	if a, b := p.Savings(noon, time.Time{}).Text(), q.Savings(noon, time.Time{}).Text(); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	if a, b := p.Effect("chat", "one"), q.Effect("chat", "one"); a != b {
		t.Errorf("%+v\n%+v", a, b)
	}
	plain := proofOf(f)
	a, errA := plain.MarshalBinary()
	b, errB := half.MarshalBinary()
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Error("what was stored in between goes on in another way")
	}
	t.Logf("%d bytes", len(a))
}

func again(t *testing.T, p *Proof) *Proof {
	t.Helper()
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	q := NewProof()
	if err := q.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return q
}

func TestProof_RefusesBytesOfOthers(t *testing.T) {
	t.Parallel()
	p := proofOf(traffic{seed: 5, sessions: 100, turns: 3, hold: .1, part: .5})
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	q := proofOf(traffic{seed: 6, sessions: 10, turns: 3, hold: .1, part: .5})
	before, _ := q.MarshalBinary()
	for n := range len(b) {
		if q.UnmarshalBinary(b[:n]) == nil {
			t.Fatalf("%d of %d bytes are accepted", n, len(b))
		}
	}
	if q.UnmarshalBinary(append(bytes.Clone(b), 0)) == nil || q.UnmarshalBinary(append([]byte{proofFormat + 1}, b[1:]...)) == nil {
		t.Error("a byte too many, or another format, is accepted")
	}
	if after, _ := q.MarshalBinary(); !bytes.Equal(before, after) {
		t.Error("an error has changed it")
	}
}

// Whatever is accepted is stored as the same bytes again, and everything can be asked of it.
func FuzzProof_UnmarshalBinary(f *testing.F) {
	for _, n := range []int{0, 3, 100} {
		p := proofOf(traffic{seed: 1, sessions: n, turns: 3, hold: .4, part: .5})
		p.Reset("chat", noon, "edited")
		p.Mark("chat", "one", noon)
		traffic{seed: 2, sessions: n, turns: 3, hold: .4, part: .5}.each(p.Observe)
		b, err := p.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := NewProof()
		if p.UnmarshalBinary(b) != nil {
			return
		}
		if b[0] == proofFormerly { // it is stored in the new one
			b, _ = p.MarshalBinary()
			if err := p.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := p.MarshalBinary(); err != nil || !bytes.Equal(b, c) {
			t.Fatalf("%v: stored anew it is %d bytes, was %d", err, len(c), len(b))
		}
		s := p.Savings(noon, time.Time{})
		for _, r := range s.Routes {
			if e := r.Saved; e.Known && (!finite(e.Value) || !(e.Low <= e.Value && e.Value <= e.High)) {
				t.Fatalf("%+v", r)
			}
			p.Effect(r.Route, "one")
		}
		_ = s.Text()
		p.Observe(&window.Exchange{At: noon, Route: "chat", Session: 7})
	})
}

func TestEstimate(t *testing.T) {
	t.Parallel()
	near := func(what string, got, want Estimate) {
		t.Helper()
		for _, d := range []float64{got.Value - want.Value, got.Low - want.Low, got.High - want.High, got.Error - want.Error} {
			if got.Known != want.Known || !(math.Abs(d) < 1e-9) {
				t.Errorf("%s: %+v, want %+v", what, got, want)
				return
			}
		}
	}
	e := Estimate{true, 10, 7, 14, 1.5}
	near("twice", e.times(2), Estimate{true, 20, 14, 28, 3})
	near("the other way round", e.times(-1), Estimate{true, -10, -14, -7, 1.5})
	near("a sum", e.plus(Estimate{true, 1, -3, 4, 2}), Estimate{true, 11, 6, 16, 2.5})
	near("with what is not known", e.plus(Estimate{}), e)
	near("the same", Estimate{}.plus(e), e)
	near("a difference from what is not known", less(e, Estimate{}), Estimate{})
	near("of no number", estimateOf(math.NaN(), 1), Estimate{})
	near("of no variance", estimateOf(1, math.Inf(1)), Estimate{})
	near("as a part", part(Estimate{true, -1, -3, 1, 1}, 3), Estimate{true, -.25, -.5, .5, 1 / student / 2})
	near("as a part of nothing", part(Estimate{true, 3, 1, 5, 1}, 3), Estimate{})
	skewed := estimateOf(-1, .04).against(1) // 2 inside, 1 outside
	if a, b := 1-skewed.Low, 1-skewed.High; math.Abs(a*b-4) > 1e-9 || math.Abs(math.Log(a/2)-student*.1) > 1e-9 {
		t.Errorf("from %v to %v, want 2 in the middle of the logarithms", b, a)
	}
	near("of a mean that is none", estimateOf(2, 1).against(1), estimateOf(2, 1))
	if !e.Excludes(6.9) || e.Excludes(7) || e.Excludes(14) || !e.Excludes(14.1) || (Estimate{}).Excludes(1) {
		t.Error("Excludes")
	}
}
