package simulate

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/optimizer"
)

// purse adds a budget to what the loop knows of the route.
type purse struct {
	*production
	watch   *optimizer.BudgetWatch
	history optimizer.SpendHistory
	counted float64 // of the run's cost
}

func (p *purse) Known(now time.Time) []optimizer.Known {
	h := &p.history
	for !now.Before(h.Start.Add(time.Duration(len(h.Hourly)+1) * time.Hour)) {
		h.Hourly, h.Current = append(h.Hourly, h.Current), 0
	}
	h.Current += p.w.result.Cost - p.counted
	p.counted = p.w.result.Cost
	known := p.production.Known(now)
	if f, ok := p.watch.Step(now, *h); ok {
		known[0].Budgets = []optimizer.BudgetForecast{f}
	}
	return known
}

// A day's budget that is likely to be used up makes the mix cheaper, by as much as the violations that the objective allows permit.
func TestOptimized_ABudgetLowersTheCost(t *testing.T) {
	if raceEnabled {
		t.Skip("a run is one goroutine: there is nothing to race")
	}
	t.Parallel()
	s, err := Parse(strings.NewReader(`
route chat slo ttft 2s errors 1%
target cheap price 0.25 2.00 ttft 500ms sigma 0.66 tpot 5ms concurrency 500 errors 0.1%
target dear price 1.00 8.00 ttft 300ms sigma 0.4 tpot 5ms concurrency 500 errors 0.1%
traffic rate 0.7/s input lognormal 800 1.0 output lognormal 200 0.8
run 8h seeds 1
`), "budget")
	if err != nil {
		t.Fatal(err)
	}
	play := func(seed uint64, dollars float64) *Run {
		w := &world{Scenario: s, seed: seed, luck: rand.New(rand.NewPCG(seed, 2)), result: newRun(s, "budget", seed)}
		for i := range s.Targets {
			w.targets = append(w.targets, targetState{Target: &s.Targets[i]})
		}
		p := newOptimized(w).(*production) //nolint:forcetypeassert // it makes nothing else
		purse := &purse{
			production: p, watch: optimizer.NewBudgetWatch(optimizer.BudgetTerms{Name: "chat", Dollars: dollars, Zone: time.FixedZone("", 16*3600)}, optimizer.DefaultBudget),
			history: optimizer.SpendHistory{Start: begin},
		}
		p.loop = optimizer.New(purse, optimizer.Settings{
			Bounds: optimizer.DefaultBounds, Trials: optimizer.DefaultTrials, Modes: map[string]optimizer.Mode{"routing": optimizer.Auto, "budget": optimizer.Auto},
		}, optimizer.DefaultRouting, optimizer.DefaultBudget)
		w.strategy = p
		if err := w.play(); err != nil {
			t.Fatal(err)
		}
		w.result.finish()
		return w.result
	}
	const seeds = 2
	var free, kept, before, after, exchanges float64
	for seed := range uint64(seeds) {
		without := play(seed+1, 1e6)
		dollars := .95 * without.Cost
		with := play(seed+1, dollars)
		if !strings.Contains(strings.Join(with.Decisions, "\n"), "for chat ends ") {
			t.Errorf("seed %d: no decision names the budget: %q", seed+1, with.Decisions)
		}
		t.Logf("seed %d: $%.2f, with a budget of $%.2f $%.2f; violations %.2f %%, %.2f %%; %d decisions", seed+1, without.Cost, dollars, with.Cost,
			100*float64(without.Violations)/float64(without.Exchanges), 100*float64(with.Violations)/float64(with.Exchanges), len(with.Decisions))
		free, kept = free+without.Cost, kept+with.Cost
		before, after, exchanges = before+float64(without.Violations), after+float64(with.Violations), exchanges+float64(with.Exchanges)
	}
	t.Logf("$%.2f in place of $%.2f, violations %.2f %% in place of %.2f %%", kept, free, 100*after/exchanges, 100*before/exchanges)
	if kept > .97*free || after/exchanges > before/exchanges+.002 {
		t.Errorf("$%.2f in place of $%.2f, violations %.2f %% in place of %.2f %%", kept, free, 100*after/exchanges, 100*before/exchanges)
	}
}
