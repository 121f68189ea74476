package proxy

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/proxy/pacing"
)

// The names of the metrics of what keeps to the limits of providers.
const (
	metricPacingWaits   = "llmopt_pacing_waits_total"        // provider, model
	metricPacingWaited  = "llmopt_pacing_wait_seconds_total" // provider, model
	metricPacingRefused = "llmopt_pacing_refused_total"      // provider, model
	metricPacingLimited = "llmopt_pacing_limited_total"      // provider, model: answers of 429
	metricPacingKeys    = "llmopt_pacing_keys"               // state: keys with models
	metricPacingWaiting = "llmopt_pacing_waiting"            //
	metricPacingTrusted = "llmopt_pacing_trusted"            // route, target
	metricPacingRate    = "llmopt_pacing_rate"               // route, target
	metricPacingPaused  = "llmopt_pacing_paused_seconds"     // route, target
	metricPacingCrowd   = "llmopt_pacing_concurrency_limit"  // route, target
)

// waitedForRoom counts an attempt that had to wait for room.
func (t *targetMetrics) waitedForRoom(took time.Duration) {
	t.waits.Inc()
	t.waitedNanos.Add(int64(took))
}

// PaceView is how the limits of a target's provider are kept to, for people.
type PaceView struct {
	pacing.State
	How string // free: no limit was met; headers: by what the provider says; trial: by when it refuses; paused: as it has asked for. Empty: not at all
}

// The ways of PaceView.
const (
	paceFree    = "free"
	paceHeaders = "headers"
	paceTrial   = "trial"
	pacePaused  = "paused"
)

func viewPace(now time.Time, p *pacing.Pace) PaceView {
	v := PaceView{State: p.State(now), How: paceFree}
	switch {
	case v.Paused > 0:
		v.How = pacePaused
	case v.Trusted:
		v.How = paceHeaders
	case v.Rate > 0:
		v.How = paceTrial
	}
	return v
}

// String says it in words; empty where there is nothing to say.
func (v *PaceView) String() (s string) {
	switch v.How {
	case pacePaused:
		s = fmt.Sprintf("left alone for %v, as the provider asks", v.Paused.Round(time.Millisecond))
	case paceHeaders:
		s = fmt.Sprintf("%.3g requests/s left by the provider's headers", v.Rate)
	case paceTrial:
		s = fmt.Sprintf("%.3g requests/s found by trial", v.Rate)
	}
	if v.Concurrency > 0 {
		s = joined(s, fmt.Sprintf("%d at a time", v.Concurrency))
	}
	if v.Waiting > 0 {
		s = joined(s, fmt.Sprintf("%d wait", v.Waiting))
	}
	return s
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// paceView is how the target's provider's limits are kept to: those of its key, with the model that it was last asked for.
func (t *routeTarget) paceView(now time.Time) (v PaceView) {
	if t.base.config.Pacing.Enabled && t.keyed {
		v = viewPace(now, t.pace.Load())
	}
	return v
}

// writePaces prints the metrics of all keys together, and of the targets of routes.
func (p *Proxy) writePaces(w io.Writer) {
	now, waiting := time.Now(), 0
	keys := map[string]uint64{paceFree: 0, paceHeaders: 0, paceTrial: 0, pacePaused: 0}
	p.paces.Each(func(pace *pacing.Pace) {
		v := viewPace(now, pace)
		keys[v.How]++
		waiting += v.Waiting
	})
	for _, how := range slices.Sorted(maps.Keys(keys)) {
		metrics.WriteGaugeUint64(w, fmt.Sprintf("%s{state=%q}", metricPacingKeys, how), keys[how])
	}
	metrics.WriteGaugeUint64(w, metricPacingWaiting, uint64(max(waiting, 0))) //nolint:gosec // not negative
	for _, r := range p.settings.Load().routes.list {
		for i, t := range r.pick.Targets() {
			v := r.targets[i].paceView(now)
			if v.How == "" {
				continue
			}
			labels := fmt.Sprintf("{route=%q,target=%q}", r.name, t.Name())
			trusted := uint64(0)
			if v.Trusted {
				trusted = 1
			}
			metrics.WriteGaugeUint64(w, metricPacingTrusted+labels, trusted)
			metrics.WriteGaugeFloat64(w, metricPacingRate+labels, v.Rate)
			metrics.WriteGaugeFloat64(w, metricPacingPaused+labels, v.Paused.Seconds())
			metrics.WriteGaugeUint64(w, metricPacingCrowd+labels, uint64(max(v.Concurrency, 0))) //nolint:gosec // not negative
		}
	}
}
