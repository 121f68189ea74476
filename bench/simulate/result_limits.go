package simulate

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// LimitRun is what became of a provider's limits.
type LimitRun struct {
	Provider string  `json:"provider"`
	Used     float64 `json:"used"`    // share of what the limits allowed, of the one that was used most; above 1: what a bucket held at the begin; 0: it has none by time
	Refused  float64 `json:"refused"` // share of the attempts there, with 429
	Attempts int64   `json:"attempts"`

	samples []sim.QuotaTotals // by the second
}

// CallerRun is what a caller got.
type CallerRun struct {
	Caller     string  `json:"caller"`
	Requests   int     `json:"requests"`
	Served     int     `json:"served"`
	TurnedAway int     `json:"turned_away"` // by the gateway, with 429
	Tokens     float64 `json:"tokens"`      // of those that were served
	Entitled   float64 `json:"entitled"`    // to so many, were all served with max-min fairness, minute by minute

	minutes []wants
}

// wants are tokens of a caller in a minute, by arrival.
type wants struct{ asked, served float64 }

// Waits are those of exchanges for room within limits.
type Waits struct {
	Waited     float64 `json:"waited"`      // share of the exchanges that were served
	TurnedAway float64 `json:"turned_away"` // share of all exchanges, with 429 from the gateway
	P50        float64 `json:"p50_s"`       // of those that were served
	P95        float64 `json:"p95_s"`
	P99        float64 `json:"p99_s"`
	Jain       float64 `json:"jain"` // fairness among callers: 1 when each got the same part of what it was entitled to

	times  histogram
	waited int
	away   int
}

// prepareLimits makes room for what limits do; nothing where a scenario has none.
func (r *Run) prepareLimits(s *Scenario) {
	if len(s.Providers) == 0 && len(s.Callers) == 0 {
		return
	}
	for i := range s.Providers {
		r.Limits = append(r.Limits, LimitRun{Provider: s.Providers[i].Name})
	}
	r.Waits = &Waits{}
	for i := range s.Callers {
		r.Callers = append(r.Callers, CallerRun{Caller: s.Callers[i].Name, minutes: make([]wants, s.For/time.Minute+1)})
	}
}

func (l *LimitRun) sample(t sim.QuotaTotals) { l.samples = append(l.samples, t) }

// of is which share was used, and which part of the attempts was refused, in [from, to).
func (l *LimitRun) of(from, to time.Duration) (used, refused float64) {
	if len(l.samples) == 0 {
		return 0, 0
	}
	sampled := func(at time.Duration) *sim.QuotaTotals { return &l.samples[min(int(at/time.Second), len(l.samples)-1)] }
	a, b := sampled(from), sampled(to)
	for i := range a.Allowed {
		if allowed := b.Allowed[i] - a.Allowed[i]; allowed > 0 {
			used = max(used, (b.Taken[i]-a.Taken[i])/allowed)
		}
	}
	no, yes := float64(b.Refused-a.Refused), float64(b.Through-a.Through)
	return used, no / max(no+yes, 1)
}

// asked counts a request by its caller.
func (r *Run) asked(q *request) {
	if len(r.Callers) > 0 {
		c := &r.Callers[q.caller]
		c.Requests++
		c.minutes[q.at/time.Minute].asked += float64(q.input + q.output)
	}
}

// turnedAway counts an exchange that the gateway refused.
func (r *Run) turnedAway(q *request) {
	r.Waits.away++
	if len(r.Callers) > 0 {
		r.Callers[q.caller].TurnedAway++
	}
}

// waited counts an exchange that is over.
func (r *Run) waited(x *exchange, served bool) {
	if r.Waits == nil || !served {
		return
	}
	r.Waits.times.add(x.waited.Seconds())
	if x.waited > 0 {
		r.Waits.waited++
	}
	if len(r.Callers) > 0 {
		c := &r.Callers[x.r.caller]
		tokens := float64(x.r.input + x.r.output)
		c.Served++
		c.Tokens += tokens
		c.minutes[x.r.at/time.Minute].served += tokens
	}
}

// fairness is Jain's index (Jain, Chiu, Hawe 1984) of what callers got in [from, to), each as a part of what it was entitled to.
func (r *Run) fairness(from, to time.Duration) float64 {
	return jain(r.shares(from, to))
}

// shares are the tokens that callers got in [from, to), and what max-min fairness would have given them of the same sums, minute by minute.
func (r *Run) shares(from, to time.Duration) (got, entitled []float64) {
	n := len(r.Callers)
	got, entitled = make([]float64, n), make([]float64, n)
	asked := make([]float64, n)
	for m := from / time.Minute; m < (to+time.Minute-1)/time.Minute; m++ {
		sum := 0.
		for i := range r.Callers {
			if minutes := r.Callers[i].minutes; int(m) < len(minutes) {
				asked[i], sum = minutes[m].asked, sum+minutes[m].served
				got[i] += minutes[m].served
			}
		}
		for i, share := range maxMin(asked, sum) {
			entitled[i] += share
		}
		clear(asked)
	}
	return got, entitled
}

// jain is the index of got, relative to what is due. Those to whom nothing is due do not count.
func jain(got, due []float64) float64 {
	n, sum, squares := 0., 0., 0.
	for i := range got {
		if due[i] > 0 {
			x := got[i] / due[i]
			n, sum, squares = n+1, sum+x, squares+x*x
		}
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (n * squares)
}

// maxMin divides a sum so that none gets more than it asks for, and nobody who gets less than that gets less than another.
func maxMin(asked []float64, sum float64) []float64 {
	shares := make([]float64, len(asked))
	order := make([]int, len(asked))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case asked[a] < asked[b]:
			return -1
		case asked[a] > asked[b]:
			return 1
		}
		return a - b
	})
	for n, i := range order {
		shares[i] = min(asked[i], sum/float64(len(order)-n))
		sum -= shares[i]
	}
	return shares
}

// finishLimits sums up.
func (r *Run) finishLimits() {
	whole := time.Duration(len(r.seconds)) * time.Second
	for i := range r.Limits {
		l := &r.Limits[i]
		l.Used, l.Refused = l.of(0, whole)
		if n := len(l.samples); n > 0 {
			l.Attempts = l.samples[n-1].Through + l.samples[n-1].Refused
		}
	}
	_, entitled := r.shares(0, whole)
	for i := range r.Callers {
		r.Callers[i].Entitled = entitled[i]
	}
	if w := r.Waits; w != nil {
		n := float64(max(w.times.total, 1))
		w.Waited, w.TurnedAway = float64(w.waited)/n, float64(w.away)/float64(max(r.Exchanges, 1))
		w.P50, w.P95, w.P99 = w.times.quantile(.5), w.times.quantile(.95), w.times.quantile(.99)
		w.Jain = r.fairness(0, whole)
	}
}

// printLimits writes what became of limits, means over the seeds; nothing where there are none.
func printLimits(out io.Writer, outcomes []Outcome) error {
	if outcomes[0].Runs[0].Waits == nil {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\npolicy")
	for i := range outcomes[0].Runs[0].Limits {
		fmt.Fprintf(w, "\t%[1]s used\t%[1]s 429s", outcomes[0].Runs[0].Limits[i].Provider)
	}
	fmt.Fprintln(w, "\twaited\twait p50\tp95\tp99\tturned away\tJain")
	for _, o := range outcomes {
		n := float64(len(o.Runs))
		fmt.Fprint(w, o.Policy)
		for i := range o.Runs[0].Limits {
			used, refused := 0., 0.
			for _, r := range o.Runs {
				used, refused = used+r.Limits[i].Used/n, refused+r.Limits[i].Refused/n
			}
			if used > 0 {
				fmt.Fprintf(w, "\t%.2f%%", 100*used)
			} else {
				fmt.Fprint(w, "\t-")
			}
			fmt.Fprintf(w, "\t%.3f%%", 100*refused)
		}
		var all Waits
		for _, r := range o.Runs {
			v := r.Waits
			all.Waited, all.TurnedAway, all.Jain = all.Waited+v.Waited/n, all.TurnedAway+v.TurnedAway/n, all.Jain+v.Jain/n
			all.P50, all.P95, all.P99 = all.P50+v.P50/n, all.P95+v.P95/n, all.P99+v.P99/n
		}
		fmt.Fprintf(w, "\t%.1f%%\t%.2fs\t%.2fs\t%.2fs\t%.1f%%\t%.4f\n", 100*all.Waited, all.P50, all.P95, all.P99, 100*all.TurnedAway, all.Jain)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printCallers(out, outcomes)
}

// printCallers writes what each caller got of the first policy.
func printCallers(out io.Writer, outcomes []Outcome) error {
	runs := outcomes[0].Runs
	if len(runs[0].Callers) < 2 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\trequests\tserved\tturned away\ttokens\tentitled to\n", outcomes[0].Policy)
	n := float64(len(runs))
	for i := range runs[0].Callers {
		var requests, served, away, tokens, entitled float64
		for _, r := range runs {
			c := &r.Callers[i]
			requests, served, away = requests+float64(c.Requests)/n, served+float64(c.Served)/n, away+float64(c.TurnedAway)/n
			tokens, entitled = tokens+c.Tokens/n, entitled+c.Entitled/n
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\n", runs[0].Callers[i].Caller, requests, served, away, math.Round(tokens), math.Round(entitled))
	}
	return w.Flush()
}
