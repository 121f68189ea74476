package optimizer

import (
	"fmt"
	"math"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/learn"
)

// Timeouts is the tuner of what is done beside a first attempt: how many exchanges may be hedged, after how long an attempt is given up and repeated elsewhere,
// and how many repetitions there may be. It weighs what that was measured to cost against the violations that it was measured to avoid, and changes one
// parameter at a time, so that the effect can be told.
type Timeouts struct {
	MinAge    time.Duration // that the parameters in force must have stood: longer than a decision may take to be carried out
	MinCount  float64       // exchanges that must have obeyed them
	MinEvents float64       // hedges, repetitions or given up attempts, of the kind in question
	MinGain   float64       // part of the cost
	// Weight is what violations are as bad as, as a part of the cost, where there are as many as the objective allows; it goes with the square of their number.
	Weight float64
	Step   float64 // a parameter becomes at most this many times greater or smaller

	RetryShare, FirstByteFactor, HedgeShare Range

	// MayHedge and MayGiveUp tell whether hedges and learned bounds may begin where the operator has set 0.
	MayHedge, MayGiveUp bool
}

// Range is what a parameter may become. The operator's own setting may lie outside, and is a bound then.
type Range struct{ Low, High float64 }

// DefaultTimeouts are the settings of the tuner of timeouts. The lowest share of hedges is above 0, so that what they are worth stays known.
var DefaultTimeouts = Timeouts{
	MinAge: 10 * time.Minute, MinCount: 2000, MinEvents: 40, MinGain: .005, Weight: .5, Step: 2,
	RetryShare: Range{.02, .5}, FirstByteFactor: Range{1.5, 10}, HedgeShare: Range{.005, .1},
}

const (
	surely         = 1.645 // standard errors of a one-sided bound with 95 % confidence
	bindingFrom    = .75   // part of a budget in use, from which on more of it would be used
	firstHedges    = .01   // share of hedges to begin with
	giveUpCost     = 1     // exchanges that an attempt which is given up may cost, or a repetition
	mostGivenUp    = .005  // of a target's good answers: more would look like failures of the target
	gentler        = 1.5   // times as long, where giving up does not pay
	worthRepeats   = .5    // of the repetitions that must rescue, before there are more
	wasteRepeats   = .2    // and below which there are fewer
	leastObjective = 1e-6  // violations allowed, as a part of the exchanges: squares stay finite
	fewViolations  = 5     // that a change must avoid before it is believed
)

// Name implements Tuner.
func (Timeouts) Name() string { return "timeouts" }

// Owns implements Tuner.
func (Timeouts) Owns(parameter string) bool {
	return parameter == "retry_share" || parameter == "first_byte_factor" || parameter == "hedge_share"
}

// option is one change, and what it is expected to do.
type option struct {
	Change
	reason     string
	gain       float64 // part of the cost
	cost       float64 // the same: what is paid more
	violations float64 // part of the exchanges
	why        analysis.Reason
}

// Propose implements Tuner.
func (t Timeouts) Propose(e *RouteEvidence) Proposal {
	a := &e.Attempts
	switch {
	case !sane(e):
		return Proposal{Reason: "the evidence of attempts is damaged"}
	case e.Objective.Violations <= 0:
		return Proposal{Reason: "without an objective for violations, avoiding them has no price"}
	case a.Age < t.MinAge:
		return Proposal{Reason: "bounds of attempts were changed a short while ago"}
	case a.Count < t.MinCount:
		return Proposal{Reason: "too few exchanges have obeyed the bounds of attempts in force"}
	case a.Cost <= 0:
		return Proposal{Reason: "what exchanges cost is not known"}
	}
	var best *option
	for _, o := range []*option{t.hedges(e), t.firstByte(e), t.retries(e)} {
		if o != nil && o.gain >= t.MinGain && (best == nil || o.gain > best.gain) {
			best = o
		}
	}
	if best == nil {
		return Proposal{Reason: "hedges, learned bounds and repetitions are worth what they cost"}
	}
	before := a.Violations / a.Count
	if best.why.Method == "" {
		best.why = analysis.Reason{Method: "measured cost and violations", Statistic: "gain as a part of the cost", Value: best.gain, Threshold: t.MinGain}
	}
	best.why.Effect = fmt.Sprintf("violations %.3g %% -> %.3g %%", 100*before, 100*max(0, before+best.violations))
	best.why.Baseline = analysis.Baseline{Count: int(a.Count), Level: before}
	return Proposal{
		Changes: []Change{best.Change}, Reason: best.reason, Evidence: best.why,
		Expected: Effect{Cost: best.cost * a.Cost / a.Count, Relative: best.cost, Violations: best.violations},
	}
}

// sane tells whether all numbers that count are finite, and none is below 0 that cannot be.
func sane(e *RouteEvidence) bool {
	a := &e.Attempts
	const most = 1e15 // squares and products of such numbers are finite
	for _, v := range []float64{
		a.Count, a.Violations, a.Cost, a.Repeated, a.Rescued, a.Refused, a.Late, a.LateKept, a.Hedged, a.Lost, a.Saved, a.Doubt, a.Hedgeable,
		e.InForce.RetryShare, e.InForce.FirstByteFactor, e.InForce.HedgeShare, e.Static.RetryShare, e.Static.FirstByteFactor, e.Static.HedgeShare, e.Objective.Violations,
	} {
		if !(v >= 0 && v <= most) {
			return false
		}
	}
	for i := range a.Deadlines {
		if d := &a.Deadlines[i]; !(d.Factor > 0 && d.Factor <= most && d.Late >= 0 && d.Late <= most && d.Most >= 0 && math.Abs(d.Violations) <= most) {
			return false
		}
	}
	return a.Violations <= a.Count && a.Rescued <= a.Repeated && a.LateKept <= a.Late && a.Lost <= a.Cost
}

// avoided is what it is worth, as a part of the cost, that violations are fewer by some exchanges; below 0: more.
func (t Timeouts) avoided(e *RouteEvidence, exchanges float64) float64 {
	a := &e.Attempts
	square := func(v float64) float64 {
		part := min(max(v, 0)/a.Count, 1) / max(e.Objective.Violations, leastObjective)
		return part * part
	}
	return t.Weight * (square(a.Violations) - square(a.Violations-exchanges))
}

// within brings a value into a range that the operator's own setting extends.
func (r Range) within(v, static float64) float64 {
	const readable = 2000 // such parts: a goal that wavers would be another goal each time
	if static <= 0 {      // that turns something off, and bounds nothing
		static = r.Low
	}
	return min(max(math.Round(v*readable)/readable, min(r.Low, static)), max(r.High, static))
}

// hedges judges hedge_share by what hedges have cost and saved.
func (t Timeouts) hedges(e *RouteEvidence) *option {
	a, share := &e.Attempts, e.InForce.HedgeShare
	o := &option{Change: Change{Name: "hedge_share", From: share}}
	switch {
	case !t.MayHedge && e.Static.HedgeShare <= 0, share <= 0 && (e.Static.HedgeShare > 0 || a.Hedgeable < fewViolations): // somebody has turned hedges off
		return nil
	case share <= 0:
		saved := max(0, a.Hedgeable-surely*math.Sqrt(a.Hedgeable)) * min(1, firstHedges/.03) // late is who is later than 97 of 100
		o.To, o.cost, o.violations = t.HedgeShare.within(firstHedges, firstHedges), firstHedges, -saved/a.Count
		o.gain = t.avoided(e, saved) - o.cost
		o.reason = "begin to hedge: second attempts would have kept late exchanges within the objective"
		return o
	}
	if a.Hedged < t.MinEvents {
		return nil
	}
	lost := a.Lost / a.Cost
	used := max(a.Hedged/a.Count, lost)
	if used >= bindingFrom*share {
		o.To = t.HedgeShare.within(share*t.Step, e.Static.HedgeShare)
		more := o.To/share - 1
		saved := min(max(0, a.Saved-surely*a.Doubt)*more, a.Hedgeable)
		o.cost, o.violations = lost*more, -saved/a.Count
		o.gain = t.avoided(e, saved) - o.cost
		o.reason = fmt.Sprintf("hedge up to %.3g %% of the exchanges in place of %.3g %%: hedges are used up, and the violations they avoid are worth more than they cost", 100*o.To, 100*share)
		if o.To > share && o.gain >= t.MinGain {
			return o
		}
	}
	o.To = t.HedgeShare.within(min(share, used)/t.Step, e.Static.HedgeShare)
	if o.To >= share {
		return nil
	}
	less := 1 - min(1, o.To/min(share, used))
	o.cost, o.violations = -lost*less, less*a.Saved/a.Count
	o.gain = t.avoided(e, -less*(a.Saved+surely*a.Doubt)) - o.cost
	o.reason = fmt.Sprintf("hedge up to %.3g %% of the exchanges in place of %.3g %%: the violations that hedges avoid are not worth what they cost", 100*o.To, 100*share)
	return o
}

// firstByte judges first_byte_factor: by what attempts that were given up have come to, and by what an earlier bound would have done to what was seen.
func (t Timeouts) firstByte(e *RouteEvidence) *option {
	a, factor := &e.Attempts, e.InForce.FirstByteFactor
	o := &option{Change: Change{Name: "first_byte_factor", From: factor}}
	static := e.Static.FirstByteFactor
	if !t.MayGiveUp && static <= 0 || factor <= 0 && static > 0 { // somebody has turned learned bounds off
		return nil
	}
	goal := 0.
	for i := range a.Deadlines {
		d := &a.Deadlines[i]
		if factor > 0 && d.Factor >= factor || d.Factor != t.FirstByteFactor.within(d.Factor, static) {
			continue
		}
		if gain, _, _ := t.earlier(e, d); gain > o.gain {
			goal, o.gain = d.Factor, gain
		}
	}
	if o.gain >= t.MinGain {
		if o.To = goal; factor > 0 {
			o.To = max(goal, factor/t.Step)
		}
		for i := range a.Deadlines { // a step on the way does what the next later bound does at least
			if d := &a.Deadlines[i]; d.Factor >= o.To {
				_, o.cost, o.violations = t.earlier(e, d)
				break
			}
		}
		o.reason = fmt.Sprintf("give attempts up after %.3g times the 99th percentile, and then after %.3g: answers that come later come too late, and another target would have been in time", o.To, goal)
		if o.To == goal {
			o.reason = fmt.Sprintf("give attempts up after %.3g times the 99th percentile: answers that come later come too late, and another target would have been in time", goal)
		}
		return o
	}
	if factor <= 0 || a.Late < t.MinEvents {
		return nil
	}
	o.To = t.FirstByteFactor.within(factor*min(gentler, t.Step), static)
	if o.To <= factor {
		return nil
	}
	const fewer = .5 // of what is given up
	kept := fewer * (a.LateKept + surely*math.Sqrt(a.LateKept))
	o.cost, o.violations = -fewer*giveUpCost*a.Late/a.Count, fewer*a.LateKept/a.Count
	o.gain = t.avoided(e, -kept) - o.cost
	o.reason = fmt.Sprintf("give attempts up after %.3g times the 99th percentile in place of %.3g: few of those that were given up have kept the objective by it", o.To, factor)
	return o
}

// earlier is what an earlier bound is worth, what it costs more and by how much violations change; nothing where that is not sure.
func (t Timeouts) earlier(e *RouteEvidence, d *Deadline) (gain, cost, violations float64) {
	a := &e.Attempts
	if d.Most > mostGivenUp || -d.Violations < fewViolations {
		return 0, 0, 0
	}
	saved := min(-d.Violations-surely*math.Sqrt(-d.Violations), a.Violations)
	cost = giveUpCost * max(0, d.Late-a.Late) / a.Count
	return t.avoided(e, saved) - cost, cost, -saved / a.Count
}

// retries judges retry_share by how many repetitions rescue their exchange, and how many more could have.
func (t Timeouts) retries(e *RouteEvidence) *option {
	a, share, static := &e.Attempts, e.InForce.RetryShare, e.Static.RetryShare
	o := &option{Change: Change{Name: "retry_share", From: share}}
	low := 1 - learn.Arm{Bad: a.Repeated - a.Rescued, Good: a.Rescued}.Upper(.05)
	high := learn.Arm{Bad: a.Rescued, Good: a.Repeated - a.Rescued}.Upper(.05)
	rescues := analysis.Reason{Method: "beta posterior, 95 %", Statistic: "part of the repetitions that rescue", Value: high, Threshold: wasteRepeats, Below: true}
	switch {
	case share <= 0:
		return nil
	case a.Repeated < t.MinEvents && share < static:
		o.To, o.gain = min(share*t.Step, static), t.MinGain
		o.why = analysis.Reason{Method: "count", Statistic: "repetitions", Value: a.Repeated, Threshold: t.MinEvents, Below: true}
		o.reason = fmt.Sprintf("repeat up to %.3g %% of the exchanges under way in place of %.3g %%: repetitions are rare again", 100*o.To, 100*share)
	case a.Repeated < t.MinEvents:
		return nil
	case high < wasteRepeats:
		if o.To = t.RetryShare.within(share/t.Step, static); o.To >= share {
			return nil
		}
		o.cost, o.violations, o.why = -a.Repeated/2/a.Count, a.Rescued/2/a.Count, rescues
		o.gain = max(-o.cost, t.MinGain) // of load: providers rarely charge for failures
		o.reason = fmt.Sprintf("repeat up to %.3g %% of the exchanges under way in place of %.3g %%: few repetitions rescue one, and all of them are load", 100*o.To, 100*share)
	case low > worthRepeats && a.Refused >= fewViolations:
		if o.To = t.RetryShare.within(share*t.Step, static); o.To <= share {
			return nil
		}
		saved := min(a.Refused*low, a.Violations)
		o.cost, o.violations = giveUpCost*a.Refused/a.Count, -saved/a.Count
		o.gain = t.avoided(e, saved) - o.cost
		o.reason = fmt.Sprintf("repeat up to %.3g %% of the exchanges under way in place of %.3g %%: repetitions rescue most exchanges, and some were refused", 100*o.To, 100*share)
	case low > worthRepeats && share < static:
		rescues.Value, rescues.Threshold, rescues.Below = low, worthRepeats, false
		o.To, o.gain, o.why = min(share*t.Step, static), t.MinGain, rescues
		o.reason = fmt.Sprintf("repeat up to %.3g %% of the exchanges under way in place of %.3g %%: repetitions rescue again", 100*o.To, 100*share)
	default:
		return nil
	}
	return o
}
