package optimizer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/learn"
)

// Routing is the tuner of the shares of targets: the cheapest mix that keeps the objective, by linear programme, for each class.
type Routing struct {
	MinShare, MaxShare float64 // of each target, where there are enough targets
	Confidence         float64 // with which violations are bounded from above
	MinCount           float64 // exchanges that a target must have served before it is judged
	MinSaving          float64 // part of the cost that a change must save
}

// DefaultRouting are the routing tuner's settings.
var DefaultRouting = Routing{MinShare: 1e-4, MaxShare: 1 - 1e-4, Confidence: .8, MinCount: 20, MinSaving: .01}

// Name implements Tuner.
func (Routing) Name() string { return "routing" }

// Owns implements Tuner.
func (Routing) Owns(parameter string) bool { return strings.HasPrefix(parameter, "weights/") }

// mix is a linear programme over the shares of targets by class, of those that take traffic.
type mix struct {
	e       *RouteEvidence
	open    []int // targets that may be chosen
	now     [classes][]float64
	cost    [classes][]float64
	mean    [classes][]float64 // rate of violations
	upper   [classes][]float64
	traffic [classes]float64 // part of the exchanges
	fixed   [classes]float64 // share of what is away, which stays
	total   [classes]float64 // of the weights in force
	budget  [classes]float64 // violations that are allowed; 0: any
}

// Propose implements Tuner.
func (t Routing) Propose(e *RouteEvidence) Proposal {
	t = t.under(e.Pressure)
	m, why := t.mixOf(e)
	if why != "" {
		return Proposal{Reason: why}
	}
	shares, violating, err := t.solve(m)
	switch {
	case errors.Is(err, errLimits):
		return Proposal{Reason: t.impossible(m)}
	case err != nil:
		return Proposal{Reason: "no mix can be computed: " + err.Error()}
	case violating && !m.broken():
		return Proposal{Reason: t.obstacle(m)}
	}
	return t.propose(m, shares, violating)
}

// mixOf reads the evidence; why says what keeps it from being judged.
func (t Routing) mixOf(e *RouteEvidence) (m *mix, why string) {
	m = &mix{e: e}
	rate := 0.
	for c := range e.Classes {
		rate += e.Classes[c].Rate
	}
	if rate == 0 {
		return nil, "no traffic"
	}
	for i := range e.Targets {
		k := &e.Targets[i]
		static := e.Static.Targets[k.Name]
		if static.Weights == [classes]float64{} {
			continue // an operator wants nothing sent there
		}
		if !k.Usual {
			for c := range m.fixed {
				m.fixed[c] += e.InForce.Targets[k.Name].Weights[c]
			}
			continue
		}
		m.open = append(m.open, i)
	}
	if len(m.open) < 2 {
		return nil, "fewer than two targets take traffic as usual"
	}
	for c := range m.now {
		total := 0.
		for i := range e.Targets {
			total += e.InForce.Targets[e.Targets[i].Name].Weights[c]
		}
		if total <= 0 {
			return nil, "no target has a weight"
		}
		m.fixed[c] /= total
		m.total[c] = total
		m.traffic[c] = e.Classes[c].Rate / rate
		for _, i := range m.open {
			m.now[c] = append(m.now[c], e.InForce.Targets[e.Targets[i].Name].Weights[c]/total/max(1-m.fixed[c], 1e-9))
		}
	}
	if why = t.judge(m); why == "" {
		m.pool()
		m.allow()
	}
	return m, why
}

// slack is how many more of the exchanges may fail than with the operator's settings, where those state no objective.
const slack = .005

// allow says how many violations there may be: as the objective has it, or where there is none, hardly more than with the operator's own mix.
func (m *mix) allow() {
	for c := range m.budget {
		if m.budget[c] = m.e.Objective.Violations; m.budget[c] > 0 {
			continue
		}
		total := 0.
		for i, at := range m.open {
			w := m.e.Static.Targets[m.e.Targets[at].Name].Weights[c]
			m.budget[c] += w * m.upper[c][i]
			total += w
		}
		if total > 0 {
			m.budget[c] = m.budget[c]/total + slack
		}
	}
}

// innocent is how many exchanges within the objective each target is believed to have served, with half of the violations that it allows: steps are
// small and reflexes fast, so that a target need not prove itself first.
const innocent = 100

// pooled is how many exchanges of a class what the target does to all classes counts as.
const pooled = 100

// judge fills in what each target would cost, and how often it would violate the objective.
func (t Routing) judge(m *mix) (why string) {
	for _, i := range m.open {
		k := &m.e.Targets[i]
		var all learn.Arm
		for c := range k.Cells {
			all.Bad, all.Good = all.Bad+k.Cells[c].Violations, all.Good+k.Cells[c].Count-k.Cells[c].Violations
		}
		count := all.Bad + all.Good
		if count < t.MinCount {
			return fmt.Sprintf("%s has served %.0f exchanges as usual, %.0f are needed", k.Name, count, t.MinCount)
		}
		prior := learn.Arm{Bad: innocent * m.e.Objective.Violations / 2, Good: innocent * (1 - m.e.Objective.Violations/2)}
		all.Bad, all.Good = all.Bad+prior.Bad, all.Good+prior.Good
		mean := all.Bad / (all.Bad + all.Good)
		doubt := max(0, learn.Arm{Bad: all.Bad - 1, Good: all.Good - 1}.Upper(1-t.Confidence)-mean)
		for c := range m.cost {
			cost, known := m.e.Cost(i, c)
			if !known {
				unit, n := 0., 0.
				for o := range k.Cells {
					if u := k.Cells[o].Unit; u > 0 {
						unit, n = unit+u, n+1
					}
				}
				if n == 0 {
					return fmt.Sprintf("what %s costs is not known", k.Name)
				}
				cost = unit / n * work(m.e.Classes[c].Input, m.e.Classes[c].Output)
			}
			own := (k.Cells[c].Violations + pooled*mean) / (k.Cells[c].Count + pooled)
			m.cost[c], m.mean[c], m.upper[c] = append(m.cost[c], cost), append(m.mean[c], own), append(m.upper[c], min(own+doubt, 1))
		}
	}
	return ""
}

// propose makes a proposal of shares, or a hold where they are not worth a change.
func (t Routing) propose(m *mix, shares [classes][]float64, violating bool) Proposal {
	p := Proposal{}
	before, after, badBefore, badAfter, variance := 0., 0., 0., 0., 0.
	from, to := -1, -1 // targets that lose and gain most, over all classes
	lost, gained := 0., 0.
	moved := make([]float64, len(m.open))
	for c := range shares {
		if m.e.Classes[c].Rate == 0 {
			continue // nothing is known of what it would cost
		}
		for i, share := range shares[c] {
			name := m.e.Targets[m.open[i]].Name
			before, after = before+m.traffic[c]*m.now[c][i]*m.cost[c][i], after+m.traffic[c]*share*m.cost[c][i]
			badBefore, badAfter = badBefore+m.traffic[c]*m.now[c][i]*m.mean[c][i], badAfter+m.traffic[c]*share*m.mean[c][i]
			moved[i] += m.traffic[c] * (share - m.now[c][i])
			part := m.traffic[c] * (share - m.now[c][i])
			variance += part * part * m.mean[c][i] * (1 - m.mean[c][i]) / (m.e.Targets[m.open[i]].Cells[c].Count + pooled)
			weight := m.e.InForce.Targets[name].Weights[c]
			next := round(share * (1 - m.fixed[c]))
			if t.low(m, c, i) > 0 {
				next = max(next, finest) // what an operator wants used stays in use
			}
			if next *= m.total[c]; math.Abs(next-weight) > .001*m.total[c] || weight == 0 && next > 0 {
				p.Changes = append(p.Changes, Change{weightName(name, c), weight, next})
			}
		}
	}
	for i, d := range moved {
		if d < lost {
			lost, from = d, i
		}
		if d > gained {
			gained, to = d, i
		}
	}
	if before <= 0 || from < 0 || to < 0 {
		return Proposal{Reason: "the mix is as it should be"}
	}
	p.Expected = Effect{Cost: after - before, Relative: (after - before) / before, Violations: badAfter - badBefore}
	budget := m.e.Objective.Violations
	overloaded, broken := m.overloaded(), m.broken() && badAfter < badBefore
	p.Urgent = overloaded || broken // else a target that was just given too much goes out before it is relieved
	saves, heals := !violating && -p.Expected.Relative >= t.MinSaving, overloaded || broken && badBefore-badAfter > max(budget/10, surely*math.Sqrt(variance))
	p.Evidence = analysis.Reason{
		Method: "linear programme", Statistic: "part of the cost that is saved", Value: -p.Expected.Relative, Threshold: t.MinSaving,
		Effect:   fmt.Sprintf("violations %.3g %% -> %.3g %%", 100*badBefore, 100*badAfter),
		Baseline: analysis.Baseline{Count: int(m.counted()), Level: before},
	}
	dear, poor := m.dear(before) && !m.dear(after), m.poor(m.now) && !m.poor(shares)
	astray := !violating && m.uneven(m.now)-m.uneven(shares) > astray
	if !saves && !heals && !dear && !poor && !astray {
		return Proposal{Reason: "no mix is enough of a gain", Evidence: p.Evidence, Expected: p.Expected}
	}
	what := fmt.Sprintf("move %.0f %%", 100*m.together(moved, to, p.Changes))
	if c, one := onlyClass(p.Changes); one {
		for i := range moved {
			moved[i] = shares[c][i] - m.now[c][i]
		}
		what = fmt.Sprintf("move %.0f %% of the %s exchanges", 100*m.together(moved, to, p.Changes), classNames[c])
	}
	what += fmt.Sprintf(" from %s to %s: ", m.those(moved, from, p.Changes), m.those(moved, to, p.Changes))
	switch {
	case violating:
		p.Reason = what + "no mix keeps the objective, this one comes closest"
	case saves:
		p.Reason = what + m.e.Pressure.aim()
	case dear:
		p.Reason = what + fmt.Sprintf("the mix in force costs %s per 1,000 exchanges, at most %s are allowed", formatDollars(1000*before), formatDollars(m.e.Objective.MaxCost))
	case poor:
		p.Reason = what + fmt.Sprintf("the mix in force is below the quality of %.3g that is asked for", m.e.Objective.Quality)
	case overloaded:
		p.Reason = what + "a target gets more than it takes"
	case !heals:
		p.Reason = what + "targets that are alike share by your weights again"
	default:
		p.Reason = what + "the mix in force may break the objective"
	}
	if !saves && broken {
		p.Evidence.Method, p.Evidence.Statistic = "normal approximation, 95 %", "lower bound of the violations"
		p.Evidence.Value, p.Evidence.Threshold = m.breaking(), budget
	}
	for _, at := range []int{from, to} {
		if k := &m.e.Targets[m.open[at]]; k.Regime != nil {
			p.Reason += fmt.Sprintf("; at %s %s's %s", k.Regime.At.UTC().Format("15:04:05"), k.Name, k.Regime)
		}
	}
	return p
}

// onlyClass is the class whose weights change, where it is one alone.
func onlyClass(changes []Change) (class int, one bool) {
	class = -1
	for _, c := range changes {
		if _, of, ok := cutWeight(c.Name); ok && class >= 0 && of != class {
			return 0, false
		} else if ok {
			class = of
		}
	}
	return class, class >= 0
}

// broken tells whether the mix in force breaks the objective, with 95 % confidence.
func (m *mix) broken() bool {
	budget := m.e.Objective.Violations
	return budget > 0 && m.breaking() > budget
}

// breaking is the lower 95 % bound of the violations with the mix in force.
func (m *mix) breaking() float64 {
	rate, variance := 0., 0.
	for c := range m.now {
		for i, at := range m.open {
			k := &m.e.Targets[at].Cells[c]
			if k.Count == 0 {
				continue
			}
			w, p := m.traffic[c]*m.now[c][i], k.Violations/k.Count
			rate, variance = rate+w*p, variance+w*w*(p*(1-p)+1/(k.Count+1))/k.Count
		}
	}
	return rate - surely*math.Sqrt(variance)
}

// overloaded tells whether a target gets more than it takes.
func (m *mix) overloaded() bool {
	for _, i := range m.open {
		if k := &m.e.Targets[i]; k.Capacity > 0 && k.Rate > k.Capacity && k.Slowness >= crowded {
			return true
		}
	}
	return false
}

// crowded is the slowness from which on a target is relieved, whatever that costs.
const crowded = 1.5

func (m *mix) counted() (n float64) {
	for _, i := range m.open {
		for c := range m.e.Targets[i].Cells {
			n += m.e.Targets[i].Cells[c].Count
		}
	}
	return n
}

// finest is what weights are rounded to, as parts of all.
const finest = 1e-4

// round keeps weights readable.
func round(share float64) float64 { return math.Round(share/finest) / (1 / finest) }
