package proxy

import (
	"encoding/binary"
	"math"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
)

// tale is what is remembered of an exchange's way over the targets of its route.
type tale struct {
	first    string // target that was chosen first
	forced   bool   // it was no choice
	repeats  int    // attempts that were given up for another one
	late     bool   // one of them at the bound of the first byte
	hedgeWon bool
}

// choseFirst notes the first choice.
func (t *tale) choseFirst(c *pick.Choice) {
	t.first = c.Target.Name()
	t.forced = c.Why == pick.ByPin || c.Why == pick.LastResort || c.Why == pick.ByFallback || c.Why == pick.ByProbe || c.Why == pick.ByRoom
}

// report tells whoever follows single exchanges what this one came to.
func (x *Exchange) report(now time.Time, o window.Outcome) {
	// In what the cache answers or another exchange has brought no target has a part, and what is fetched anew is no client's.
	if x.route == nil || x.p.ring == nil || x.cache.followed || x.cache.result == cacheRefresh || x.cache.result.pays() {
		return
	}
	e := window.Exchange{
		At: now, Route: x.route.name, Target: x.tale.first, Session: binary.LittleEndian.Uint64(x.session[:]), Class: uint8(x.class), Arm: uint8(x.arm),
		Attempts: uint8(min(x.attempts, math.MaxUint8)), Forced: x.tale.forced, Late: x.tale.late, Hedged: x.hedged, HedgeWon: x.tale.hedgeWon, //nolint:gosec // bounded
		Unpriced: x.unpriced, Expected: int64(x.bodyLen) / defaultBytesPerToken, Input: x.usage.InputTotal(), Output: x.usage.OutputTotal(), CostNanoUSD: int64(x.total), LostNanoUSD: int64(x.lost),
		Shared: x.cache.keep && x.cacheIsTuned(),
	}
	if c := x.policy.Routes[x.route.name].Canary; c != nil && (x.arm == policy.Trial || x.arm == policy.Control) {
		e.Trial = c.Salt
	}
	if x.cache.result == cacheStale {
		o = window.UpstreamError // to the targets it is a failure
	}
	switch o {
	case window.OK:
		e.Rescued = x.tale.repeats > 0
	case window.ClientError, window.Canceled:
	default:
		e.Failed, e.Violation = true, true
	}
	if o == window.OK && !x.isStream() {
		e.Wait = now.Sub(x.start) - x.waitedForOwn()
	}
	if x.request.Stream {
		begun := x.attempt.content
		if !begun.IsZero() {
			e.Wait = begun.Sub(x.start) - x.waitedForOwn()
		}
		if slo := x.route.config.Objective.TTFTp95; slo > 0 {
			waited := e.Wait
			if begun.IsZero() && o == window.Canceled { // it may have left because it had to wait
				waited = now.Sub(x.start) - x.waitedForOwn()
			}
			e.Violation = e.Violation || waited > slo
		}
		if n := e.Output; n > 1 && o == window.OK && x.attempts == 1 && !begun.IsZero() {
			e.PerToken = now.Sub(begun) / time.Duration(n-1)
		}
	}
	x.tellLimits(&e, o)
	x.p.ring.Put(&e)
}

// waitedForOwn is how long the exchange has waited for limits of the gateway, which is no target's doing.
func (x *Exchange) waitedForOwn() time.Duration { return max(x.queued-x.pace.waited, 0) }
