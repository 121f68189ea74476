package simulate

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"
)

// Outcome is what a policy made of a scenario.
type Outcome struct {
	Policy   string    `json:"policy"`
	Runs     []*Run    `json:"runs"`
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Verdict is whether an expectation was met.
type Verdict struct {
	Expect string  `json:"expect"`
	Got    float64 `json:"got"`
	OK     bool    `json:"ok"`
}

// Play runs a scenario with each of the policies and each of its seeds.
func Play(s *Scenario, policies []string, seeds int) ([]Outcome, error) {
	if seeds <= 0 {
		seeds = s.Seeds
	}
	var outcomes []Outcome
	for _, name := range policies {
		maker, err := makerOf(name, len(s.Targets))
		if err != nil {
			return nil, err
		}
		o := Outcome{Policy: name, Runs: make([]*Run, seeds)}
		errs := each(seeds, func(i int) error {
			w := newWorld(s, uint64(i)+1, newRun(s, name, uint64(i)+1))
			w.strategy = maker(w)
			o.Runs[i] = w.result
			if err := w.play(); err != nil {
				return err
			}
			w.result.finish()
			return nil
		})
		if errs != nil {
			return nil, errs
		}
		o.judge(s)
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// each runs one for 0 to n-1 on all cores.
func each(n int, one func(i int) error) error {
	var wg sync.WaitGroup
	next := make(chan int)
	errs := make([]error, n)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = one(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// judge compares with what is expected: over a whole run the mean over the seeds, in a part of it the median.
func (o *Outcome) judge(s *Scenario) {
	for i := range s.Expects {
		e := &s.Expects[i]
		from, to := time.Duration(0), s.For
		if e.Timed {
			from, to = e.Of+e.Within, e.until(s)
		}
		values := make([]float64, 0, len(o.Runs))
		mean := 0.
		for _, r := range o.Runs {
			v := r.value(e, from, to)
			values = append(values, v)
			mean += v / float64(len(o.Runs))
		}
		got := mean
		if e.Timed {
			got = median(values)
		}
		o.Verdicts = append(o.Verdicts, Verdict{e.Text, got, e.holds(got)})
	}
}

// until is the end of the event that begins where the expectation counts from, or of the run.
func (e *Expectation) until(s *Scenario) time.Duration {
	end := s.For
	for i := range s.Events {
		if v := &s.Events[i]; v.At == e.Of {
			end = min(end, v.end(s.For))
		} else if v.At > e.Of {
			end = min(end, v.At)
		}
	}
	for i := range s.Steps {
		if t := &s.Steps[i]; t.At > e.Of {
			end = min(end, t.At)
		} else if t.For > 0 && t.At+t.For > e.Of {
			end = min(end, t.At+t.For)
		}
	}
	return max(end, e.Of+e.Within+time.Second)
}

// OK tells whether all expectations were met.
func (o *Outcome) OK() bool {
	for _, v := range o.Verdicts {
		if !v.OK {
			return false
		}
	}
	return true
}

// Print writes a table of the outcomes, and what became of the expectations.
func Print(out io.Writer, s *Scenario, outcomes []Outcome) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %v, %d seeds\n\n", s.Name, s.For, len(outcomes[0].Runs))
	fmt.Fprint(w, "policy\trequests\tfailed\tviolations\t$/1k\tTTFT p50\tp95\tp99\tejections")
	for i := range s.Targets {
		fmt.Fprintf(w, "\t%s", s.Targets[i].Name)
	}
	fmt.Fprintln(w)
	for _, o := range outcomes {
		n := float64(len(o.Runs))
		var exchanges, failed, violations, cost, p50, p95, p99, ejections, attempts float64
		shares := make([]float64, len(s.Targets))
		for _, r := range o.Runs {
			exchanges, failed, violations, cost = exchanges+float64(r.Exchanges), failed+float64(r.Failed), violations+float64(r.Violations), cost+r.Cost
			p50, p95, p99 = p50+r.P50/n, p95+r.P95/n, p99+r.P99/n
			for i, a := range r.Attempts {
				shares[i] += float64(a)
				attempts += float64(a)
				ejections += float64(r.Ejections[i]) / n
			}
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.3f%%\t%.2f%%\t%.3f\t%.2fs\t%.2fs\t%.2fs\t%.1f", o.Policy, exchanges/n, 100*failed/max(exchanges, 1), 100*violations/max(exchanges, 1),
			1000*cost/max(exchanges, 1), p50, p95, p99, ejections)
		for _, a := range shares {
			fmt.Fprintf(w, "\t%.1f%%", 100*a/max(attempts, 1))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := printLimits(out, outcomes); err != nil {
		return err
	}
	for _, o := range outcomes {
		for i, v := range o.Verdicts {
			if i == 0 {
				fmt.Fprintf(w, "\n%s\n", o.Policy)
			}
			word := "met"
			if !v.OK {
				word = "NOT MET"
			}
			fmt.Fprintf(w, "  %s\t%s\tgot %.4g\n", v.Expect, word, v.Got)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printSavings(out, outcomes)
}
