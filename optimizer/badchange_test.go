package optimizer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// fivePoints are a target that fails five points more often than the other.
var fivePoints = outcomes{.06, .01, 1, 1}

// badChange has nearly all traffic at a good target, and a change on trial that moves nearly all to one that fails more often. It returns how long it took to
// roll that back, and the part of all exchanges meanwhile that obeyed the change and failed.
func badChange(tb testing.TB, seed uint64, rate float64, turns int) (took time.Duration, harmed float64, s *stand, l *Loop, now time.Time) {
	tb.Helper()
	s = newStand()
	s.turns = turns
	for name, w := range map[string]float64{"a": .02, "b": 1.98} {
		s.in.Targets[name] = policy.Target{Weights: [classes]float64{w, w, w}}
	}
	s.propose = towards(.99)
	l = s.loop(Canary)
	now = noon
	draw := rand.New(rand.NewPCG(seed, 2))
	for s.canary == nil {
		s.play(l, &now, 10*time.Second, rate, draw, outcomes{.01, .01, 1, 1})
	}
	began, steps := now, 0.
	for ; s.canary != nil; steps++ {
		_, h := s.play(l, &now, 10*time.Second, rate, draw, fivePoints)
		if harmed += h; now.Sub(began) > DefaultTrials.Longest {
			tb.Fatalf("seed %d: not rolled back in a day", seed)
		}
	}
	return now.Sub(began), harmed / steps, s, l, now
}

// A change that adds five points of failures is rolled back within a minute at 300 exchanges a second, having harmed next to nobody, and not tried again at once.
func TestTrial_BadChangeIsRolledBack(t *testing.T) {
	t.Parallel()
	const runs = 40
	var took []time.Duration
	for seed := range uint64(runs) {
		d, harmed, s, l, now := badChange(t, seed, 300, 0)
		took = append(took, d)
		if s.weight("a") != .02 {
			t.Errorf("seed %d: the change is in force", seed)
		}
		if harmed > .005 {
			t.Errorf("seed %d: %.2f %% of the exchanges were harmed", seed, 100*harmed)
		}
		after, _ := s.play(l, &now, 10*time.Minute, 10, rand.New(rand.NewPCG(seed, 3)), fivePoints)
		for i := range after {
			if after[i].Verdict == Trying {
				t.Errorf("seed %d: tried again at once", seed)
			}
		}
	}
	slices.Sort(took)
	if took[runs*9/10-1] > time.Minute {
		t.Errorf("rolled back after %v", took)
	}
}

// BenchmarkTrial_BadChange reports how long it takes to roll back a change that adds five points of failures, by traffic: the first stage has 1 % of it.
func BenchmarkTrial_BadChange(b *testing.B) {
	for _, turns := range []int{0, 4} {
		for _, rate := range []float64{10, 100, 300, 1000} {
			b.Run(fmt.Sprintf("turns=%d/rate=%v", max(turns, 1), rate), func(b *testing.B) { benchBadChange(b, rate, turns) })
		}
	}
}

func benchBadChange(b *testing.B, rate float64, turns int) {
	const seeds = 40
	for b.Loop() {
		took, most, within, sum := make([]time.Duration, 0, seeds), 0., 0., 0.
		for seed := range uint64(seeds) {
			d, harmed, _, _, _ := badChange(b, seed, rate, turns)
			took, most, sum = append(took, d), max(most, harmed), sum+harmed
			if d <= time.Minute {
				within++
			}
		}
		slices.Sort(took)
		b.ReportMetric(took[seeds/2].Seconds(), "s-median")
		b.ReportMetric(took[seeds*9/10-1].Seconds(), "s-p90")
		b.ReportMetric(took[seeds-1].Seconds(), "s-longest")
		b.ReportMetric(100*within/seeds, "%-within-60s")
		b.ReportMetric(100*sum/seeds, "%-harmed")
		b.ReportMetric(100*most, "%-harmed-most")
	}
}
