package simulate

import (
	"math"
	"slices"
	"time"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/pick"
)

// Run is what came of one run.
type Run struct {
	Policy     string  `json:"policy"`
	Seed       uint64  `json:"seed"`
	Exchanges  int     `json:"exchanges"`
	Failed     int     `json:"failed"`
	Violations int     `json:"violations"` // failed, or first content later than the objective
	Attempts   []int   `json:"attempts"`   // by target
	Ejections  []int   `json:"ejections"`  // by target
	Hedged     int     `json:"hedged"`
	Cost       float64 `json:"cost_usd"`
	P50        float64 `json:"ttft_p50_s"`
	P95        float64 `json:"ttft_p95_s"`
	P99        float64 `json:"ttft_p99_s"`

	Decisions []string           `json:"decisions,omitempty"`
	Savings   *optimizer.Savings `json:"savings,omitempty"` // what the hold-back says that the optimizer has saved

	Limits  []LimitRun  `json:"limits,omitempty"`  // of providers
	Callers []CallerRun `json:"callers,omitempty"` // where limits are kept
	Waits   *Waits      `json:"waits,omitempty"`   // likewise

	proof *optimizer.Proof
	wait  float64 // seconds, of those that were served

	times   histogram
	seconds []second
	ejects  []ejection
	applied []time.Duration // decisions that changed something
}

// second is what happened in one second: exchanges by their arrival, attempts by their start.
type second struct {
	exchanges, failed, violations int32
	cost                          float32
	attempts                      [pick.MaxTargets / 8]int32 // of the first targets
}

type ejection struct {
	at     time.Duration
	target int
}

// detailed is how many targets have their attempts counted by the second.
const detailed = pick.MaxTargets / 8

func newRun(s *Scenario, policy string, seed uint64) *Run {
	r := &Run{
		Policy: policy, Seed: seed, Attempts: make([]int, len(s.Targets)), Ejections: make([]int, len(s.Targets)),
		seconds: make([]second, int(s.For/time.Second)+1),
	}
	r.prepareLimits(s)
	return r
}

func (r *Run) second(at time.Duration) *second {
	return &r.seconds[min(int(at/time.Second), len(r.seconds)-1)]
}

func (r *Run) attempt(w *world, target int) {
	r.Attempts[target]++
	if target < detailed {
		r.second(w.now).attempts[target]++
	}
}

func (r *Run) ejected(w *world, target int) {
	r.Ejections[target]++
	r.ejects = append(r.ejects, ejection{w.now, target})
}

func (r *Run) served(w *world, q *request, a *attempt) {
	took := a.answered - q.at
	r.times.add(took.Seconds())
	r.wait += took.Seconds()
	if slo := w.Route.SLO; slo > 0 && took > slo {
		r.Violations++
		r.second(q.at).violations++
	}
}

func (r *Run) ended(_ *world, q *request, served bool, cost float64) {
	r.Exchanges++
	r.Cost += cost
	s := r.second(q.at)
	s.exchanges++
	s.cost += float32(cost)
	if !served {
		r.Failed++
		r.Violations++
		s.failed++
		s.violations++
	}
}

func (r *Run) finish() {
	if r.proof != nil {
		r.Savings, r.proof = r.proof.Savings(begin.Add(time.Duration(len(r.seconds))*time.Second), time.Time{}), nil
	}
	r.finishLimits()
	r.P50, r.P95, r.P99 = r.times.quantile(.5), r.times.quantile(.95), r.times.quantile(.99)
}

// sum adds up the seconds of [from, to).
func (r *Run) sum(from, to time.Duration) (exchanges, failed, violations, attempts, cost float64, byTarget []float64) {
	byTarget = make([]float64, detailed)
	for i := int(from / time.Second); i < min(int((to+time.Second-1)/time.Second), len(r.seconds)); i++ {
		s := &r.seconds[i]
		exchanges, failed, violations = exchanges+float64(s.exchanges), failed+float64(s.failed), violations+float64(s.violations)
		cost += float64(s.cost)
		for t, n := range s.attempts {
			attempts += float64(n)
			byTarget[t] += float64(n)
		}
	}
	return exchanges, failed, violations, attempts, cost, byTarget
}

// value is what a metric comes to in [from, to).
func (r *Run) value(e *Expectation, from, to time.Duration) float64 {
	exchanges, failed, violations, attempts, cost, byTarget := r.sum(from, to)
	switch e.Metric {
	case "share":
		return byTarget[e.Target] / max(attempts, 1)
	case "failed":
		return failed / max(exchanges, 1)
	case "violations":
		return violations / max(exchanges, 1)
	case "cost":
		return 1000 * cost / max(exchanges, 1)
	case "detected":
		for _, j := range r.ejects {
			if j.target == e.Target && j.at >= from && j.at < to {
				return (j.at - from).Seconds()
			}
		}
		return math.Inf(1)
	case "hedged":
		return float64(r.Hedged) / float64(max(r.Exchanges, 1))
	case "p95":
		return r.P95
	case "p99":
		return r.P99
	case "used":
		used, _ := r.Limits[e.Target].of(from, to)
		return used
	case "refused":
		_, refused := r.Limits[e.Target].of(from, to)
		return refused
	case "served":
		c := &r.Callers[e.Target]
		return float64(c.Served) / float64(max(c.Requests, 1))
	case "fair":
		return r.fairness(from, to)
	case "waited":
		return r.Waits.P95
	default: // ejections
		n := 0.
		for _, j := range r.ejects {
			if (e.Target < 0 || j.target == e.Target) && j.at >= from && j.at < to {
				n++
			}
		}
		return n
	}
}

// histogram is logarithmic: bins of 1 %, from 100 µs on.
type histogram struct {
	bins  [1600]int32
	total int
}

const binWidth = .01

func (h *histogram) add(seconds float64) {
	i := int(math.Log(max(seconds, 1e-4)/1e-4) / binWidth)
	h.bins[min(max(i, 0), len(h.bins)-1)]++
	h.total++
}

func (h *histogram) quantile(p float64) float64 {
	left := int(math.Ceil(p * float64(h.total)))
	for i, n := range h.bins {
		if left -= int(n); left <= 0 {
			return 1e-4 * math.Exp((float64(i)+.5)*binWidth)
		}
	}
	return 0
}

// median of values; they are sorted.
func median(values []float64) float64 {
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}
