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
	x.accountCharged().Add(&s)
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
