package proxy

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/provider"
)

// The names of all metrics of the request path. Base units, after the OpenTelemetry conventions for generative AI where
// those have a counterpart. docs/reference.md explains each; a test holds it to this list.
const (
	metricExchanges    = "llmopt_exchanges_total"               // outcome
	metricInFlight     = "llmopt_exchanges_in_flight"           //
	metricOverhead     = "llmopt_overhead_seconds"              // histogram
	metricAttempts     = "llmopt_attempts_total"                // provider, model, outcome
	metricDuration     = "llmopt_attempt_duration_seconds"      // histogram: provider, model
	metricTTFT         = "llmopt_time_to_first_token_seconds"   // histogram: provider, model
	metricTPOT         = "llmopt_time_per_output_token_seconds" // histogram: provider, model
	metricTokens       = "llmopt_tokens_total"                  // provider, model, type
	metricCost         = "llmopt_cost_usd_total"                // provider, model
	metricEstimated    = "llmopt_estimated_attempts_total"      // provider, model
	metricUnpriced     = "llmopt_unpriced_attempts_total"       // provider, model
	metricStaleRetries = "llmopt_stale_connection_retries_total"
	metricRejected     = "llmopt_rejected_requests_total" // reason: not even an exchange, the request could not be read
	metricAcceptErrors = "llmopt_accept_errors_total"
	metricPanics       = "llmopt_panics_total"
	metricClients      = "llmopt_client_connections"
	metricUpstreams    = "llmopt_upstream_connections"             // provider, state
	metricDials        = "llmopt_upstream_dials_total"             // provider
	metricReuses       = "llmopt_upstream_reuses_total"            // provider
	metricStale        = "llmopt_upstream_stale_connections_total" // provider
	metricLogDropped   = "llmopt_access_log_dropped_total"
	metricLogErrors    = "llmopt_access_log_errors_total"
	metricLogWritten   = "llmopt_access_log_lines_total"
	metricMemory       = "llmopt_memory_bytes"
	metricMemoryLimit  = "llmopt_memory_limit_bytes"
	metricOverloaded   = "llmopt_overload_refused_total"
)

// Bucket bounds in seconds. Duration, TTFT and TPOT are those that OpenTelemetry advises for generative AI.
var (
	overheadBounds = []float64{10e-6, 20e-6, 30e-6, 50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3}
	durationBounds = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68}
	ttftBounds     = []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60}
	tpotBounds     = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
)

// metricSet holds the handles. Those of a target are made when it is first seen, so that no request looks one up.
type metricSet struct {
	set *metrics.Set

	byOutcome    []*metrics.Counter // by window.Outcome
	overhead     *histogram
	limitWait    *histogram
	inFlight     atomic.Int64
	staleRetries *metrics.Counter
	panics       *metrics.Counter
	acceptErrors *metrics.Counter

	mu      sync.Mutex
	targets []*targetMetrics
}

func newMetricSet() *metricSet {
	m := &metricSet{set: metrics.NewSet(), overhead: newHistogram(metricOverhead, "", overheadBounds), limitWait: newHistogram(metricLimitWait, "", waitBounds)}
	for _, o := range window.Outcomes() {
		m.byOutcome = append(m.byOutcome, m.set.NewCounter(fmt.Sprintf("%s{outcome=%q}", metricExchanges, o.String())))
	}
	m.staleRetries = m.set.NewCounter(metricStaleRetries)
	m.panics = m.set.NewCounter(metricPanics)
	m.acceptErrors = m.set.NewCounter(metricAcceptErrors)
	m.set.NewGauge(metricInFlight, func() float64 { return float64(m.inFlight.Load()) })
	m.set.RegisterMetricsWriter(m.write)
	return m
}

// write prints what is kept outside the library's types.
func (m *metricSet) write(w io.Writer) {
	m.overhead.write(w)
	m.mu.Lock()
	targets := m.targets[:len(m.targets):len(m.targets)]
	m.mu.Unlock()
	for _, t := range targets {
		t.duration.write(w)
		t.ttft.write(w)
		t.tpot.write(w)
		metrics.WriteCounterFloat64(w, metricCost+"{"+t.labels+"}", float64(t.costNanoUSD.Load())/1e9)
		metrics.WriteCounterFloat64(w, metricPacingWaited+"{"+t.labels+"}", time.Duration(t.waitedNanos.Load()).Seconds())
	}
}

// rejected counts requests that could not be read far enough to become exchanges.
func (m *metricSet) rejected(k *kindOfFailure) {
	m.set.GetOrCreateCounter(fmt.Sprintf("%s{reason=%q}", metricRejected, k.code)).Inc()
}

func (m *metricSet) exchange(o window.Outcome) { m.byOutcome[o].Inc() }

// origins shows the connections of the providers that there are.
func (m *metricSet) origins(providers func() map[string]*providerState) {
	m.set.RegisterMetricsWriter(func(w io.Writer) {
		known := providers()
		for _, name := range slices.Sorted(maps.Keys(known)) {
			o, label := known[name].origin, fmt.Sprintf("provider=%q", name)
			idle := o.Idle()
			metrics.WriteGaugeUint64(w, metricUpstreams+"{"+label+`,state="idle"}`, uint64(idle))
			metrics.WriteGaugeUint64(w, metricUpstreams+"{"+label+`,state="used"}`, uint64(max(0, o.Open()-idle)))
			metrics.WriteCounterUint64(w, metricDials+"{"+label+"}", o.Dials.Load())
			metrics.WriteCounterUint64(w, metricReuses+"{"+label+"}", o.Reuses.Load())
			metrics.WriteCounterUint64(w, metricStale+"{"+label+"}", o.Stale.Load())
		}
	})
}

// logCounters shows what became of the access log's lines.
func (m *metricSet) logCounters(l *AccessLog) {
	m.set.RegisterMetricsWriter(func(w io.Writer) {
		lines, dropped, errors := l.counts()
		metrics.WriteCounterUint64(w, metricLogWritten, lines)
		metrics.WriteCounterUint64(w, metricLogDropped, dropped)
		metrics.WriteCounterUint64(w, metricLogErrors, errors)
	})
}

// tokenTypes are the values of the label type of the token counter, in the order of targetMetrics.tokens. reasoning is part of
// output.
var tokenTypes = [...]string{"input", "cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output", "image_input", "image_output"}

// targetMetrics are the handles of one target.
type targetMetrics struct {
	labels              string
	attempts            []*metrics.Counter // by window.Outcome
	tokens              [len(tokenTypes)]*metrics.Counter
	estimated, unpriced *metrics.Counter
	costNanoUSD         atomic.Int64
	waits, pacedOut     *metrics.Counter
	limited             *metrics.Counter
	waitedNanos         atomic.Int64
	duration            *histogram
	ttft, tpot          *histogram
}

// target returns the handles of a provider's model; targets of routes may share them.
func (m *metricSet) target(t *target) *targetMetrics {
	labels := fmt.Sprintf("provider=%q,model=%q", t.provider, t.model)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, known := range m.targets {
		if known.labels == labels {
			return known
		}
	}
	tm := &targetMetrics{
		labels:    labels,
		estimated: m.set.GetOrCreateCounter(metricEstimated + "{" + labels + "}"),
		unpriced:  m.set.GetOrCreateCounter(metricUnpriced + "{" + labels + "}"),
		waits:     m.set.GetOrCreateCounter(metricPacingWaits + "{" + labels + "}"),
		pacedOut:  m.set.GetOrCreateCounter(metricPacingRefused + "{" + labels + "}"),
		limited:   m.set.GetOrCreateCounter(metricPacingLimited + "{" + labels + "}"),
		duration:  newHistogram(metricDuration, labels, durationBounds),
		ttft:      newHistogram(metricTTFT, labels, ttftBounds),
		tpot:      newHistogram(metricTPOT, labels, tpotBounds),
	}
	for _, o := range window.Outcomes() {
		tm.attempts = append(tm.attempts, m.set.GetOrCreateCounter(fmt.Sprintf("%s{%s,outcome=%q}", metricAttempts, labels, o.String())))
	}
	for i, typ := range tokenTypes {
		tm.tokens[i] = m.set.GetOrCreateCounter(fmt.Sprintf("%s{%s,type=%q}", metricTokens, labels, typ))
	}
	m.targets = append(m.targets, tm)
	return tm
}

// observe counts one attempt.
func (t *targetMetrics) observe(o *window.Observation, u *provider.Usage) {
	t.attempts[o.Outcome].Inc()
	t.duration.Update(o.Duration.Seconds())
	if o.TTFT > 0 {
		t.ttft.Update(o.TTFT.Seconds())
		if o.TokensOutput > 1 {
			t.tpot.Update((o.Duration - o.TTFT).Seconds() / float64(o.TokensOutput-1))
		}
	}
	for i, n := range [...]int64{u.Input, u.CacheRead, u.CacheWrite5m + u.CacheWrite1h, u.Output, u.Reasoning, u.AudioInput, u.AudioOutput, u.ImageInput, u.ImageOutput} {
		if n > 0 {
			t.tokens[i].AddInt64(n)
		}
	}
	t.costNanoUSD.Add(o.CostNanoUSD)
	if o.Estimated {
		t.estimated.Inc()
	}
	if o.Unpriced {
		t.unpriced.Inc()
	}
}
