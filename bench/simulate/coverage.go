package simulate

import (
	"fmt"
	"io"

	"llm-auto-optimizer/optimizer"
)

// Truth is what a policy has saved against another one with the same seed, which the hold-back can only estimate.
type Truth struct {
	Saved      float64 // US dollars
	Violations float64 // share of the exchanges that more of them violate
	Wait       float64 // seconds that an exchange waits longer
}

func truthOf(static, optimized *Run) Truth {
	wait := func(r *Run) float64 { return r.wait / float64(max(r.times.total, 1)) }
	share := func(r *Run) float64 { return float64(r.Violations) / float64(max(r.Exchanges, 1)) }
	// The hold-back is no better or worse for it, so what both differ by is the others' doing.
	part := 1.
	if s := optimized.savings(); s != nil && optimized.Exchanges > 0 {
		part = float64(s.Optimized.Exchanges) / float64(optimized.Exchanges)
	}
	return Truth{static.Cost - optimized.Cost, (share(optimized) - share(static)) / part, (wait(optimized) - wait(static)) / part}
}

// savings are those of the route, nil without hold-back.
func (r *Run) savings() *optimizer.RouteSavings {
	if r.Savings == nil || len(r.Savings.Routes) == 0 {
		return nil
	}
	return &r.Savings.Routes[0]
}

// Coverage is how often the intervals of what the hold-back measures hold the truth, over runs.
type Coverage struct {
	Runs       int     `json:"runs"` // in which something could be measured
	Of         int     `json:"of"`
	Saved      float64 `json:"saved"` // share of the runs
	Violations float64 `json:"violations"`
	Wait       float64 `json:"wait"`
	Always     float64 `json:"always"` // of the intervals for all looks together
	Part       float64 `json:"part"`   // of the cost, that was saved truly: the mean
	Bias       float64 `json:"bias"`   // of the estimate of that, over the runs
	HalfWidth  float64 `json:"half_width"`
}

// add takes a run in, of which the truth is known, and what it would have cost; close makes shares of the counts.
func (c *Coverage) add(r *Run, truth Truth, cost float64) {
	s := r.savings()
	if s == nil {
		return
	}
	if c.Of++; s.Missing != "" {
		return
	}
	c.Runs++
	count := func(n *float64, in bool) {
		if in {
			*n++
		}
	}
	count(&c.Saved, !s.Saved.Excludes(truth.Saved))
	count(&c.Violations, !s.Violations.Excludes(truth.Violations))
	count(&c.Wait, !s.Wait.Excludes(truth.Wait))
	always := s.Saved.Anytime(float64(s.Holdback.Exchanges))
	count(&c.Always, !always.Excludes(truth.Saved))
	c.Part += truth.Saved / cost
	c.Bias += (s.Saved.Value - truth.Saved) / cost
	c.HalfWidth += (s.Saved.High - s.Saved.Low) / 2 / cost
}

func (c *Coverage) means() [7]*float64 {
	return [...]*float64{&c.Saved, &c.Violations, &c.Wait, &c.Always, &c.Part, &c.Bias, &c.HalfWidth}
}

func (c *Coverage) close() {
	for _, sum := range c.means() {
		*sum /= float64(max(c.Runs, 1))
	}
}

func (c *Coverage) merge(o *Coverage) {
	a, b := float64(c.Runs), float64(o.Runs)
	other := o.means()
	for i, m := range c.means() {
		*m = (a**m + b**other[i]) / max(a+b, 1)
	}
	c.Runs, c.Of = c.Runs+o.Runs, c.Of+o.Of
}

// CoverageOf compares the runs of a policy with hold-back with those of the operator's own settings, seed by seed: the truth is what all traffic together has
// saved. It is false where there is no hold-back.
func CoverageOf(static, optimized *Outcome) (c Coverage, ok bool) {
	for i, r := range optimized.Runs {
		if i < len(static.Runs) && static.Runs[i].Seed == r.Seed {
			c.add(r, truthOf(static.Runs[i], r), static.Runs[i].Cost)
		}
	}
	c.close()
	return c, c.Of > 0
}

// printSavings writes what the hold-back says, and beside the runs of the operator's own settings how well.
func printSavings(out io.Writer, outcomes []Outcome) error {
	var err error
	for i := range outcomes {
		o := &outcomes[i]
		if r := o.Runs[0]; r.Savings != nil {
			_, err = fmt.Fprintf(out, "\n%s, hold-back, seed %d\n%s", o.Policy, r.Seed, r.Savings.Text())
		}
		for k := range outcomes {
			if static := &outcomes[k]; static.Policy == Production && err == nil {
				if c, ok := CoverageOf(static, o); ok {
					_, err = fmt.Fprintf(out, "against %s: %s\n", Production, c)
				}
			}
		}
	}
	return err
}

// String is the coverage as a person reads it.
func (c Coverage) String() string {
	return fmt.Sprintf("%d of %d runs: saved %.1f %%, measured %+.2f %% beside that, ± %.1f %%; 95 %% intervals hold the truth of cost in %.1f %%, "+
		"of violations in %.1f %%, of waiting in %.1f %%; those for all looks that of cost in %.1f %%", c.Runs, c.Of,
		100*c.Part, 100*c.Bias, 100*c.HalfWidth, 100*c.Saved, 100*c.Violations, 100*c.Wait, 100*c.Always)
}
