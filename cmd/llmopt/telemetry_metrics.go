package main

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/otel/attribute"
	otelscope "go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// metricBridge tells OpenTelemetry what /metrics says: every metric there is, read when it is time to export, so that nothing is counted
// twice and the request path does not know of it.
type metricBridge struct {
	sets    []*metrics.Set
	started time.Time
}

// conventional are the names that OpenTelemetry's conventions have for metrics of ours. Dots replace the first underscore of the others.
var conventional = map[string]string{
	"llmopt_attempt_duration_seconds":      "gen_ai.client.operation.duration",
	"llmopt_time_to_first_token_seconds":   "gen_ai.server.time_to_first_token",
	"llmopt_time_per_output_token_seconds": "gen_ai.server.time_per_output_token",
}

// conventionalLabels are theirs for labels of ours.
var conventionalLabels = map[string]string{"model": "gen_ai.request.model", "provider": "llmopt.provider"}

// Produce implements metric.Producer.
func (m *metricBridge) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	var text bytes.Buffer
	for _, set := range m.sets {
		set.WritePrometheus(&text)
	}
	return []metricdata.ScopeMetrics{{
		Scope: otelscope.Scope{Name: instrumentation}, Metrics: bridgeMetrics(text.String(), m.started, time.Now()),
	}}, nil
}

// sample is a line of the text format.
type sample struct {
	name   string
	labels []attribute.KeyValue // without le
	le     string
	value  float64
}

// parseSample reads a line; false for those that are none.
func parseSample(line string) (s sample, known bool) {
	end := strings.IndexAny(line, "{ ")
	if end <= 0 || line[0] == '#' {
		return s, false
	}
	s.name = line[:end]
	rest := line[end:]
	for rest[0] == '{' || rest[0] == ',' {
		label, after, found := strings.Cut(rest[1:], "=")
		if !found {
			return s, false
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return s, false
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return s, false
		}
		if label == "le" {
			s.le = value
		} else {
			if theirs := conventionalLabels[label]; theirs != "" {
				label = theirs
			}
			s.labels = append(s.labels, attribute.String(label, value))
		}
		if rest = after[len(quoted):]; rest == "" {
			return s, false
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimPrefix(rest, "}")), 64)
	s.value = v
	return s, err == nil
}

// bridgeMetrics turns the text format into OpenTelemetry's: counters by their ending in _total, histograms by their buckets, all else gauges.
func bridgeMetrics(text string, started, now time.Time) []metricdata.Metrics {
	type series struct {
		labels  attribute.Set
		value   float64
		bounds  []float64
		buckets []uint64 // cumulative, the last one is all
		sum     float64
	}
	found := map[string]map[attribute.Distinct]*series{}
	histograms := map[string]bool{}
	var order []string
	of := func(name string, s *sample) *series {
		if found[name] == nil {
			found[name] = map[attribute.Distinct]*series{}
			order = append(order, name)
		}
		set := attribute.NewSet(s.labels...)
		if found[name][set.Equivalent()] == nil {
			found[name][set.Equivalent()] = &series{labels: set}
		}
		return found[name][set.Equivalent()]
	}
	for line := range strings.Lines(text) {
		s, known := parseSample(strings.TrimSpace(line))
		if !known {
			continue
		}
		if base, is := strings.CutSuffix(s.name, "_bucket"); is && s.le != "" {
			histograms[base] = true
			to := of(base, &s)
			if bound, err := strconv.ParseFloat(s.le, 64); err == nil && !math.IsInf(bound, 1) {
				to.bounds = append(to.bounds, bound)
			}
			to.buckets = append(to.buckets, uint64(s.value))
			continue
		}
		if base, is := strings.CutSuffix(s.name, "_sum"); is && histograms[base] {
			of(base, &s).sum = s.value
			continue
		}
		if base, is := strings.CutSuffix(s.name, "_count"); is && histograms[base] {
			continue // the last bucket
		}
		of(s.name, &s).value = s.value
	}
	var out []metricdata.Metrics
	for _, name := range order {
		m := metricdata.Metrics{Name: otelName(name), Unit: unitOf(name)}
		switch {
		case histograms[name]:
			h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
			for _, s := range found[name] {
				counts := slices.Clone(s.buckets)
				for i := len(counts) - 1; i > 0; i-- {
					counts[i] -= counts[i-1]
				}
				h.DataPoints = append(h.DataPoints, metricdata.HistogramDataPoint[float64]{
					Attributes: s.labels, StartTime: started, Time: now, Count: s.buckets[len(s.buckets)-1], Bounds: s.bounds, BucketCounts: counts, Sum: s.sum,
				})
			}
			m.Data = h
		case strings.HasSuffix(name, "_total"):
			c := metricdata.Sum[float64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
			for _, s := range found[name] {
				c.DataPoints = append(c.DataPoints, metricdata.DataPoint[float64]{Attributes: s.labels, StartTime: started, Time: now, Value: s.value})
			}
			m.Data = c
		default:
			g := metricdata.Gauge[float64]{}
			for _, s := range found[name] {
				g.DataPoints = append(g.DataPoints, metricdata.DataPoint[float64]{Attributes: s.labels, Time: now, Value: s.value})
			}
			m.Data = g
		}
		out = append(out, m)
	}
	return out
}

func otelName(name string) string {
	if theirs := conventional[name]; theirs != "" {
		return theirs
	}
	if base, is := strings.CutSuffix(name, "_total"); is {
		name = base
	}
	return strings.Replace(name, "_", ".", 1)
}

func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	case strings.HasSuffix(name, "_usd"):
		return "{USD}"
	default:
		return "1"
	}
}
