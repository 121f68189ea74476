package optimizer

import (
	"maps"
	"slices"
	"time"
)

// Savings is what the optimizer has saved or lost against the operator's own settings. It is plain data.
type Savings struct {
	At     time.Time      `json:"at"`
	Routes []RouteSavings `json:"routes"`            // in the order of their names
	Gone   *Epoch         `json:"removed,omitempty"` // of routes that are no more, together
	// Unproven is how many routes are beyond the bound of what is measured.
	Unproven int      `json:"unproven,omitempty"`
	Saved    Estimate `json:"saved_usd"` // over all routes that it is known of, earlier epochs included; below 0: lost
}

// RouteSavings is what it has saved on a route. Differences are those of an exchange outside of the hold-back against one inside, adjusted for what both
// are made of: below 0 is better, but for what is saved.
type RouteSavings struct {
	Route      string    `json:"route"`
	From       time.Time `json:"from"` // of the first exchange that counts
	To         time.Time `json:"to"`
	Optimized  Side      `json:"optimized"`
	Holdback   Side      `json:"holdback"`
	Missing    string    `json:"missing,omitempty"` // why nothing is known yet; the estimates are not then
	Cost       Estimate  `json:"cost_usd"`          // per exchange
	Failures   Estimate  `json:"failures"`          // share of the exchanges
	Violations Estimate  `json:"violations"`        // share
	Wait       Estimate  `json:"wait_s"`            // of those that waited
	WaitRatio  Estimate  `json:"wait_log_ratio"`    // logarithm of the ratio of the geometric means: what a typical exchange notices
	Saved      Estimate  `json:"saved_usd"`         // by all exchanges outside of the hold-back together
	Part       Estimate  `json:"saved_part"`        // of what they would have cost
	Waited     Estimate  `json:"saved_wait_s"`      // seconds of waiting
	Sure       bool      `json:"sure"`              // that what was saved is not 0, at all looks together with 95 %
	Harm       Harm      `json:"harm"`
	Earlier    []Epoch   `json:"earlier,omitempty"`
}

// Side is what the exchanges on one side of the comparison came to, as they were.
type Side struct {
	Exchanges  uint64  `json:"exchanges"`
	Unpriced   uint64  `json:"unpriced"` // of them, which cost leaves out
	Cost       float64 `json:"cost_usd"` // per exchange
	Failures   float64 `json:"failures"` // share
	Violations float64 `json:"violations"`
	Wait       float64 `json:"wait_s"` // mean of those that waited
}

func (s *span) side(side int) Side {
	t := s.total(side)
	n := max(float64(t.n), 1)
	return Side{
		Exchanges: uint64(t.n), Unpriced: uint64(t.n - t.priced), Cost: t.cost / max(float64(t.priced), 1),
		Failures: float64(t.failed) / n, Violations: float64(t.violations) / n, Wait: t.wait / max(float64(t.waits), 1),
	}
}

// Savings is what is known at a time, of exchanges since another; the zero time is everything. Time before is left out by whole stretches, an hour or
// longer the older they are; of epochs that are over, those that ended before.
func (p *Proof) Savings(now, since time.Time) *Savings {
	all := &Savings{At: now, Routes: []RouteSavings{}, Unproven: p.Unproven()}
	if p.gone.Why != "" && !p.gone.To.Before(since) {
		gone := p.gone
		all.Gone, all.Saved = &gone, gone.Saved
	}
	for _, name := range slices.Sorted(maps.Keys(p.routes)) {
		r := p.routes[name]
		s := r.since(since)
		one := RouteSavings{
			Route: name, From: s.from, To: s.to, Optimized: s.side(treated), Holdback: s.side(holdback), Missing: s.missing(), Harm: p.Harm(name, now),
		}
		if one.Missing == "" {
			one.Cost, _ = s.amount(costOf)
			one.Failures, one.Violations = s.share(failuresOf), s.share(violationsOf)
			one.Wait, _ = s.amount(waitOf)
			one.WaitRatio, _, _ = s.difference(logWaitOf)
			one.Saved, one.Waited = s.saved(costOf), s.saved(waitOf)
			one.Part = part(one.Cost, one.Optimized.Cost).times(-1)
			always := one.Saved.Anytime(float64(one.Holdback.Exchanges))
			one.Sure = one.Saved.Known && always.Excludes(0)
		}
		all.Saved = all.Saved.plus(one.Saved)
		for _, e := range r.epochs {
			if e.To.Before(since) {
				continue
			}
			one.Earlier = append(one.Earlier, e)
			all.Saved = all.Saved.plus(e.Saved)
		}
		all.Routes = append(all.Routes, one)
	}
	return all
}

// part is a difference of means as a part of what the other mean was, that of now being known.
func part(e Estimate, mean float64) Estimate {
	if !e.Known || !(mean-e.High > 0) {
		return Estimate{}
	}
	of := func(v float64) float64 { return v / (mean - v) }
	low, high := of(e.Low), of(e.High)
	return Estimate{true, of(e.Value), low, high, (high - low) / 2 / student}
}
