package optimizer

import (
	"time"

	"llm-auto-optimizer/config"
)

// reviews are how long after a decision its effect is told, if it is known by then.
var reviews = [...]time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// verify tells what decisions in force have done, and puts a route back to the operator's own settings where the optimizer does harm.
// over tells that the route is put back, so that nothing else is to be done in this cycle. A route that is frozen is left as it is.
func (l *Loop) verify(now time.Time, r *routeLoop, c *change, frozen string) (decisions []Decision, over bool) {
	if share := c.known.Holdback; share != r.share {
		if r.held {
			l.Proof.Reset(r.name, now, "the hold-back was made another one")
		}
		r.share, r.held = share, share > 0
	}
	if !r.held {
		return nil, false
	}
	if h := l.Proof.Harm(r.name, now); h.Harmful && frozen == "" {
		return l.stopHarm(now, r, c, h), true
	}
	for _, d := range l.orders.Made {
		if d.Route != r.name || d.Reviewed >= len(reviews) || now.Sub(d.At) < reviews[d.Reviewed] {
			continue
		}
		for d.Reviewed < len(reviews) && now.Sub(d.At) >= reviews[d.Reviewed] {
			d.Reviewed++
		}
		m := l.Proof.Effect(r.name, d.ID)
		if m.Missing != "" {
			continue
		}
		v := *d
		v.At, v.Verdict, v.Why, v.Measured = now, Verified, m.Against(d.Expected), &m
		decisions = append(decisions, v)
	}
	return decisions, false
}

// harmHeld is how long tuners only observe that have done harm.
const harmHeld = 24 * time.Hour

// stopHarm undoes what was tuned of a route, and has its tuners observe.
func (l *Loop) stopHarm(now time.Time, r *routeLoop, c *change, h Harm) []Decision {
	d := Decision{At: now, Route: r.name, Tuner: "loop", Verdict: RolledBack, Expires: now.Add(harmHeld)}
	d.Changes = Differences(&c.next, &c.known.Static)
	d.Reason = "back to the operator's own settings, and its tuners observe for " + config.FormatDuration(harmHeld)
	d.Why = "the hold-back is better off: " + h.Reason.String()
	d.Proposal.Evidence = h.Reason
	c.next, c.changed, c.canary = c.known.Static, true, nil
	c.commits = append(c.commits, func() {
		for _, t := range l.tuners {
			if l.allowed(r.name, t.Name()) >= Canary {
				l.orders.setMode(Standing{Route: r.name, Tuner: t.Name(), Mode: Observe, By: "the optimizer", Why: d.Why, Until: d.Expires})
			}
		}
		r.trial, r.parked = nil, nil
		clear(r.goals)
		clear(r.ramps)
		l.orders.forget(r.name)
		l.Proof.Reset(r.name, now, "it did harm")
	})
	return []Decision{d}
}
