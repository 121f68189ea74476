package simulate

import (
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/proxy/limit"
)

// Provider is a simulated provider with limits for the gateway's key, which its targets share.
type Provider struct {
	Name  string
	Quota sim.Quota
}

// Caller is a client of the gateway.
type Caller struct {
	Name     string
	Load     float64 // its requests, in proportion to those of others
	Limits   []limit.Limit
	Priority int
}

// Step is a change of limits or of traffic.
type Step struct {
	At       time.Duration
	For      time.Duration // 0: to the end
	What     string        // quota, load, rate
	Provider int           // of a quota
	Caller   int           // of a load
	Quota    sim.Quota
	Value    float64 // times the load, or requests a second
	line     int
}

// covers tells whether the step is in force.
func (s *Step) covers(at time.Duration) bool {
	return at >= s.At && (s.For == 0 || at < s.At+s.For)
}

// noProvider is that of a target without one.
const noProvider = -1

// rate is how many requests a second come at a moment, of each caller.
func (s *Scenario) rate(at time.Duration) (all float64, of []float64) {
	all = s.Traffic.Rate
	for i := range s.Steps {
		if t := &s.Steps[i]; t.What == "rate" && t.covers(at) {
			all = t.Value
		}
	}
	if len(s.Callers) == 0 {
		return all, []float64{all}
	}
	sum := 0.
	for i := range s.Callers {
		of = append(of, s.Callers[i].Load)
		sum += s.Callers[i].Load
	}
	for i := range s.Steps {
		if t := &s.Steps[i]; t.What == "load" && t.covers(at) {
			of[t.Caller] *= t.Value
		}
	}
	unit := all / sum
	all = 0
	for i := range of {
		of[i] *= unit
		all += of[i]
	}
	return all, of
}

// nextStep is when something changes after at, or the end of the run.
func (s *Scenario) nextStep(at time.Duration) time.Duration {
	next := s.For
	for i := range s.Steps {
		t := &s.Steps[i]
		for _, edge := range []time.Duration{t.At, t.At + t.For} {
			if edge > at {
				next = min(next, edge)
			}
		}
	}
	return next
}
