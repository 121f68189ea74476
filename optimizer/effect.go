package optimizer

import (
	"fmt"
	"math"
	"time"
)

// Measured is what a decision has changed, from when it was marked (see [Proof.Mark]) to the next one or to now: how much more an exchange comes to than in
// the hold-back, less how much that was under the decision before. The operator's own settings, before the first decision, are the hold-back's: that
// difference is 0 and need not be measured. What obeyed a trial counts for neither: before, that was this decision's own, and after, that of the next one.
type Measured struct {
	Decision   string    `json:"decision"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Treated    uint64    `json:"treated"` // exchanges under it
	Holdback   uint64    `json:"holdback"`
	Missing    string    `json:"missing,omitempty"` // why nothing is known; the estimates are not then
	Cost       Estimate  `json:"cost_usd"`          // per exchange, below 0: cheaper
	Relative   Estimate  `json:"relative"`          // the same, as a part of what an exchange would have cost without the decision
	Violations Estimate  `json:"violations"`        // share of the exchanges
	Wait       Estimate  `json:"wait_s"`            // of those that waited
}

// Effect is what a decision about a route has changed so far.
func (p *Proof) Effect(route, decision string) Measured {
	m := Measured{Decision: decision}
	r := p.routes[route]
	at := -1
	if r != nil && decision != "" {
		for i, s := range r.spans {
			if s.decision == decision && !s.mixed {
				at = i
				break
			}
		}
	}
	if at < 0 {
		m.Missing = "the decision is not known, or not any more"
		return m
	}
	after := *r.spans[at] // without what was on trial meanwhile
	for _, s := range r.spans[at+1:] {
		if s.decision != decision || s.mixed {
			break
		}
		after.merge(s)
	}
	m.From, m.To = after.from, after.to
	m.Treated, m.Holdback = uint64(after.total(treated).n), uint64(after.total(holdback).n)
	if m.Missing = after.missing(); m.Missing != "" {
		return m
	}
	m.Cost, _ = after.amount(costOf)
	m.Violations = after.share(violationsOf)
	m.Wait, _ = after.amount(waitOf)
	if m.Missing = r.lessBefore(&m, at); m.Missing != "" {
		m.Cost, m.Violations, m.Wait = Estimate{}, Estimate{}, Estimate{}
		return m
	}
	side := after.side(treated)
	m.Relative = part(m.Cost, side.Cost)
	return m
}

// lessBefore takes what the decision before had changed off what the one whose first span is at has.
func (r *routeProof) lessBefore(m *Measured, at int) (missing string) {
	var before *span
	for i := at - 1; i >= 0; i-- {
		s := r.spans[i]
		if s.mixed {
			if before == nil {
				return "what was before the decision is not known any more"
			}
			break
		}
		if before == nil {
			if s.decision == "" {
				return ""
			}
			sum := *s
			before = &sum
			continue
		}
		if s.decision != before.decision {
			break
		}
		before.merge(s)
	}
	if before == nil {
		return ""
	}
	if missing := before.missing(); missing != "" {
		return "before the decision, " + missing
	}
	cost, _ := before.amount(costOf)
	wait, _ := before.amount(waitOf)
	m.Cost, m.Violations, m.Wait = less(m.Cost, cost), less(m.Violations, before.share(violationsOf)), less(m.Wait, wait)
	return ""
}

// less is the difference of two independent estimates; not known where one of them is not.
func less(a, b Estimate) Estimate {
	if !a.Known || !b.Known {
		return Estimate{}
	}
	return a.plus(b.times(-1))
}

// Against compares with what was expected of the decision, in words.
func (m *Measured) Against(expected Effect) string {
	s := expected.String()
	if m.Missing != "" {
		return s + "; not enough data yet: " + m.Missing
	}
	s += "; measured "
	if m.Relative.Known {
		half := 50 * (m.Relative.High - m.Relative.Low)
		digits := digitsOfPercent(min(100*math.Abs(m.Relative.Value), half))
		s += fmt.Sprintf("cost %s %% ± %.*f, ", signed(100*m.Relative.Value, digits), digits, half)
	}
	return s + fmt.Sprintf("violations %s %% ± %.2f, wait %s ms ± %.0f", signed(100*m.Violations.Value, 2), 50*(m.Violations.High-m.Violations.Low),
		signed(1000*m.Wait.Value, 0), 500*(m.Wait.High-m.Wait.Low))
}
