package main

import (
	"fmt"
	"testing"

	"llm-auto-optimizer/proxy/policy"
)

// BenchmarkPlant_Publish puts changed routes of a hundred in force, of 16 targets each. The demand: 50 µs.
func BenchmarkPlant_Publish(b *testing.B) {
	for _, changed := range []int{1, 100} {
		b.Run(fmt.Sprintf("routes=100/changed=%d", changed), func(b *testing.B) {
			s := policy.Snapshot{Routes: map[string]policy.Route{}}
			next := map[string]policy.Route{}
			for r := range 100 {
				p := policy.Parameters{RetryShare: .2, Targets: map[string]policy.Target{}}
				for t := range 16 {
					p.Targets[fmt.Sprintf("t%d", t)] = policy.Target{Weights: [policy.Classes]float64{1, 1, 1}}
				}
				name := fmt.Sprintf("r%d", r)
				if s.Routes[name] = (policy.Route{Parameters: p}); r < changed {
					next[name] = policy.Route{Parameters: p, Static: &p, Holdback: .02}
				}
			}
			p := &plant{g: &gateway{policy: policy.NewHolder(s)}}
			b.ReportAllocs()
			for b.Loop() {
				p.base.Store(p.g.policy.Load())
				if err := p.Publish(next); err != nil {
					b.Fatal(err)
				}
			}
			if p.g.policy.Load().Routes["r0"].Holdback != .02 {
				b.Error("not in force")
			}
		})
	}
}
