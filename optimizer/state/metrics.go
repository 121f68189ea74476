package state

import (
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Metrics tells how the state is kept.
func (k *Keeper) Metrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(func(w io.Writer) {
		c := &k.stats
		metrics.WriteCounterUint64(w, "llmopt_state_flushes_total", c.flushes.Load())
		metrics.WriteCounterUint64(w, "llmopt_state_flush_errors_total", c.flushErrors.Load())
		metrics.WriteCounterUint64(w, "llmopt_state_slots_stored_total", c.slots.Load())
		metrics.WriteCounterUint64(w, "llmopt_state_slots_lost_total", c.slotsLost.Load())
		metrics.WriteCounterUint64(w, "llmopt_state_totals_lost_total", c.totalsLost.Load())
		metrics.WriteCounterUint64(w, "llmopt_state_refused_total", c.refused.Load())
		metrics.WriteGaugeUint64(w, "llmopt_state_totals_pending", uint64(max(0, c.pending.Load())))
		metrics.WriteGaugeUint64(w, "llmopt_state_journal_pending", uint64(max(0, k.waiting.Load())))
		if at := c.flushed.Load(); at > 0 {
			metrics.WriteGaugeFloat64(w, "llmopt_state_flush_age_seconds", time.Since(time.Unix(0, at)).Seconds())
		}
	})
	return set
}
