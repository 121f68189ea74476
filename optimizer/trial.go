package optimizer

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
)

// Trials is how changes are tried on part of the traffic, beside a control that is as large.
type Trials struct {
	Stages     []float64     // shares of the sessions, rising, at most a half
	Least      time.Duration // of a stage
	Requests   float64       // that each of the two must have had in a stage, ten of a session at most
	Longest    time.Duration // of a trial; then it is rolled back
	Harm       float64       // e-value of harm from which on it is rolled back
	Failures   float64       // share of exchanges that may fail more often, at most, at a half of the traffic; with less traffic more in proportion
	Violations float64       // the same of violations of the objective
	Cost       float64       // times what was planned, from which on it is rolled back
}

// DefaultTrials are the settings of trials.
var DefaultTrials = Trials{
	Stages: []float64{.01, .05, .25, .5}, Least: 2 * time.Minute, Requests: 300, Longest: 24 * time.Hour, Harm: 100, Failures: .003, Violations: .005, Cost: 1.25,
}

// urgentStage is the share from which on a change is tried that ends harm.
const urgentStage = .25

// trial is a change that is tried.
type trial struct {
	Trials
	decision Decision
	salt     uint64
	next     policy.Parameters
	began    time.Time
	stepped  time.Time // when the share was last raised
	stage    int
	stageAt  time.Time // when its share was reached
	share    float64
	paused   bool
	fails    sessionHarm
	violates sessionHarm
	over     *sessionBet // against the objective being kept; nil: there is none
	arms     [2]armSums  // control, trial; of the whole trial
	before   [2]float64  // exchanges that counted at the begin of the stage
	sessions trialSessions
}

// TrialReport is how a trial is doing.
type TrialReport struct {
	Decision   string     `json:"decision"`
	Share      float64    `json:"share"`                      // of the sessions
	Exchanges  [2]float64 `json:"exchanges"`                  // control, trial
	Sessions   [2]float64 `json:"sessions"`                   // that they are of
	Failures   [2]float64 `json:"failures"`                   // shares of a session's exchanges, in the mean of the sessions
	Violations [2]float64 `json:"violations"`                 // the same
	Harm       [2]float64 `json:"log_e_value"`                // of failures and of violations: natural logarithms of the e-values of harm
	Cost       float64    `json:"cost_ratio,omitempty"`       // of the trial to the control, per token of work; 0: not known
	CostError  float64    `json:"cost_ratio_error,omitempty"` // half of its 95 % interval
}

// String is the report as part of a sentence.
func (r *TrialReport) String() string {
	of := ""
	if r.Sessions[1] > 0 && r.Sessions != r.Exchanges {
		of = fmt.Sprintf(", of %.0f sessions against %.0f", r.Sessions[1], r.Sessions[0])
	}
	s := fmt.Sprintf("at %.3g %% of the sessions %.0f exchanges against %.0f%s: failures %.2f %% against %.2f %%, violations %.2f %% against %.2f %%",
		100*r.Share, r.Exchanges[1], r.Exchanges[0], of, 100*r.Failures[1], 100*r.Failures[0], 100*r.Violations[1], 100*r.Violations[0])
	if r.Cost > 0 {
		s += fmt.Sprintf(", cost %s ± %.1f %%", signed(100*(r.Cost-1), 1), 100*r.CostError)
	}
	return s
}

func (t *trial) report() *TrialReport {
	r := &TrialReport{Decision: t.decision.ID, Share: t.share, Harm: [2]float64{t.fails.Log(), t.violates.Log()}}
	for i := range t.arms {
		a := &t.arms[i]
		r.Exchanges[i], r.Sessions[i] = a.exchanges, a.sessions
		r.Failures[i], r.Violations[i] = a.failed/max(a.sessions, 1), a.violated/max(a.sessions, 1)
	}
	if ratio, se, ok := t.ratio(); ok {
		r.Cost, r.CostError = ratio, student*se
	}
	return r
}

// begin starts a trial of a decision.
func (l *Loop) begin(now time.Time, r *routeLoop, c *change, d Decision) Decision {
	next, err := apply(c.next, d.Changes)
	if err != nil {
		d.Verdict, d.Why = Refused, err.Error()
		return d
	}
	d.ID, d.Verdict, d.Expires = l.nextID(), Trying, now.Add(l.settings.Trials.Longest)
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d", r.name, d.ID, now.UnixNano())
	t := &trial{Trials: l.settings.Trials, decision: d, salt: h.Sum64(), next: next, began: now, stepped: now, stageAt: now, sessions: newTrialSessions()}
	t.decision.Evidence, t.decision.Settings, t.decision.Guard, t.decision.Bounds = nil, nil, nil, nil
	if d.Urgent {
		for t.stage < len(t.Stages)-1 && t.Stages[t.stage] < urgentStage {
			t.stage++
		}
	}
	t.share = t.Stages[t.stage]
	if v := c.known.Objective.Violations; v > 0 {
		t.over = newSessionBet(v)
	}
	d.Trial = t.report()
	c.canary, c.changed = t.canary(), true
	c.commits = append(c.commits, func() {
		r.trial = t
		l.guard(now, r, d.Tuner).note(now, &d.Proposal)
	})
	return d
}

func (t *trial) canary() *policy.Canary {
	return &policy.Canary{Parameters: t.next, Share: t.share, Salt: t.salt}
}

// stepTrial judges the trial of a route.
// Where the route is frozen the trial stays as it is, unless it does harm.
func (l *Loop) stepTrial(now time.Time, r *routeLoop, c *change, frozen string) []Decision {
	t := r.trial
	if t == nil {
		if c.canary != nil { // of a run before, or of somebody who is no more
			c.canary, c.changed = nil, true
		}
		return nil
	}
	if c.known.Canary == nil || c.known.Canary.Salt != t.salt {
		r.trial = nil
		return []Decision{t.decided(now, RolledBack, "somebody else has changed the policy")}
	}
	t.settle(now)
	t.paused = r.unsettled(c.known, t.decision.Changes) != ""
	c.canary = t.canary() // also where it could not be published the last time
	if l.mode(r.name, t.decision.Tuner) < Canary {
		return []Decision{l.endTrial(now, r, c, RolledBack, "the tuner's mode does not allow it any more")}
	}
	if why := t.harmful(now); why != "" {
		return []Decision{l.endTrial(now, r, c, RolledBack, why)}
	}
	dt := now.Sub(t.stepped)
	t.stepped = now
	switch {
	case t.paused, frozen != "":
		t.stageAt = now // learning waits, and the stage begins anew
	case t.share < t.Stages[t.stage]:
		far := distance(&c.next, t.decision.Changes)
		g := l.guard(now, r, t.decision.Tuner)
		rise := g.Step * g.elapsed(dt)
		if far > 0 {
			rise /= far
		}
		t.share = min(t.Stages[t.stage], t.share+rise)
		t.stageAt = now
		t.before = [2]float64{t.arms[0].counted, t.arms[1].counted}
		c.canary, c.changed = t.canary(), true
	case !t.passed(now, c.known.Objective.Violations):
	case t.stage < len(t.Stages)-1:
		t.stage++
		return []Decision{t.decided(now, Trying, fmt.Sprintf("no harm at %.3g %%, on to %.3g %%", 100*t.share, 100*t.Stages[t.stage]))}
	case t.worthless():
		return []Decision{l.endTrial(now, r, c, RolledBack, "it does not save what it was to save")}
	case !t.pays():
	default:
		return []Decision{l.endTrial(now, r, c, Promoted, "no harm at a half of the traffic")}
	}
	return nil
}

// decided is what becomes of the trial's decision.
func (t *trial) decided(now time.Time, v Verdict, why string) Decision {
	d := t.decision
	d.At, d.Verdict, d.Why, d.Trial = now, v, why, t.report()
	return d
}

// unsettled says why what happens says nothing of changes: a target that they are about is out; empty: it does.
func (r *routeLoop) unsettled(k *Known, changes []Change) string {
	for _, t := range k.Targets {
		if _, parked := r.parked[t.Name]; t.Available || t.Returning || parked {
			continue
		}
		for _, c := range changes {
			if target, _, ok := cutWeight(c.Name); ok && target == t.Name {
				return t.Name + " is out: what is tried now would say nothing"
			}
		}
	}
	return ""
}

// giveUp ends the trial for what is no fault of the change: it may be tried again.
func (l *Loop) giveUp(now time.Time, r *routeLoop, c *change, why string) Decision {
	d := r.trial.decided(now, RolledBack, why)
	c.canary, c.changed = nil, true
	c.commits = append(c.commits, func() { r.trial = nil })
	return d
}

// endTrial puts the change in force, or gives it up.
func (l *Loop) endTrial(now time.Time, r *routeLoop, c *change, v Verdict, why string) Decision {
	t := r.trial
	d := t.decided(now, v, why)
	c.canary, c.changed = nil, true
	if v != Promoted {
		c.commits = append(c.commits, func() {
			r.trial = nil
			r.backOff(now, t.decision.Tuner, t.decision.Changes, "it was rolled back: "+why)
		})
		return d
	}
	half := make([]Change, 0, len(d.Changes))
	for _, ch := range d.Changes { // the traffic stays as it is: half of it had the change already
		if isWeight(ch.Name) {
			ch.To = ch.From + t.share*(ch.To-ch.From)
		}
		half = append(half, ch)
	}
	next, err := apply(c.next, half)
	if err != nil {
		d.Verdict, d.Why = RolledBack, err.Error()
		c.commits = append(c.commits, func() { r.trial = nil })
		return d
	}
	c.next = next
	c.commits = append(c.commits, func() {
		r.trial = nil
		delete(r.backed, d.Tuner)
		r.goals[d.Tuner] = &goal{ID: d.ID, At: now, Moved: now, Changes: d.Changes}
		l.made(now, &d)
	})
	return d
}

// plainHarm is how many sessions' exchanges of the trial must have failed before twice as many as in the control, and two points more, are believed: of changes that do no
// harm where one exchange of a hundred fails, that gives up one in fifty, though somebody looks every ten seconds.
const plainHarm = 6

// harmful says why the trial is to be given up; empty: it may go on.
func (t *trial) harmful(now time.Time) string {
	control, tried := &t.arms[0], &t.arms[1]
	limit := math.Log(t.Harm)
	switch r := t.report(); {
	case t.fails.Log() >= limit:
		return fmt.Sprintf("more failures than in the control (log e-value %.1f > %.1f)", t.fails.Log(), limit)
	case t.violates.Log() >= limit && (t.over == nil || t.over.Log() >= limit):
		return fmt.Sprintf("more violations than in the control (log e-value %.1f > %.1f)", t.violates.Log(), limit)
	case tried.sessions >= 50 && control.sessions >= 50 && r.Failures[1] >= 2*r.Failures[0] && r.Failures[1] >= r.Failures[0]+.02 && tried.failed >= plainHarm:
		return fmt.Sprintf("failures are %.1f %% against %.1f %%", 100*r.Failures[1], 100*r.Failures[0])
	case r.Cost > 0 && r.Cost-r.CostError > t.Cost*(1+t.decision.Expected.Relative):
		return fmt.Sprintf("cost is %s %% in place of %s %%", signed(100*(r.Cost-1), 1), signed(100*t.decision.Expected.Relative, 1))
	case now.After(t.decision.Expires):
		return "it came to no end in " + config.FormatDuration(t.Longest)
	}
	return ""
}

// passed tells whether a stage has shown that the next one does little harm at most: the more traffic has the change, the surer that must be.
func (t *trial) passed(now time.Time, objective float64) bool {
	control, tried := &t.arms[0], &t.arms[1]
	if now.Sub(t.stageAt) < t.Least || control.counted-t.before[0] < t.Requests || tried.counted-t.before[1] < t.Requests {
		return false
	}
	room := t.Stages[len(t.Stages)-1] / t.share
	if excess(tried.failed, tried.sessions, control.failed, control.sessions) > t.Failures*room {
		return false
	}
	within := excess(tried.violated, tried.sessions, 0, 0) <= objective
	return within || excess(tried.violated, tried.sessions, control.violated, control.sessions) <= t.Violations*room
}

// excess is the upper 95 % bound of how much larger one share is than another, by the adjusted Wald interval (Agresti and Caffo, The American
// Statistician 2000); of the share itself where there is no other. Of sessions that are bad in part it is wider than it need be.
func excess(bad, n, bad0, n0 float64) float64 {
	const z = 1.645
	p := (bad + 1) / (n + 2)
	variance := p * (1 - p) / (n + 2)
	if n0 > 0 {
		q := (bad0 + 1) / (n0 + 2)
		p, variance = p-q, variance+q*(1-q)/(n0+2)
	}
	return p + z*math.Sqrt(variance)
}

// pays tells whether the trial saves a quarter at least of what it was to save.
func (t *trial) pays() bool {
	planned := t.decision.Expected.Relative
	if planned >= 0 || t.decision.Urgent {
		return true
	}
	ratio, _, ok := t.ratio()
	return ok && ratio <= 1+planned/4
}

// worthless tells whether that has become certain enough.
func (t *trial) worthless() bool {
	ratio, se, ok := t.ratio()
	return !t.pays() && (ok && ratio-student*se > 1+t.decision.Expected.Relative/4 || t.arms[1].counted > 20*t.Requests)
}

// backOff keeps a tuner from trying again what has failed.
type backOff struct {
	why        string
	until      time.Time
	directions map[string]float64
	times      int
}

const (
	backOffFirst = time.Hour
	backOffLast  = 24 * time.Hour
)

// backOff has a tuner wait before it tries the like again, twice as long each time.
func (r *routeLoop) backOff(now time.Time, tuner string, changes []Change, why string) {
	b := r.backed[tuner]
	if b == nil {
		b = &backOff{}
		r.backed[tuner] = b
	}
	wait := min(backOffFirst<<min(b.times, 8), backOffLast)
	b.times++
	b.why, b.until, b.directions = why, now.Add(wait), directions(changes)
}
