package optimizer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// Milliseconds that nobody notices are no change, however many times as long they take.
func TestWatch_SmallTimes(t *testing.T) {
	t.Parallel()
	w, draw := newWatch(), rand.New(rand.NewPCG(3, 3))
	serve := func(n int, usual time.Duration) (found int) {
		for range n {
			found += len(w.observe(&window.Exchange{At: noon, Input: 100, Wait: time.Duration(float64(usual) * math.Exp(.3*draw.NormFloat64()))}, 0))
		}
		return found
	}
	if serve(1000, time.Millisecond); serve(300, 4*time.Millisecond) > 0 {
		t.Error("three milliseconds are told")
	}
	if serve(1000, 4*time.Millisecond); serve(300, 400*time.Millisecond) == 0 {
		t.Error("a third of a second is not")
	}
}

// A target that becomes slower or dearer is noticed within some dozens of exchanges, and what was known of it is forgotten; one that is as ever is not.
func TestCollector_NoticesChanges(t *testing.T) {
	t.Parallel()
	check := func(name string, slower, dearer float64, want string) {
		t.Helper()
		c := NewCollector()
		draw := rand.New(rand.NewPCG(7, 7))
		now := noon
		serve := func(n int, slower, dearer float64) (after int) {
			for i := range n {
				now = now.Add(200 * time.Millisecond)
				input, output := int64(200+draw.IntN(3000)), int64(20+draw.IntN(400))
				x := window.Exchange{
					At: now, Route: "r", Target: "a", Attempts: 1, Input: input, Output: output,
					Wait:        time.Duration(slower * math.Exp(.4*draw.NormFloat64()) * (.2 + float64(input)/10_000) * float64(time.Second)),
					CostNanoUSD: int64(dearer * float64(input+4*output) * 1000),
				}
				if c.Observe(&x); c.Alarmed() && after == 0 {
					after = i + 1
				}
			}
			return after
		}
		if n := serve(3000, 1, 1); n > 0 {
			t.Errorf("%s: a false alarm after %d exchanges", name, n)
		}
		after := serve(200, slower, dearer)
		found := c.Changed()
		if want == "" {
			if after > 0 {
				t.Errorf("%s: %v after %d exchanges", name, found, after)
			}
			return
		}
		if after == 0 || after > 60 || !strings.HasPrefix(found[0].String(), want) {
			t.Errorf("%s: %v after %d exchanges, want %q", name, found, after, want)
		}
		if e := c.Evidence(now, &Known{Name: "r", Targets: []KnownTarget{{Name: "a", Available: true}}}); e.Targets[0].Regime == nil {
			t.Errorf("%s: not in the evidence", name)
		} else if _, err := json.Marshal(e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("as ever", 1, 1, "")
	check("twice as slow", 2, 1, "time to first token rose to 2")
	check("faster", .4, 1, "time to first token fell to 0.")
	check("dearer", 1, 1.3, "cost rose to 1.3 times")
	check("cheaper", 1, .5, "cost fell to 0.5")
	check("a little dearer", 1, 1.01, "")
}

func BenchmarkCollector_Observe(b *testing.B) {
	c := NewCollector()
	draw := rand.New(rand.NewPCG(1, 1))
	x := window.Exchange{Route: "r", Target: "a", Attempts: 1}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.At = noon.Add(time.Duration(i) * time.Millisecond)
		x.Input, x.Output, x.Wait = int64(100+draw.IntN(1000)), int64(10+draw.IntN(100)), time.Duration(draw.IntN(1e9))
		x.CostNanoUSD = 1000 * (x.Input + 4*x.Output)
		c.Observe(&x)
	}
}

// A price that is stated to have changed has not to be inferred: what exchanges have cost before is forgotten at once, and the change is told once.
func TestCollector_StatedPrice(t *testing.T) {
	t.Parallel()
	c := NewCollector()
	known := func(in, out float64) *Known {
		return &Known{Name: "r", Targets: []KnownTarget{{Name: "a", Available: true, Price: Price{in, out}}}}
	}
	exchanges := func(n int, in, out float64) {
		for i := range n {
			input, output := int64(100+i%7*40), int64(60+i%5*20)
			c.Observe(&window.Exchange{
				At: noon.Add(time.Duration(i) * time.Second / 10), Route: "r", Target: "a", Attempts: 1, Input: input, Output: output,
				CostNanoUSD: int64(1e9 * (in*float64(input) + out*float64(output))),
			})
		}
	}
	now := noon.Add(10 * time.Second)
	exchanges(100, 3e-7, 12e-7)
	c.Evidence(now, known(3e-7, 12e-7))
	if got := c.Changed(); len(got) > 0 {
		t.Errorf("a first price is no change: %v", got)
	}
	e := c.Evidence(now, known(15e-7, 60e-7))
	got := c.Changed()
	if len(got) != 1 || got[0].String() != "stated price rose to 5 times" {
		t.Fatalf("changes: %v", got)
	}
	if _, known := e.Cost(0, 0); known {
		t.Error("what it cost before is still believed")
	}
	exchanges(5, 15e-7, 60e-7)
	e = c.Evidence(now, known(15e-7, 60e-7))
	if cost, known := e.Cost(0, 0); !known || math.Abs(cost/(15e-7*e.Classes[0].Input+60e-7*e.Classes[0].Output)-1) > .01 {
		t.Errorf("five exchanges later it costs %v, %t", cost, known)
	}
	if c.Evidence(now, known(0, 0)); len(c.Changed()) > 0 {
		t.Error("a price that is not stated any more is a change")
	}
}
