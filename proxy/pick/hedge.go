package pick

import "sync/atomic"

// hedgeBudget bounds hedges to a share of the exchanges, of which it saves up a few, and what they cost to the same share of what all exchanges
// cost. The price of a hedge is known when it is over, so that those under way can go past the second bound; the ones after them make up for it.
type hedgeBudget struct {
	credit atomic.Int64 // millionths of a hedge
	made   atomic.Uint64
	paid   atomic.Int64 // nano-dollars of exchanges, hedges included; forgotten by half now and then
	extra  atomic.Int64 // nano-dollars of them for attempts that lost against another
	ended  atomic.Uint64
	spent  atomic.Int64 // nano-dollars, as extra, of all time
}

const (
	wholeHedge  = 1_000_000
	mostCredit  = 10 * wholeHedge
	mostLoad    = .8   // of the targets' max_concurrency, above which nothing is hedged
	hedgeMemory = 4096 // exchanges after which paid and extra halve
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

func (b *hedgeBudget) take(share float64) bool {
	if float64(b.extra.Load()) > share*float64(b.paid.Load()) {
		return false
	}
	if b.credit.Add(-wholeHedge) < 0 {
		b.credit.Add(wholeHedge)
		return false
	}
	b.made.Add(1)
	return true
}

// giveBack takes back a hedge that was never sent.
func (b *hedgeBudget) giveBack() {
	b.credit.Add(wholeHedge)
	b.made.Add(^uint64(0))
}

// pay takes in what an exchange has cost.
func (b *hedgeBudget) pay(total, extra int64) {
	b.paid.Add(total)
	if extra > 0 {
		b.extra.Add(extra)
		b.spent.Add(extra)
	}
	if b.ended.Add(1)%hedgeMemory == 0 {
		b.paid.Add(-b.paid.Load() / 2)
		b.extra.Add(-b.extra.Load() / 2)
	}
}

// Hedges counts those that were made, and says what the slower attempts have cost, in nano-dollars.
func (r *Route) Hedges() (made uint64, nanoUSD int64) {
	return r.hedges.made.Load(), r.hedges.spent.Load()
}

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
