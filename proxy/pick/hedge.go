package pick

import "sync/atomic"

// hedgeBudget gives each exchange a part of a hedge, and saves up a few.
type hedgeBudget struct {
	credit atomic.Int64 // millionths of a hedge
	made   atomic.Uint64
}

const (
	wholeHedge = 1_000_000
	mostCredit = 10 * wholeHedge
	mostLoad   = .8 // of the targets' max_concurrency, above which nothing is hedged
)

// earn is called once an exchange.
func (b *hedgeBudget) earn(share float64) {
	if share <= 0 {
		return
	}
	if b.credit.Add(int64(share*wholeHedge)) > mostCredit {
		b.credit.Store(mostCredit)
	}
}

func (b *hedgeBudget) take() bool {
	if b.credit.Add(-wholeHedge) < 0 {
		b.credit.Add(wholeHedge)
		return false
	}
	b.made.Add(1)
	return true
}

// Hedges counts those that were made.
func (r *Route) Hedges() uint64 { return r.hedges.made.Load() }

// busy tells whether the targets' capacity is used up so far that a hedge would hurt others. Targets without max_concurrency have no end.
func (r *Route) busy() bool {
	used, all := int64(0), 0
	for _, t := range r.targets {
		if t.spec.MaxConcurrency == 0 {
			return false
		}
		used, all = used+t.inFlight.Load(), all+t.spec.MaxConcurrency
	}
	return float64(used) > mostLoad*float64(all)
}
