package simulate

import (
	"math"
	"time"
)

// Interference is what a policy did on quiet days, where nothing was to be done.
type Interference struct {
	Days      float64 `json:"days"`
	Decisions float64 `json:"decisions"` // that changed something, after the first hour
	Ejections float64 `json:"ejections"` // of healthy targets, after the first hour
	Harmful   float64 `json:"harmful"`   // stretches of harm that lasted longer than five minutes
}

const (
	tuning    = time.Hour       // after which the mix is to be left alone
	harmAfter = 5 * time.Minute // that harm may last
	harmEvery = time.Minute     // at which it is looked for
	// byChance is the log-likelihood ratio from which on violations are no chance. Five minutes in which as many are to be expected as the objective allows are beyond
	// it once in six years, and so a hundred days of windows of all lengths once in ten times.
	byChance = 12
)

// harmLooks are the lengths of time that are looked at: a short one shows what is grossly wrong, a long one what is a little wrong for long. The last is the whole day.
func harmLooks(s *Scenario) []time.Duration {
	return []time.Duration{harmAfter, time.Hour, s.For - tuning}
}

// interferenceOf compares a quiet day with and without the optimizer. It does harm while it has more violations than the objective allows and than the
// operator's own policy has, or costs more than that. A mix that keeps the objective exactly has more in every other five minutes, by chance: what counts is beyond that.
func interferenceOf(s *Scenario, with, without *Run) (i Interference) {
	i.Days = (s.For - tuning).Hours() / 24
	for _, at := range with.applied {
		if at >= tuning {
			i.Decisions++
		}
	}
	for _, e := range with.ejects {
		if e.at >= tuning {
			i.Ejections++
		}
	}
	harm := make([]bool, max(0, (s.For-tuning)/harmEvery)+1)
	for _, length := range harmLooks(s) {
		for from := tuning; length > 0 && from+length <= s.For; from += harmEvery {
			if !harmful(s, with, without, from, from+length) {
				continue
			}
			for at := (from - tuning) / harmEvery; at < (from+length-tuning)/harmEvery; at++ {
				harm[at] = true
			}
		}
	}
	for at := range harm {
		if harm[at] && (at == 0 || !harm[at-1]) {
			i.Harmful++
		}
	}
	return i
}

// harmful tells whether the optimizer has done harm from one time to another.
func harmful(s *Scenario, with, without *Run, from, to time.Duration) bool {
	n, _, violations, _, cost, _ := with.sum(from, to)
	_, _, usual, _, dear, _ := without.sum(from, to)
	if n > 0 && cost > 1.01*dear {
		return true
	}
	allowed := n * s.Route.Errors
	return violations > allowed && violations > usual && (allowed == 0 || violations*math.Log(violations/allowed)-violations+allowed > byChance)
}

func (i *Interference) add(o *Interference) {
	i.Days, i.Decisions, i.Ejections, i.Harmful = i.Days+o.Days, i.Decisions+o.Decisions, i.Ejections+o.Ejections, i.Harmful+o.Harmful
}

// most is how many requests a second a generated quiet day has: about a million.
const mostQuiet = 11.6

// QuietDay is a generated scenario without its incidents, a day long. Where it has more requests than a million, it has as many less as its targets take less.
func QuietDay(s *Scenario) *Scenario {
	q := *s
	q.Events, q.Expects, q.For, q.Seeds = nil, nil, 24*time.Hour, 1
	if part := mostQuiet / q.Traffic.Rate; part < 1 {
		q.Traffic.Rate *= part
		q.Targets = append([]Target(nil), s.Targets...)
		for i := range q.Targets {
			if n := &q.Targets[i].Concurrency; *n > 0 {
				*n = max(1, int(float64(*n)*part))
			}
		}
	}
	return &q
}
