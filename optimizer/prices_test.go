package optimizer

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// Prices are found in what exchanges of many shapes cost, and follow a change within some hundred of them.
func TestPrices_AreFound(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	var p priceSums
	feed := func(n int, in, out float64) {
		for range n {
			i, o := 1000*math.Exp(draw.NormFloat64()), 200*math.Exp(draw.NormFloat64())
			p.add(1-1./costMemory, i, o, i*in+o*out)
		}
	}
	check := func(what string, in, out, tolerance float64) {
		t.Helper()
		gotIn, gotOut := p.of()
		if math.Abs(gotIn-in) > tolerance*in || math.Abs(gotOut-out) > tolerance*out {
			t.Errorf("%s: %g and %g, want %g and %g", what, gotIn, gotOut, in, out)
		}
	}
	feed(20, 1e-6, 8e-6)
	check("after twenty", 1e-6, 8e-6, 1e-6)
	feed(500, 2e-6, 6e-6)
	check("after a change", 2e-6, 6e-6, .02)
}

func TestPrices_AreNotGuessed(t *testing.T) {
	t.Parallel()
	check := func(what string, feed func(p *priceSums)) {
		t.Helper()
		var p priceSums
		feed(&p)
		if in, out := p.of(); in != 0 || out != 0 {
			t.Errorf("%s: %g and %g, want none", what, in, out)
		}
	}
	check("nothing", func(*priceSums) {})
	check("one shape", func(p *priceSums) {
		for range 50 {
			p.add(1, 1000, 100, 1)
		}
	})
	check("negative", func(p *priceSums) {
		p.add(1, 1000, 100, 1)
		p.add(1, 100, 1000, .1)
		p.add(1, 10, 1000, 0)
	})
	check("poison", func(p *priceSums) {
		p.add(1, 1000, 100, math.NaN())
		p.add(1, 100, 1000, math.Inf(1))
	})
}

// What other targets charged for a repetition does not count as a target's price.
func TestCollector_LeavesRepetitionsOutOfPrices(t *testing.T) {
	t.Parallel()
	c := NewCollector()
	at := time.Unix(1000, 0)
	observe := func(i int, attempts uint8, cost float64) {
		c.Observe(&window.Exchange{
			At: at.Add(time.Duration(i) * time.Second), Route: "r", Target: "a", Attempts: attempts, Input: int64(500 + 100*i), Output: 100, CostNanoUSD: int64(cost * 1e9),
		})
	}
	for i := range 20 {
		observe(i, 1, float64(500+100*i)*1e-6+100*5e-6)
	}
	observe(20, 2, 1)
	e := c.Evidence(at.Add(time.Minute), &Known{Name: "r", Targets: []KnownTarget{{Name: "a", Available: true}}})
	if k := e.Targets[0].Cells[0]; math.Abs(k.In-1e-6) > 1e-9 || math.Abs(k.Out-5e-6) > 1e-8 || k.Unit < 1e-5 {
		t.Errorf("%g, %g, want a dollar and five per million; %g a token with the repetition", k.In, k.Out, k.Unit)
	}
}
