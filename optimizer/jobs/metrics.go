package jobs

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// Metrics tells how the jobs do.
func (r *Runner) Metrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(func(w io.Writer) {
		for _, s := range r.known() {
			name := func(metric string) string { return fmt.Sprintf("%s{job=%q}", metric, s.Name) }
			metrics.WriteCounterUint64(w, name("llmopt_job_runs_total"), s.Runs)
			metrics.WriteCounterUint64(w, name("llmopt_job_failures_total"), s.Failures)
			metrics.WriteCounterUint64(w, name("llmopt_job_skipped_total"), s.Skipped)
			if !s.Last.IsZero() {
				failed := uint64(0)
				if s.Err != nil {
					failed = 1
				}
				metrics.WriteGaugeUint64(w, name("llmopt_job_last_failed"), failed)
				metrics.WriteGaugeFloat64(w, name("llmopt_job_last_seconds"), s.Took.Seconds())
				metrics.WriteGaugeFloat64(w, name("llmopt_job_last_start_timestamp_seconds"), float64(s.Last.UnixMilli())/1000)
			}
		}
	})
	return set
}
