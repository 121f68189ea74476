package optimizer

import (
	"fmt"
	"math"
	"strings"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
)

// Limits is the tuner of how limits are kept to. Reflexes (buckets, pacers, queues, estimates) do that exchange by exchange; it sets what they go by, for each route: how much output
// is reserved, which share of the limits that providers tell of is used, and how long requests wait for room. How many wait is not tuned: a queue takes no more work than can be done in
// the longest wait, so that the number which may wait is a bound on memory alone, and the operator's.
//
// Every rule acts on what is sure, as test martingales have it (see above), and changes one parameter by one step; what is known of it begins anew then. A value that had to be
// given up for a more careful one is not tried again for a day, so that evidence which stays the same leads to one value and not around it.
type Limits struct {
	Longer  float64 `json:"longer"`  // share of the answers that may be longer than what was reserved: with more of them, more is reserved
	Shorter float64 `json:"shorter"` // and with less of them less, where exchanges lack the room meanwhile

	OutputStep float64 `json:"output_step"` // times, that the factor on reserved output changes by
	MinOutput  float64 `json:"min_output"`
	MaxOutput  float64 `json:"max_output"`

	Limited  float64 `json:"limited"`   // share of the attempts that providers may answer by 429
	PaceDown float64 `json:"pace_down"` // by which the used share of their limits is lowered
	PaceUp   float64 `json:"pace_up"`   // and raised
	MinPace  float64 `json:"min_pace"`  // the operator's own may lie outside, and is a bound then
	MaxPace  float64 `json:"max_pace"`

	MinWait time.Duration `json:"min_wait_ns"` // the operator's own may lie outside, and is a bound then
	MaxWait time.Duration `json:"max_wait_ns"` // and the objective for the first token, if that is less

	Lacking float64 `json:"lacking"` // share of the exchanges that must lack room, for more of it to be made
	Met     float64 `json:"met"`     // share of the exchanges that met a limit, from which on room is used up however long one waits
}

// DefaultLimits are the settings of the tuner of limits.
var DefaultLimits = Limits{
	Longer: .15, Shorter: .05, OutputStep: 1.25, MinOutput: .25, MaxOutput: 4,
	Limited: .0005, PaceDown: .02, PaceUp: .005, MinPace: .8, MaxPace: .995,
	MinWait: 100 * time.Millisecond, MaxWait: 10 * time.Second, Lacking: .01, Met: .5,
}

// leastCounted is how many exchanges must have met something before it counts: a single burst is none.
const leastCounted = 3

// Name implements Tuner.
func (Limits) Name() string { return "limits" }

// Owns implements Tuner.
func (Limits) Owns(parameter string) bool {
	return strings.HasPrefix(parameter, "limit_") || strings.HasPrefix(parameter, "pace_") || strings.HasPrefix(parameter, paceShare)
}

// Why implements Untriable. What one part of the traffic reserves or takes of a limit the others have not.
func (Limits) Why() string { return "all arms share what limits hold" }

// Propose implements Tuner. What ends harm goes first: 429s that need not be, and answers that take more than was reserved.
func (t Limits) Propose(e *RouteEvidence) Proposal {
	switch {
	case !saneLimits(&e.InForce) || !saneLimits(&e.Static) || !e.saneEvidence():
		return Proposal{Reason: "the evidence of limits is damaged"}
	case e.Limits == nil && !e.paced():
		return Proposal{Reason: "there are no limits to keep to"}
	}
	var holds []string
	for _, rule := range []func(*RouteEvidence) Proposal{t.usesLess, t.reservesMore, t.waitsShorter, t.reservesLess, t.waitsLonger, t.usesMore} {
		p := rule(e)
		if len(p.Changes) > 0 {
			return p
		}
		if p.Reason != "" {
			holds = append(holds, p.Reason)
		}
	}
	if len(holds) > 0 {
		return Proposal{Reason: strings.Join(holds, "; ")}
	}
	return Proposal{Reason: "limits are kept to as they should be, as far as is known"}
}

// paced tells whether any target has limits of its provider to keep to.
func (e *RouteEvidence) paced() bool {
	for _, target := range e.InForce.Targets {
		if target.Pace > 0 {
			return true
		}
	}
	return false
}

// saneLimits tells whether parameters can be.
func saneLimits(p *policy.Parameters) bool {
	good := func(v float64, name string) bool { return v >= 0 && v <= mostOf(name) }
	for _, target := range p.Targets {
		if !good(target.Pace, paceShare) {
			return false
		}
	}
	return good(p.Limits.Output, limitOutput) && good(p.Limits.Wait, limitWait) && good(p.Limits.PaceWait, paceWait)
}

// saneEvidence tells whether all numbers that count can be: parts are no more than the whole.
func (e *RouteEvidence) saneEvidence() bool {
	const most = 1e15
	within := func(whole float64, parts ...float64) bool {
		for _, v := range parts {
			if !(v >= 0 && v <= whole+1e-6) {
				return false
			}
		}
		return whole >= 0 && whole <= most
	}
	for i := range e.Targets {
		if p := &e.Targets[i].Pace; !within(p.Attempts, p.Limited) || !within(p.Limited, p.Episodes) || !within(most, p.Burst) || !within(most, p.Held) || !within(1, p.TooHigh) {
			return false
		}
	}
	l := e.Limits
	if l == nil {
		return true
	}
	o := &l.Output
	if !within(o.Answers, o.Longer) || !within(o.Exchanges, o.ByOutput, o.ByTokens, o.ByDollars) || !within(most, o.Tokens, o.Used, o.TooLow) {
		return false
	}
	for _, w := range []*Waited{&l.Own, &l.Paced} {
		if !within(w.Exchanges, w.Granted, w.Refused) || !within(w.Granted, w.Late) || !within(w.Refused, w.Vain, w.Near) || !within(most, w.TooLong) {
			return false
		}
	}
	return true
}

// reservesMore has more output reserved where more than Longer of the answers are longer.
func (t Limits) reservesMore(e *RouteEvidence) Proposal {
	now := e.InForce.Limits.Output
	if e.Limits == nil || now <= 0 {
		return Proposal{}
	}
	o := &e.Limits.Output
	if o.Longer < leastCounted || !surelyAbove(o.Longer, o.Answers, t.Longer) {
		return Proposal{}
	}
	to := rounded(min(now*t.OutputStep, t.MaxOutput))
	if to <= now {
		return Proposal{Reason: "answers are longer than what is reserved, which is as much as may be"}
	}
	p := t.reserve(e, now, to, o.share(o.Longer), t.Longer)
	p.Reason += ": more of them are longer than what is reserved than may be, so that limits are overrun"
	p.Urgent = true
	return p
}

// reservesLess has less output reserved where less than Shorter of the answers are longer, and exchanges lack room at a limit where that counts. Else it would change nothing.
func (t Limits) reservesLess(e *RouteEvidence) Proposal {
	now := e.InForce.Limits.Output
	if e.Limits == nil || now <= 0 {
		return Proposal{}
	}
	o := &e.Limits.Output
	lacking := max(o.ByOutput, o.ByTokens, o.ByDollars)
	if lacking < max(leastCounted, t.Lacking*o.Exchanges) || !surelyBelow(o.Longer, o.Answers, t.Shorter) {
		return Proposal{}
	}
	to := rounded(max(now/t.OutputStep, t.MinOutput))
	switch {
	case to >= now:
		return Proposal{Reason: "exchanges lack room at limits, but as little output is reserved as may be"}
	case to <= o.TooLow:
		return Proposal{Reason: fmt.Sprintf("exchanges lack room at limits, but %.4g times the output that is expected has proved to be too little to reserve", to)}
	}
	p := t.reserve(e, now, to, o.share(o.Longer), t.Shorter)
	p.Evidence.Below = true
	p.Reason += fmt.Sprintf(": %.3g times of what comes is reserved, and that keeps others out at limits of %s", o.Tokens/max(o.Used, 1), o.by())
	return p
}

func (t Limits) reserve(e *RouteEvidence, from, to, share, bound float64) Proposal {
	return Proposal{
		Changes: []Change{{limitOutput, from, to}},
		Reason:  fmt.Sprintf("reserve %.4g times the output that answers are thought not to exceed, in place of %.4g", to, from),
		Evidence: analysis.Reason{
			Method: "test martingale", Statistic: "part of the answers that is longer", Value: share, Threshold: bound, Baseline: analysis.Baseline{Count: int(e.Limits.Output.Answers)},
		},
	}
}

func (o *Reserved) share(n float64) float64 { return n / max(o.Answers, 1) }

// by is what most lack room for.
func (o *Reserved) by() string {
	switch most := max(o.ByOutput, o.ByTokens, o.ByDollars); most {
	case o.ByDollars:
		return "dollars"
	case o.ByTokens:
		return "tokens"
	default:
		return "output tokens"
	}
}

// rounded is a factor, and hundredths a number of seconds, as people would set it.
func rounded(v float64) float64    { return math.Round(v*1e4) / 1e4 }
func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

// usesLess lowers the share of a provider's limits that is used, where more than Limited of the attempts are answered by 429 though they were kept to: then it does not allow what it
// tells, or others with the same key use it too.
func (t Limits) usesLess(e *RouteEvidence) (p Proposal) {
	var parts []string
	for i := range e.Targets {
		k := &e.Targets[i]
		now, own := e.InForce.Targets[k.Name].Pace, e.Static.Targets[k.Name].Pace
		hits, outcomes := k.Pace.often()
		if now <= 0 || hits < leastCounted || !surelyAbove(hits, outcomes, t.Limited) {
			continue
		}
		to := rounded(max(now-t.PaceDown, min(t.MinPace, own)))
		if to >= now {
			p.Reason = fmt.Sprintf("the provider of %s refuses more than it tells, but as little of its limits is used as may be", k.Name)
			continue
		}
		if len(parts) == 0 {
			p.Evidence = pacedReason(&k.Pace, t.Limited)
		}
		p.Changes = append(p.Changes, Change{paceShare + k.Name, now, to})
		parts = append(parts, shareText(k.Name, now, to))
	}
	if len(parts) > 0 {
		p.Reason = "use " + strings.Join(parts, ", ") + ": requests are answered by 429 though what it tells is kept to"
		p.Urgent = true
	}
	return p
}

// usesMore raises it, where hardly any are: up to MaxPace where exchanges lack room, and in any case up to the operator's own once it is a day since it was lowered, as whoever else used
// the key may have ceased.
func (t Limits) usesMore(e *RouteEvidence) (p Proposal) {
	var parts, lacking, recovered []string
	for i := range e.Targets {
		k := &e.Targets[i]
		now, own := e.InForce.Targets[k.Name].Pace, e.Static.Targets[k.Name].Pace
		lacks := k.Pace.Held >= max(leastCounted, t.Lacking*k.Pace.Attempts)
		hits, outcomes := k.Pace.seldom()
		if now <= 0 || !lacks && (now >= own || k.Pace.TooHigh > 0) || !surelyBelow(hits, outcomes, t.Limited) {
			continue
		}
		most := own
		if lacks {
			most = max(t.MaxPace, own)
		}
		to := rounded(min(now+t.PaceUp, most))
		if to <= now || k.Pace.TooHigh > 0 && to >= k.Pace.TooHigh {
			continue
		}
		if len(parts) == 0 {
			p.Evidence = pacedReason(&k.Pace, t.Limited)
			p.Evidence.Below = true
		}
		p.Changes = append(p.Changes, Change{paceShare + k.Name, now, to})
		parts = append(parts, shareText(k.Name, now, to))
		if lacks {
			lacking = append(lacking, k.Name)
		} else {
			recovered = append(recovered, k.Name)
		}
	}
	if len(parts) > 0 {
		p.Reason = "use " + strings.Join(parts, ", ") + ": " + moreText(lacking, recovered) + ", and hardly any is answered by 429"
	}
	return p
}

// moreText is why more is used of the targets that lack room, and of those at which it is long ago that this was too much; which is which is told where there are both.
func moreText(lacking, recovered []string) string {
	switch {
	case len(recovered) == 0:
		return "requests lack room there"
	case len(lacking) == 0:
		return "it is long ago that this was too much"
	default:
		return "requests lack room at " + strings.Join(lacking, ", ") + ", it is long ago that this was too much at " + strings.Join(recovered, ", ")
	}
}

func shareText(target string, from, to float64) string {
	return fmt.Sprintf("%.4g %% of the limits that %s tells of in place of %.4g %%", 100*to, target, 100*from)
}

func pacedReason(p *PaceEvidence, bound float64) analysis.Reason {
	return analysis.Reason{
		Method: "test martingale", Statistic: "part of the attempts that is answered by 429", Value: p.Limited / max(p.Attempts, 1), Threshold: bound,
		Baseline: analysis.Baseline{Count: int(p.Attempts)},
	}
}

// waiting is one of the two kinds of waiting.
type waiting struct {
	name    string
	where   string
	now     float64 // seconds
	own     float64 // the operator's
	counted *Waited
}

func (e *RouteEvidence) waits() []waiting {
	if e.Limits == nil {
		return nil
	}
	return []waiting{
		{limitWait, "over a limit", e.InForce.Limits.Wait, e.Static.Limits.Wait, &e.Limits.Own},
		{paceWait, "over a provider's limit", e.InForce.Limits.PaceWait, e.Static.Limits.PaceWait, &e.Limits.Paced},
	}
}

// worth is how many seconds of waiting in vain are as bad as an exchange that is refused: a client has waited for as long as it would at most, and has got nothing.
func (t Limits) worth(e *RouteEvidence) float64 {
	if e.Objective.TTFT > 0 {
		return min(e.Objective.TTFT, t.MaxWait).Seconds()
	}
	return t.MaxWait.Seconds()
}

// waitsShorter shortens the longest wait W to t = W/1.5 where that is sure to be worth it. Of those who wait for longer than t, G get room, and would be refused; V wait in vain, and
// would know W-t sooner. With S as in worth the wait is too long where V (W-t) / S > G: where of those who wait for longer than t the part that does so in vain is above
// 1 / (1 + (W-t)/S), which is more than a half.
func (t Limits) waitsShorter(e *RouteEvidence) Proposal {
	for _, w := range e.waits() {
		to := hundredths(max(w.now/waitStep, min(t.MinWait.Seconds(), w.own)))
		if to <= 0 || to >= w.now || w.counted.Vain < leastCounted {
			continue
		}
		bound, longer := 1/(1+(w.now-to)/t.worth(e)), w.counted.Vain+w.counted.Late
		if !surelyAbove(w.counted.Vain, longer, bound) {
			continue
		}
		p := w.change(to, "most that wait for longer do so in vain")
		p.Evidence = analysis.Reason{Method: "test martingale", Statistic: "part of those who wait longer that does so in vain", Value: w.counted.Vain / longer, Threshold: bound}
		p.Expected.Violations = w.counted.Late / max(w.counted.Exchanges, 1)
		return p
	}
	return Proposal{}
}

// waitsLonger makes the longest wait 1.5 times as long, up to S as in worth, where most of those that are refused are so at once because there will be room only a little later than
// that, and where less than Met of all exchanges meet a limit: else what one gets by waiting another does not.
func (t Limits) waitsLonger(e *RouteEvidence) Proposal {
	for _, w := range e.waits() {
		to, c := hundredths(min(w.now*waitStep, max(t.worth(e), w.now))), w.counted
		if to <= w.now || c.Near < max(leastCounted, t.Lacking*c.Exchanges) || c.Granted+c.Refused > t.Met*c.Exchanges || !surelyAbove(c.Near, c.Refused, .5) {
			continue
		}
		if c.TooLong > 0 && to >= c.TooLong {
			return Proposal{Reason: fmt.Sprintf("most that are refused %s might get room within %s, but most have waited for that long in vain", w.where, config.FormatDuration(seconds(to)))}
		}
		p := w.change(to, "most that are refused might get room by then")
		p.Evidence = analysis.Reason{Method: "test martingale", Statistic: "part of those refused that lacks little time", Value: c.Near / c.Refused, Threshold: .5}
		p.Expected.Violations = -c.Near / max(c.Exchanges, 1)
		return p
	}
	return Proposal{}
}

func (w *waiting) change(to float64, why string) Proposal {
	text := func(v float64) string { return config.FormatDuration(seconds(v)) }
	return Proposal{
		Changes: []Change{{w.name, w.now, to}},
		Reason:  fmt.Sprintf("have requests %s wait for up to %s in place of %s: %s", w.where, text(to), text(w.now), why),
	}
}
