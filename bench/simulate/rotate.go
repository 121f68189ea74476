package simulate

import (
	"math"
	"math/rand/v2"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// Rotate plays a scenario with each of its sessions in the hold-back in turn, others outside, and tells how often the intervals of what the hold-back measures
// hold the truth: what each exchange has come to outside of the hold-back, against what the very same came to inside. That is what they estimate: what
// the optimizer does for an exchange, the targets being as loaded and as healthy as they are with it. Each turn is a run with an interval of its own.
func Rotate(s *Scenario, seeds int) (Coverage, error) {
	share := s.Route.Holdback
	if !(share > 0 && share <= .5) {
		return Coverage{}, nil
	}
	turns := int(math.Round(1 / share))
	parts := make([]Coverage, seeds)
	err := each(seeds, func(i int) (err error) {
		parts[i], err = rotateSeed(s, uint64(i)+1, turns) //nolint:gosec // small
		return err
	})
	var c Coverage
	for i := range parts {
		c.merge(&parts[i])
	}
	return c, err
}

// fate is what an exchange came to in a run.
type fate struct {
	request uint64 // its own seed
	cost    float64
	bad     float64
	wait    float64 // seconds; 0: it was not served
}

func rotateSeed(s *Scenario, seed uint64, turns int) (c Coverage, err error) {
	held := map[uint64]fate{} // by the request's own seed
	runs := make([]*Run, turns)
	others := make([][]fate, turns)
	for turn := range turns {
		w := newWorld(s, seed, newRun(s, Optimized, seed))
		w.turn = uint64(turn) * uint64(math.Ldexp(s.Route.Holdback, 63)) * 2 //nolint:gosec // small
		w.note = func(r *request, x *window.Exchange) {
			f := fate{r.seed, float64(x.CostNanoUSD) / 1e9, 0, x.Wait.Seconds()}
			if x.Violation {
				f.bad = 1
			}
			if policy.Arm(x.Arm) == policy.Holdback {
				held[r.seed] = f
				return
			}
			others[turn] = append(others[turn], f)
		}
		w.strategy = newOptimized(w)
		if err := w.play(); err != nil {
			return c, err
		}
		w.result.finish()
		runs[turn] = w.result
	}
	for turn, r := range runs {
		var inside, outside fate
		n, waited := 0., 0.
		for _, f := range others[turn] {
			h, known := held[f.request]
			if !known { // between two turns
				continue
			}
			n++
			inside.cost, outside.cost = inside.cost+h.cost, outside.cost+f.cost
			inside.bad, outside.bad = inside.bad+h.bad, outside.bad+f.bad
			if h.wait > 0 && f.wait > 0 {
				waited++
				inside.wait, outside.wait = inside.wait+h.wait, outside.wait+f.wait
			}
		}
		if n == 0 {
			continue
		}
		all := float64(len(others[turn])) / n
		c.add(r, Truth{all * (inside.cost - outside.cost), (outside.bad - inside.bad) / n, (outside.wait - inside.wait) / max(waited, 1)}, all*inside.cost)
	}
	c.close()
	return c, nil
}

// newWorld is a run that is about to begin.
func newWorld(s *Scenario, seed uint64, result *Run) *world {
	w := &world{Scenario: s, seed: seed, luck: rand.New(rand.NewPCG(seed, 2)), result: result}
	for t := range s.Targets {
		w.targets = append(w.targets, targetState{Target: &s.Targets[t]})
	}
	return w
}
