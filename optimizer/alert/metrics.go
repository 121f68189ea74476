package alert

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// Metrics tells how alerts are delivered.
func (a *Alerter) Metrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(a.writeMetrics)
	return set
}

func (a *Alerter) writeMetrics(w io.Writer) {
	a.mu.Lock()
	senders, suppressed := a.senders, a.suppressed
	var open [severities]uint64
	for _, s := range a.known {
		if s.open {
			open[s.last.Severity]++
		}
	}
	a.mu.Unlock()
	for severity, n := range open {
		metrics.WriteGaugeUint64(w, fmt.Sprintf("llmopt_alerts_open{severity=%q}", Severity(severity)), n) //nolint:gosec // three
	}
	metrics.WriteCounterUint64(w, "llmopt_alerts_suppressed_total", suppressed)
	for _, s := range senders {
		c := s.counts
		metrics.WriteCounterUint64(w, fmt.Sprintf("llmopt_alerts_total{webhook=%q,result=%q}", s.Name, "delivered"), c.delivered.Load())
		metrics.WriteCounterUint64(w, fmt.Sprintf("llmopt_alerts_total{webhook=%q,result=%q}", s.Name, "failed"), c.failed.Load())
		metrics.WriteCounterUint64(w, fmt.Sprintf("llmopt_alerts_total{webhook=%q,result=%q}", s.Name, "dropped"), c.dropped.Load())
		metrics.WriteCounterUint64(w, fmt.Sprintf("llmopt_alert_retries_total{webhook=%q}", s.Name), c.retries.Load())
		metrics.WriteGaugeUint64(w, fmt.Sprintf("llmopt_alerts_pending{webhook=%q}", s.Name), uint64(s.pending())) //nolint:gosec // a length
	}
}
