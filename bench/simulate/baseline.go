package simulate

import (
	"math/rand/v2"
	"slices"
	"time"

	"llm-auto-optimizer/proxy/pick"
)

// baseline is what other gateways do, re-implemented from their documentation: retries elsewhere, and a target that fails is left alone for a while.
type baseline struct {
	w       *world
	choose  func(b *baseline, open []int) int
	targets []baselineTarget
}

type baselineTarget struct {
	inFlight int
	failures int // in a row, or in a minute
	since    time.Time
	until    time.Time // cooling down
	ejected  int
	mean     float64 // of the last times to first token, seconds
	peak     float64
}

func newBaseline(w *world, choose func(b *baseline, open []int) int) *baseline {
	return &baseline{w: w, choose: choose, targets: make([]baselineTarget, len(w.Targets))}
}

func (b *baseline) tick(time.Time) {}

func (b *baseline) start(*world, *request) walk { return &baselineWalk{b: b} }

// shuffle draws by weight, as LiteLLM's simple-shuffle.
func shuffle(b *baseline, open []int) int {
	total := 0.
	for _, i := range open {
		total += b.w.Targets[i].Weight
	}
	u := b.w.luck.Float64() * total
	for _, i := range open {
		if u -= b.w.Targets[i].Weight; u < 0 {
			return i
		}
	}
	return open[len(open)-1]
}

// leastBusy takes the fewest requests under way, as LiteLLM's least-busy.
func leastBusy(b *baseline, open []int) int {
	return lowest(b.w.luck, open, func(i int) float64 { return float64(b.targets[i].inFlight) })
}

// lowestLatency takes the lowest mean time to first token, as LiteLLM's latency-based routing; targets without one first.
func lowestLatency(b *baseline, open []int) int {
	return lowest(b.w.luck, open, func(i int) float64 { return b.targets[i].mean })
}

// lowestCost takes the lowest price, as LiteLLM's cost-based routing.
func lowestCost(b *baseline, open []int) int {
	return lowest(b.w.luck, open, func(i int) float64 { return (b.w.Targets[i].In + b.w.Targets[i].Out) * b.w.targets[i].price })
}

// peakEWMA is power of two choices on load times peak-EWMA, as Finagle's and Helicone's.
func peakEWMA(b *baseline, open []int) int {
	one := open[b.w.luck.IntN(len(open))]
	other := open[b.w.luck.IntN(len(open))]
	load := func(i int) float64 { return float64(b.targets[i].inFlight+1) * b.targets[i].peak }
	if load(other) < load(one) {
		return other
	}
	return one
}

func lowest(draw *rand.Rand, open []int, of func(i int) float64) int {
	best, ties := open[0], 1
	for _, i := range open[1:] {
		switch a, b := of(i), of(best); {
		case a < b:
			best, ties = i, 1
		case a == b:
			if ties++; draw.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

type baselineWalk struct {
	b     *baseline
	tried []int
}

// retries is what the baselines are given: as many as the production strategy.
func (x *baselineWalk) pick(now time.Time) (int, bool) {
	b := x.b
	var open, cooling []int
	for i := range b.targets {
		switch {
		case b.w.Targets[i].Weight == 0 || slices.Contains(x.tried, i):
		case b.targets[i].until.After(now):
			cooling = append(cooling, i)
		default:
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		open = cooling
	}
	if len(open) == 0 {
		return 0, false
	}
	chosen := b.choose(b, open)
	x.tried = append(x.tried, chosen)
	return chosen, true
}

func (x *baselineWalk) first(now time.Time) (int, bool) { return x.pick(now) }

func (x *baselineWalk) next(now time.Time, _ failure, _ time.Duration) (int, time.Duration, bool) {
	if len(x.tried) >= x.b.w.Route.Attempts {
		return 0, 0, false
	}
	target, ok := x.pick(now)
	return target, 0, ok
}

func (x *baselineWalk) hedge(time.Time) (int, bool)           { return 0, false }
func (x *baselineWalk) hedgeAfter(int) (time.Duration, bool)  { return 0, false }
func (x *baselineWalk) firstByte(int) time.Duration           { return x.b.w.Route.FirstByte }
func (x *baselineWalk) began(_ time.Time, target int, _ bool) { x.b.targets[target].inFlight++ }
func (x *baselineWalk) content(time.Time, *attempt)           {}
func (x *baselineWalk) end(time.Time, *ended)                 {}

const (
	cooldownFails = 3               // in a minute: LiteLLM's allowed_fails
	cooldownFor   = 5 * time.Second // LiteLLM's cooldown_time
	envoyFails    = 5               // in a row: Envoy's consecutive_5xx
	envoyBase     = 30 * time.Second
)

func (x *baselineWalk) settle(now time.Time, a *attempt, _ *request, res *pick.Result) {
	t := &x.b.targets[a.target]
	t.inFlight--
	isEnvoy := x.b.w.result.Policy == "p2c-ewma" || x.b.w.result.Policy == Consecutive
	switch res.Outcome {
	case pick.Good:
		s := res.Took.Seconds()
		if t.mean += (s - t.mean) / 10; s > t.peak {
			t.peak = s
		} else {
			t.peak += (s - t.peak) / 10
		}
		if isEnvoy {
			t.failures = 0
		}
	case pick.Limited:
		t.until = now.Add(max(a.after, cooldownFor))
	case pick.Bad:
		if !isEnvoy && now.Sub(t.since) > time.Minute {
			t.failures, t.since = 0, now
		}
		t.failures++
		switch {
		case isEnvoy && t.failures >= envoyFails:
			t.ejected++
			t.until, t.failures = now.Add(envoyBase*time.Duration(t.ejected)), 0
		case !isEnvoy && t.failures > cooldownFails:
			t.until = now.Add(cooldownFor)
		}
	}
}
