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
