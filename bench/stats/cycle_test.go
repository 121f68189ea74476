package stats

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/anomaly"
	"llm-auto-optimizer/analysis/regime"
)

// BenchmarkTenSeconds is what the detectors of 300 series cost in ten seconds: 10 requests a second each through the detectors of
// latency and of errors, and one tick through those of ticks.
func BenchmarkTenSeconds(b *testing.B) {
	const series, requests = 300, 10 * Rate
	type detectors struct {
		sizes   *anomaly.Normaliser
		latency *regime.Shift
		errors  *regime.ErrorRate
		ticks   *anomaly.Ensemble
		level   *regime.Shift
		chart   *anomaly.Chart
		quality *regime.Decline
	}
	all := make([]detectors, series)
	for i := range all {
		all[i] = detectors{anomaly.NewNormaliser(), regime.NewShift(regime.Requests, patience), regime.NewErrorRate(.005, patience),
			anomaly.NewEnsemble(), regime.NewShift(regime.Ticks, 1e6), anomaly.NewChart(.2, 3), regime.NewDecline(.9, 1e6)}
	}
	draw := rand.New(rand.NewPCG(1, 2))
	times := make([]time.Duration, 1<<14)
	for i := range times {
		times[i] = time.Duration(math.Exp(latencySD*draw.NormFloat64()) * 1e9)
	}
	at, k := time.Unix(1.7e9, 0), 0
	step := func() {
		at = at.Add(10 * time.Second)
		for i := range all {
			d := &all[i]
			sum := 0.
			for range requests {
				k++
				t := times[k&(len(times)-1)]
				if residual, ok := d.sizes.TTFT(t, int64(t>>20)); ok {
					d.latency.Step(residual)
				}
				d.errors.Step(k%211 == 0)
				sum += t.Seconds()
			}
			d.ticks.Step(at, sum)
			d.level.Step(sum)
			d.chart.Step(sum)
			d.quality.Step(.95)
		}
	}
	for range 30 { // until baselines are full
		step()
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
