package proxy

import (
	"math"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
	"llm-auto-optimizer/proxy/policy"
)

// limited is what limits have done to an exchange, and what it obeys of them.
type limited struct {
	tuned            policy.Limits
	reserved         int64
	guessed          bool
	metBits, lackBit uint8
	refused          window.Refusal
	short            time.Duration
}

// met notes what there was no room for in limits of the gateway.
func (l *limited) met(r *limit.Refusal) { l.metBits |= 1 << r.Limit.Of }

// lacks notes what there was no room for in those of a provider.
func (l *limited) lacks(r *pacing.Refusal) { l.lackBit |= 1 << r.Lacks }

// refuse notes that there was none in time.
func (l *limited) refuse(by window.Refusal, retry time.Duration) { l.refused, l.short = by, retry }

// scaled is how many output tokens are reserved where an answer is thought not to exceed so many: it can't exceed what the request allows.
func (x *Exchange) scaled(output int64) int64 {
	factor := x.limited.tuned.Output
	if factor <= 0 || factor == 1 {
		return output
	}
	scaled := int64(math.Ceil(float64(output) * factor))
	if most := x.request.MaxOutput; most > 0 {
		scaled = min(scaled, most)
	}
	return scaled
}

// orElse is a parameter that is 0 where it leaves the matter to something else.
func orElse(v, otherwise float64) float64 {
	if v > 0 {
		return v
	}
	return otherwise
}

// tellLimits says what limits have done to the exchange.
func (x *Exchange) tellLimits(e *window.Exchange, o window.Outcome) {
	l := &x.limited
	e.Limited = window.Limited{Paced: x.pace.waited, Short: l.short, Met: l.metBits, Lacked: l.lackBit, Refused: l.refused}
	if l.metBits != 0 {
		e.Limited.Queued = x.queued - x.pace.waited
	}
	if o == window.OK {
		e.Limited.Guessed = l.guessed && !x.estimated              // where lengths are never told the guess is all there is
		e.Limited.Reserved = int32(min(l.reserved, math.MaxInt32)) //nolint:gosec // bounded
	}
	if l.metBits|l.lackBit != 0 && x.limitsAreTuned(e.Target) {
		e.Shared = true
	}
}

// limitsAreTuned tells whether arms of the route differ in how they keep to limits: as all of them share what the limits hold, what one gets more another gets less.
func (x *Exchange) limitsAreTuned(target string) bool {
	r := x.policy.Routes[x.route.name]
	for arm := range policy.Arms {
		p := r.Of(arm)
		if p.Limits != r.Limits || p.Targets[target].Pace != r.Targets[target].Pace {
			return true
		}
	}
	return false
}

// pacedCounts are attempts at a target by how they fared with its provider's limits: of exchanges that obey the policy in force.
type pacedCounts struct{ attempts, limited, held, episodes atomic.Uint64 }

// PacedCounts are attempts at a target since it was set up: of exchanges that obey the policy in force.
type PacedCounts struct {
	Attempts uint64 // that were sent as what its provider tells of its limits allows; those for which it tells of none, or nothing that makes sense, are not counted
	Limited  uint64 // of them, that were answered by 429
	Held     uint64 // that had to wait until what it tells left room, or were refused as it did not
	Episodes uint64 // of 429s, that began with one of those that are counted
}

// Paced tells how attempts at a target have fared with its provider's limits; false where there is no such target, or the limits are not kept to.
func (p *Proxy) Paced(route, target string) (c PacedCounts, ok bool) {
	s := p.settings.Load()
	r := s.routes.of[s.routes.picks.Route(route)]
	if r == nil {
		return c, false
	}
	for i, t := range r.pick.Targets() {
		if of := r.targets[i]; t.Name() == target && of.base.config.Pacing.Enabled {
			return PacedCounts{of.paced.attempts.Load(), of.paced.limited.Load(), of.paced.held.Load(), of.paced.episodes.Load()}, true
		}
	}
	return c, false
}

// pacedHere are the counts that an attempt belongs to; nil: none.
func (x *Exchange) pacedHere() *pacedCounts {
	if x.routeTarget == nil || x.arm != policy.Treated && x.arm != policy.Control {
		return nil
	}
	return &x.routeTarget.paced
}

// countPaced counts an attempt that was sent, where what its provider tells was kept to.
func (x *Exchange) countPaced() {
	if c := x.pacedHere(); c != nil && x.pace.of != nil && x.pace.turn.Told() && !x.attempt.sent.IsZero() {
		c.attempts.Add(1)
	}
}

// countLimited counts a 429, where what the provider tells was kept to. first: an episode of them has begun with it.
func (x *Exchange) countLimited(first bool) {
	if c := x.pacedHere(); c != nil && x.pace.turn.Told() {
		c.limited.Add(1)
		if first {
			c.episodes.Add(1)
		}
	}
}

// countHeld counts an attempt that there is no room for yet, where that is by what its provider tells.
func (x *Exchange) countHeld(r *pacing.Refusal) {
	if c := x.pacedHere(); c != nil && r.Told {
		c.held.Add(1)
	}
}

// limitsPolicy is what the configuration asks of how a route's exchanges keep to limits. What it leaves at 0 there is nothing to tune of.
func limitsPolicy(c *config.Config, r *config.Route) (l policy.Limits) {
	for _, k := range c.Limits {
		if k.Observe || k.Route != config.ScopeAll && k.Route != config.ScopeEach && k.Route != r.Name {
			continue
		}
		l.Wait = c.Admission.MaxWait.Seconds()
		if k.TokensPerMinute > 0 || k.OutputTokensPerMinute > 0 || k.USDPerMinute+k.USDPerHour+k.USDPerDay+k.USDPerMonth != "" {
			l.Output = 1
		}
	}
	for _, t := range r.Targets {
		p := c.Providers[t.Provider].Pacing
		if !p.Enabled {
			continue
		}
		l.Output = 1 // it may tell of limits of tokens
		switch wait := p.MaxWait.Seconds(); {
		case l.PaceWait == 0:
			l.PaceWait = wait
		case l.PaceWait != wait: // each keeps its own
			l.PaceWait = -1
		}
	}
	l.PaceWait = max(l.PaceWait, 0)
	return l
}

// paceShareOf is the share of the limits of a target's provider that the configuration has used; 0: they are not kept to.
func paceShareOf(c *config.Config, t *config.Target) float64 {
	if p := c.Providers[t.Provider].Pacing; p.Enabled {
		return p.Share
	}
	return 0
}
