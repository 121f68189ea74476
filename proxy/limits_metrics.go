package proxy

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
)

const (
	metricLimitMet     = "llmopt_limit_met_total"       // limit, observed
	metricLimitRefused = "llmopt_limit_refused_total"   // limit
	metricLimitEntries = "llmopt_limit_entries"         // limit
	metricLimitSpent   = "llmopt_limit_spent_usd_total" // limit
	metricLimitWaiting = "llmopt_limit_waiting"
	metricLimitWait    = "llmopt_limit_wait_seconds" // histogram
	metricLimitLate    = "llmopt_limit_late_total"
	metricLimitCrowded = "llmopt_limit_crowded_total"
	metricLimitLeases  = "llmopt_limit_leases"
	metricLimitLeaked  = "llmopt_limit_leaked_total"
	metricInputBias    = "llmopt_input_estimate_bias"
)

// waitBounds are in seconds.
var waitBounds = []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60}

// writeLimits prints what the limits did.
func (p *Proxy) writeLimits(w io.Writer) {
	set := p.gate.Set()
	for _, s := range set.Stats() {
		label := fmt.Sprintf("limit=%q", s.Rule)
		metrics.WriteCounterUint64(w, fmt.Sprintf("%s{%s,observed=\"%t\"}", metricLimitMet, label, s.Observe), s.Met)
		metrics.WriteCounterUint64(w, metricLimitRefused+"{"+label+"}", s.Refused)
		metrics.WriteGaugeUint64(w, metricLimitEntries+"{"+label+"}", uint64(s.Entries)) //nolint:gosec // a count
		if s.Spends {
			metrics.WriteCounterFloat64(w, metricLimitSpent+"{"+label+"}", float64(s.Spent)/1e9)
		}
	}
	held, leaked := set.Leases()
	metrics.WriteGaugeUint64(w, metricLimitWaiting, uint64(max(p.gate.Waiting(), 0)))
	metrics.WriteCounterUint64(w, metricLimitLate, p.gate.Late.Load())
	metrics.WriteCounterUint64(w, metricLimitCrowded, p.gate.Crowded.Load())
	metrics.WriteGaugeUint64(w, metricLimitLeases, uint64(max(held, 0)))
	metrics.WriteCounterUint64(w, metricLimitLeaked, leaked)
	metrics.WriteGaugeFloat64(w, metricInputBias, p.estimates.Bias())
	p.metrics.limitWait.write(w)
}
