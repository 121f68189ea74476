package proxy

import (
	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/ledger"
)

// accountOf is the account of the last exchange on a client's connection: as a rule the next one has the same, so that the ledger's
// lock is not taken.
type accountOf struct {
	account *ledger.Account
	era     uint64
	target  *target
	caller  hashID
}

// creditOf is the same for what the cache answered, in which no target has a part.
type creditOf struct {
	account *ledger.Account
	era     uint64
	cache   *cacheCounts // of the route
	model   string
	caller  hashID
}

// charge adds an attempt to the account of whom it belongs to.
func (x *Exchange) charge(o *window.Observation) {
	if x.p.ledger == nil {
		return
	}
	s := ledger.Sums{
		Attempts: 1, Input: o.TokensInput, CacheRead: o.TokensCacheRead, CacheWrite: o.TokensCacheWrite, Output: o.TokensOutput,
		Reasoning: o.TokensReasoning, CostNanoUSD: o.CostNanoUSD,
	}
	if o.Outcome != window.OK && o.Outcome != window.Canceled {
		s.Errors = 1
	}
	if o.Estimated {
		s.Estimated = 1
	}
	if o.Unpriced {
		s.Unpriced = 1
	}
	if x.cache.result == cacheRefresh {
		s.RefreshNanoUSD = o.CostNanoUSD
	}
	x.accountCharged().Add(&s)
}

// chargePrompt notes what marking the attempt's prompt has saved, or that it was one to compare those with.
func (x *Exchange) chargePrompt() {
	if x.p.ledger == nil {
		return
	}
	s := ledger.Sums{Marked: 1, MarkedNanoUSD: int64(x.prompt.saved)}
	if x.prompt.arm == promptControl {
		s = ledger.Sums{Unmarked: 1, UnmarkedNanoUSD: int64(x.prompt.saved)}
	}
	x.accountCharged().Add(&s)
}

// creditCache notes what an answer has saved for which no provider was called.
func (x *Exchange) creditCache() {
	if x.p.ledger == nil {
		return
	}
	c := &x.cache
	last, era, model := &x.client.credit, x.p.ledger.Era(), x.creditedModel()
	if last.account == nil || last.era != era || last.cache != c.of.counts || last.model != model || last.caller != x.caller {
		k := ledger.Key{Model: labelValue(model), Route: x.routeName(), Caller: string(x.caller.appendTo(nil))}
		*last = creditOf{x.p.ledger.Account(k), era, c.of.counts, model, x.caller}
	}
	last.account.Add(&ledger.Sums{Cached: 1, SavedNanoUSD: int64(c.saved), SavedNanos: int64(c.sooner)})
}

// creditedModel is the model that a kept answer is booked under: that of the route's targets where they have one of their own, whatever clients call it; else as
// clients name it, which a provider has accepted.
func (x *Exchange) creditedModel() string {
	if x.route != nil {
		for _, t := range x.route.targets {
			if t.model != "" {
				return t.model
			}
		}
	}
	if len(x.cache.model) > maxModelName {
		return otherModel
	}
	return x.cache.model
}

// accountCharged is the one that the attempt belongs to.
func (x *Exchange) accountCharged() *ledger.Account {
	last, era := &x.client.account, x.p.ledger.Era()
	if last.account == nil || last.era != era || last.target != x.target || last.caller != x.caller {
		k := ledger.Key{Provider: x.target.provider, Model: x.target.model, Route: x.target.route, Caller: string(x.caller.appendTo(nil))}
		*last = accountOf{x.p.ledger.Account(k), era, x.target, x.caller}
	}
	return last.account
}
