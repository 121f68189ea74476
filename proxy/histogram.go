package proxy

import (
	"fmt"
	"io"
	"math"
	"sync/atomic"
)

// histogram is a cumulative histogram with fixed bounds in seconds. Recording takes no lock (the library's own
// histograms do), so that requests do not wait for each other.
type histogram struct {
	name, labels string
	bounds       []float64 // ascending upper bounds, inclusive
	counts       []atomic.Uint64
	sumMicros    atomic.Uint64
}

func newHistogram(name, labels string, bounds []float64) *histogram {
	return &histogram{name: name, labels: labels, bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Update records a value in seconds; negative values count as zero.
func (h *histogram) Update(seconds float64) {
	i := 0
	for i < len(h.bounds) && seconds > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sumMicros.Add(uint64(max(0, math.Round(seconds*1e6))))
}

// write prints the histogram in the text format of Prometheus.
func (h *histogram) write(w io.Writer) {
	comma := ""
	if h.labels != "" {
		comma = ","
	}
	var total uint64
	for i, bound := range h.bounds {
		total += h.counts[i].Load()
		fmt.Fprintf(w, "%s_bucket{%s%sle=\"%g\"} %d\n", h.name, h.labels, comma, bound, total)
	}
	total += h.counts[len(h.bounds)].Load()
	fmt.Fprintf(w, "%s_bucket{%s%sle=\"+Inf\"} %d\n", h.name, h.labels, comma, total)
	braces := ""
	if h.labels != "" {
		braces = "{" + h.labels + "}"
	}
	fmt.Fprintf(w, "%s_sum%s %g\n", h.name, braces, float64(h.sumMicros.Load())/1e6)
	fmt.Fprintf(w, "%s_count%s %d\n", h.name, braces, total)
}
