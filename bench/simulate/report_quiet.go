package simulate

import "time"

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
)

// interferenceOf compares a quiet day with and without the optimizer. It does harm while it has more violations than the objective allows and than the
// operator's own policy has, or costs more than that.
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
	harm := false
	for from := tuning; from+harmAfter <= s.For; from += harmAfter / 5 {
		n, _, violations, _, cost, _ := with.sum(from, from+harmAfter)
		_, _, usual, _, dear, _ := without.sum(from, from+harmAfter)
		bad := n > 0 && (violations > n*s.Route.Errors && violations > usual || cost > 1.01*dear)
		if bad && !harm {
			i.Harmful++
		}
		harm = bad
	}
	return i
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
