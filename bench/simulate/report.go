package simulate

import (
	"time"
)

// Kinds of cases in a report.
const (
	Incidents = "incidents" // generated, or from files
	Quiet     = "quiet"     // days on which nothing happens
	Traces    = "traces"    // recorded traffic
)

// Case is a scenario of a report.
type Case struct {
	Kind     string
	Scenario *Scenario
}

// Plan is what a report runs.
type Plan struct {
	Cases       []Case
	Mitigations []*Scenario // each with one incident, at the target that gets most
	Seeds       int         // of each case; a quiet day has one
	Policies    []string    // beside those that the figures need
	Static      bool        // look for the best static mixes, but in traces, which takes most of the time
	Progress    func(done, of int)
}

// Report is what came of a plan.
type Report struct {
	Machine     string       `json:"machine"`
	Commit      string       `json:"commit"`
	Command     string       `json:"command"`
	Started     time.Time    `json:"started"`
	Seconds     float64      `json:"seconds"`
	Seeds       int          `json:"seeds"`
	Figures     []Figure     `json:"figures"`
	Tables      []Table      `json:"tables"`
	Scenarios   []CaseResult `json:"scenarios"`
	Mitigations []Mitigation `json:"mitigations"`
	Quiet       Interference `json:"quiet"`
	Notes       []string     `json:"notes"`
}

// CaseResult is what the policies made of a case, means over its seeds.
type CaseResult struct {
	Name     string           `json:"name"`
	Kind     string           `json:"kind"`
	Requests float64          `json:"requests"`
	Budget   float64          `json:"budget"` // share of the exchanges that may violate the objective
	Policies map[string]Score `json:"policies"`
	Static   map[string]int   `json:"static_found"` // seeds for which a static mix has no more violations, by kind of mix
	pairs    []pair
}

// Score is what a policy made of it.
type Score struct {
	Cost       float64 `json:"cost_usd_per_1k"`
	Violations float64 `json:"violations"` // share of the exchanges
	Failed     float64 `json:"failed"`     // the same
	Ejections  float64 `json:"ejections"`
	Decisions  float64 `json:"decisions"`        // that changed something
	Tuned      float64 `json:"tuned_usd_per_1k"` // cost after the first ten minutes
	Mix        string  `json:"mix,omitempty"`
}

// pair is a case with one seed.
type pair struct {
	of       int // case
	requests float64
	scores   map[string]Score
	quiet    Interference
}

func scoreOf(r *Run) Score {
	n := float64(max(r.Exchanges, 1))
	s := Score{Cost: 1000 * r.Cost / n, Violations: float64(r.Violations) / n, Failed: float64(r.Failed) / n, Decisions: float64(len(r.applied))}
	for _, e := range r.Ejections {
		s.Ejections += float64(e)
	}
	if n, _, _, _, cost, _ := r.sum(tuned, time.Duration(len(r.seconds))*time.Second); n > 0 {
		s.Tuned = 1000 * cost / n
	}
	return s
}

// tuned is when a route's first tuning is over.
const tuned = 10 * time.Minute

// leastMitigations are the seeds that a mitigation is measured with at least.
const leastMitigations = 20

// Policies of a report: the optimizer, the proxy without it, the ablations, the re-implemented baselines, and what knows everything in advance.
var (
	ablations = []string{Production, RoutingOnly, NoEjection, NoAffinity, NoChance}
	baselines = []string{"shuffle", "least-busy", "lowest-latency", "lowest-cost", "p2c-ewma", Consecutive}
)

// policiesOf are those that run in a case.
func policiesOf(kind string, more []string) []string {
	list := []string{Optimized, Production, Clairvoyant}
	if kind != Quiet {
		list = append(append(list, ablations[1:]...), baselines...)
	}
	return append(list, more...)
}

// Judge runs a plan. The result depends on nothing but the plan.
func Judge(p *Plan) (*Report, error) {
	r := &Report{Seeds: p.Seeds, Started: time.Now().UTC()}
	type job struct{ at, seed int }
	var jobs []job
	for i, c := range p.Cases {
		r.Scenarios = append(r.Scenarios, CaseResult{Name: c.Scenario.Name, Kind: c.Kind, Budget: c.Scenario.Route.Errors})
		seeds := p.Seeds
		if c.Kind == Quiet {
			seeds = 1
		}
		r.Scenarios[i].pairs = make([]pair, seeds)
		for seed := range seeds {
			jobs = append(jobs, job{i, seed})
		}
	}
	done := make(chan struct{})
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for n := 1; ; n++ {
			if _, more := <-done; !more {
				return
			}
			if p.Progress != nil {
				p.Progress(n, len(jobs)+len(p.Mitigations))
			}
		}
	}()
	err := each(len(jobs), func(i int) error {
		j := jobs[i]
		one, err := p.play(j.at, uint64(j.seed)+1)
		r.Scenarios[j.at].pairs[j.seed] = one
		done <- struct{}{}
		return err
	})
	for _, s := range p.Mitigations {
		if err != nil {
			break
		}
		var m Mitigation
		m, err = mitigate(s, max(p.Seeds, leastMitigations))
		r.Mitigations = append(r.Mitigations, m)
		done <- struct{}{}
	}
	close(done)
	<-counted
	if err != nil {
		return nil, err
	}
	r.conclude(p)
	r.Seconds = time.Since(r.Started).Seconds()
	return r, nil
}

// play runs all policies of a case with one seed.
func (p *Plan) play(at int, seed uint64) (pair, error) {
	c := &p.Cases[at]
	one := pair{of: at, scores: map[string]Score{}}
	runs := map[string]*Run{}
	for _, name := range policiesOf(c.Kind, p.Policies) {
		if _, known := one.scores[name]; known {
			continue
		}
		run, err := playOne(c.Scenario, name, seed, nil)
		if err != nil {
			return one, err
		}
		one.requests, one.scores[name] = float64(run.Exchanges), scoreOf(run)
		if c.Kind == Quiet && (name == Optimized || name == Production) {
			runs[name] = run
		}
	}
	if c.Kind == Quiet {
		one.quiet = interferenceOf(c.Scenario, runs[Optimized], runs[Production])
	}
	if p.Static && c.Kind != Traces {
		for name, prefix := range staticMixes {
			if best := newSearch(c.Scenario, seed, prefix, one.scores[Optimized].Violations).run(); best.found {
				one.scores[name] = best.score
			}
		}
	}
	return one, nil
}

// playOne is one run of a scenario; a nil run without error where it has passed the limits.
func playOne(s *Scenario, policy string, seed uint64, l *limits) (*Run, error) {
	maker, err := makerOf(policy, len(s.Targets))
	if err != nil {
		return nil, err
	}
	w := newWorld(s, seed, newRun(s, policy, seed))
	w.strategy, w.limits = maker(w), l
	switch err := w.play(); {
	case err == errPassed: //nolint:errorlint // it is never wrapped
		return nil, nil //nolint:nilnil // as said
	case err != nil:
		return nil, err
	}
	w.result.finish()
	return w.result, nil
}
