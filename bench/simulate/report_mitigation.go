package simulate

import (
	"slices"
	"time"
)

// Mitigation is how long the traffic of a target that has an incident took to go elsewhere.
type Mitigation struct {
	Name   string    `json:"name"`
	Policy string    `json:"policy"`
	Times  []float64 `json:"times_s"` // by seed, ascending
	Median float64   `json:"median_s"`
	P90    float64   `json:"p90_s"`
	Low    float64   `json:"low_s"` // of the median, 95 %
	High   float64   `json:"high_s"`
}

const (
	mitigated   = .1              // of the share that the target had before, to which it must have come down
	staysDown   = 5 * time.Second // on average over
	shareBefore = time.Minute     // over which the share before is measured
)

// mitigate runs a scenario whose first event is the incident.
func mitigate(s *Scenario, seeds int) (Mitigation, error) {
	m := Mitigation{Name: s.Name, Policy: Optimized, Times: make([]float64, seeds)}
	err := each(seeds, func(i int) error {
		run, err := playOne(s, m.Policy, uint64(i)+1, nil)
		if err == nil {
			m.Times[i] = run.mitigated(s).Seconds()
		}
		return err
	})
	if err != nil {
		return m, err
	}
	groups := [][]int{}
	for i := range m.Times {
		groups = append(groups, []int{i})
	}
	m.Low, m.High = bootstrap(groups, func(of []int) float64 {
		times := make([]float64, len(of))
		for k, i := range of {
			times[k] = m.Times[i]
		}
		return median(times)
	})
	slices.Sort(m.Times)
	m.Median, m.P90 = m.Times[seeds/2], m.Times[min(seeds-1, seeds*9/10)]
	return m, nil
}

// mitigated is the time from the first event until its target's share of the attempts is down; the event's length where it never is.
func (r *Run) mitigated(s *Scenario) time.Duration {
	e := &s.Events[0]
	share := func(from, to time.Duration) float64 {
		_, _, _, all, _, by := r.sum(from, to)
		return by[e.Target] / max(all, 1)
	}
	before := share(e.At-shareBefore, e.At)
	for at := time.Second; e.At+at+staysDown <= e.end(s.For); at += time.Second {
		if share(e.At+at, e.At+at+staysDown) <= mitigated*before {
			return at
		}
	}
	return e.end(s.For) - e.At
}
