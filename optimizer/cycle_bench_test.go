//go:build unix

package optimizer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// fleet is a plant of equal routes, each with an objective.
type fleet struct {
	known     []Known
	published int
}

// newFleet has routes r0, r1, … of targets t0, t1, …
func newFleet(routes, targets int) *fleet {
	f := &fleet{}
	for r := range routes {
		p := policy.Parameters{RetryShare: .2, Targets: map[string]policy.Target{}}
		k := Known{Name: fmt.Sprintf("r%d", r), Objective: Objective{TTFT: 2 * time.Second, Violations: .06}}
		for t := range targets {
			name := fmt.Sprintf("t%d", t)
			p.Targets[name] = policy.Target{Weights: [classes]float64{1, 1, 1}}
			k.Targets = append(k.Targets, KnownTarget{Name: name, Available: true})
		}
		k.InForce, k.Static = p, p
		f.known = append(f.known, k)
	}
	return f
}

func (f *fleet) Known(time.Time) []Known { return append([]Known(nil), f.known...) }

func (f *fleet) Publish(routes map[string]policy.Route) error {
	f.published++
	for i := range f.known {
		k := &f.known[i]
		if r, changed := routes[k.Name]; changed {
			k.InForce, k.Canary, k.Holdback = r.Parameters, r.Canary, r.Holdback
		}
	}
	return nil
}

// loop has the tuners that a server has, of which routing may act.
func (f *fleet) loop(m Mode) *Loop {
	return New(f, Settings{
		Bounds: DefaultBounds, Trials: DefaultTrials, Holdback: .02,
		Modes: map[string]Mode{"routing": m, "timeouts": Recommend, "budget": Recommend},
	}, DefaultRouting, DefaultTimeouts, DefaultBudget)
}

// exchanges are n exchanges of all routes, targets and classes, the last of which ends at to: prices of targets differ, and so do lengths and times of
// exchanges.
func (f *fleet) exchanges(n int, from, to time.Time, draw *rand.Rand) []window.Exchange {
	all := make([]window.Exchange, n)
	for i := range all {
		k := &f.known[draw.IntN(len(f.known))]
		t := draw.IntN(len(k.Targets))
		class := draw.IntN(classes)
		input, output := math.Exp(5+float64(class)+draw.NormFloat64()), math.Exp(4+.5*float64(class)+.8*draw.NormFloat64())
		wait := time.Duration(.4 * math.Exp(.5*draw.NormFloat64()) * float64(time.Second))
		failed := draw.Float64() < .005
		all[i] = window.Exchange{
			At: from.Add(to.Sub(from) * time.Duration(i+1) / time.Duration(n)), Route: k.Name, Target: k.Targets[t].Name, Session: draw.Uint64(), Class: uint8(class), Attempts: 1,
			Failed: failed, Violation: failed || wait > k.Objective.TTFT, Input: int64(input) + 1, Output: int64(output) + 1, Expected: int64(input) + 1,
			CostNanoUSD: int64((.5 + .1*float64(t)) * (input + 5*output) * 1000), Wait: wait, PerToken: time.Duration(8+draw.IntN(8)) * time.Millisecond,
		}
	}
	return all
}

const cycleEvery = 10 * time.Second

// BenchmarkLoop_Step is a cycle that finds traffic in all classes of all routes. The demand: 300 series (routes × classes) of 16 targets, 20 ms.
func BenchmarkLoop_Step(b *testing.B) {
	for _, mode := range []Mode{Recommend, Auto, Canary} {
		for _, n := range []struct{ routes, targets int }{{1, 3}, {100, 4}, {100, 16}} {
			b.Run(fmt.Sprintf("mode=%v/series=%d/targets=%d", mode, n.routes*classes, n.targets), func(b *testing.B) {
				f := newFleet(n.routes, n.targets)
				l := f.loop(mode)
				draw := rand.New(rand.NewPCG(1, 1))
				now := noon
				feed := func(n int) {
					next := now.Add(cycleEvery)
					for _, x := range f.exchanges(n, now, next, draw) {
						l.Observe(&x)
					}
					now = next
				}
				for range 6 {
					feed(60 * n.routes * n.targets)
					l.Step(now)
				}
				b.ReportAllocs()
				b.ResetTimer()
				var spent time.Duration
				for range b.N {
					b.StopTimer()
					feed(10 * n.routes)
					before := processorTime(b)
					b.StartTimer()
					l.Step(now)
					spent += processorTime(b) - before
				}
				b.ReportMetric(float64(spent)/float64(time.Millisecond)/float64(b.N), "CPU-ms/op")
			})
		}
	}
}

// processorTime is what this process has used, collecting garbage included.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkLoop_Observe is taking in one exchange, of a route that has a hold-back.
func BenchmarkLoop_Observe(b *testing.B) {
	for _, n := range []struct{ routes, targets int }{{1, 3}, {100, 16}} {
		b.Run(fmt.Sprintf("routes=%d/targets=%d", n.routes, n.targets), func(b *testing.B) {
			f := newFleet(n.routes, n.targets)
			l := f.loop(Auto)
			l.Step(noon)
			all := f.exchanges(1<<14, noon, noon.Add(cycleEvery), rand.New(rand.NewPCG(1, 1)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.Observe(&all[i%len(all)])
			}
		})
	}
}
