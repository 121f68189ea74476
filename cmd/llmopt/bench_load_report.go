package main

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
)

// benchReport is what a load has shown. Times are in seconds; rates are over the time of sending, without the time in which
// the last answers ran out.
type benchReport struct {
	Version string `json:"version"`
	URL     string `json:"url"`
	API     string `json:"api"`
	Model   string `json:"model"`
	Stream  bool   `json:"stream"`
	Seed    uint64 `json:"seed"`

	Arrivals     string  `json:"arrivals"`
	Rate         float64 `json:"rate_per_second,omitempty"` // that was asked for
	Trace        string  `json:"trace,omitempty"`
	Format       string  `json:"trace_format,omitempty"`
	Speed        float64 `json:"speed,omitempty"`
	From         float64 `json:"from_seconds,omitempty"`
	MaxInFlight  int     `json:"max_in_flight"`
	Interrupted  bool    `json:"interrupted"`
	Sending      float64 `json:"sending_seconds"` // until the last request was sent
	Elapsed      float64 `json:"elapsed_seconds"` // until the last answer had ended
	Sent         int64   `json:"sent"`
	OK           int64   `json:"ok"`
	Errors       int64   `json:"errors"`
	LeftByPlan   int64   `json:"left_by_plan"`
	CutAtEnd     int64   `json:"cut_at_end"` // answers that were not waited for when the load had ended
	Delayed      int64   `json:"delayed"`    // requests that waited for one of max_in_flight others to end
	SentPerSec   float64 `json:"sent_per_second"`
	OKPerSec     float64 `json:"ok_per_second"`
	Chunks       int64   `json:"chunks"` // pieces of content of streams
	ChunksPerSec float64 `json:"chunks_per_second"`

	Outcomes map[string]int64  `json:"outcomes"`
	Statuses map[string]int64  `json:"statuses"`
	Examples map[string]string `json:"examples,omitempty"` // of failures, by outcome
	Tokens   benchTokens       `json:"tokens"`

	Latency  benchTimes `json:"latency_seconds"`
	TTFT     benchTimes `json:"ttft_seconds"`
	Gap      benchTimes `json:"gap_seconds"`
	SendLag  benchTimes `json:"send_lag_seconds"`
	Overhead benchTimes `json:"overhead_seconds"`
	CPU      float64    `json:"generator_cpu_seconds"` // 0: not known
	Cores    int        `json:"generator_cores"`       // that the generator may use
	Warnings []string   `json:"warnings"`

	stats *load.Stats // what it is made of
}

// benchTokens are what answers told.
type benchTokens struct {
	Answers   int64   `json:"answers"` // that told something
	Input     int64   `json:"input"`   // cached ones included
	Cached    int64   `json:"cached"`
	Output    int64   `json:"output"`
	OutPerSec float64 `json:"output_per_second"`
}

// benchTimes are quantiles of one time in seconds.
type benchTimes struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

func benchTimesOf(h *load.Histogram) benchTimes {
	at := func(q float64) float64 { return h.Quantile(q).Seconds() }
	return benchTimes{
		Count: h.Count(), Mean: h.Mean().Seconds(), P50: at(.5), P90: at(.9), P95: at(.95), P99: at(.99), P999: at(.999), Max: h.Max().Seconds(),
	}
}

func (c *benchLoadCmd) report(l *benchLoad, s *load.Stats, cpu time.Duration, interrupted bool) *benchReport {
	cores := runtime.GOMAXPROCS(0)
	r := &benchReport{
		Version: buildVersion().Version, URL: l.kind.BaseURL, API: l.kind.API.String(), Model: l.kind.Model, Stream: l.kind.Stream, Seed: c.Seed,
		Arrivals: l.arrivals, Rate: l.rate, MaxInFlight: c.MaxInFlight, Interrupted: interrupted,
		Sending: s.Sending.Seconds(), Elapsed: s.Elapsed.Seconds(),
		Sent: s.Sent, OK: s.Outcomes[window.OK], LeftByPlan: s.Outcomes[window.Canceled] - s.Cut, CutAtEnd: s.Cut, Delayed: s.Delayed,
		SentPerSec: perSecond(s.Sent, s.Sending), OKPerSec: perSecond(s.Steady.OK, s.Sending),
		Chunks: s.Chunks, ChunksPerSec: perSecond(s.Steady.Chunks, s.Sending),
		Outcomes: map[string]int64{}, Statuses: map[string]int64{}, Examples: map[string]string{},
		Tokens:  benchTokens{s.Told, s.TokensInput, s.TokensCached, s.TokensOutput, perSecond(s.Steady.TokensOutput, s.Sending)},
		Latency: benchTimesOf(&s.Latency), TTFT: benchTimesOf(&s.TTFT), Gap: benchTimesOf(&s.Gap),
		SendLag: benchTimesOf(&s.SendLag), Overhead: benchTimesOf(&s.Overhead),
		CPU: cpu.Seconds(), Cores: cores, Warnings: benchWarnings(s, c.MaxInFlight, cpu, cores), stats: s,
	}
	if l.trace != nil {
		r.Trace, r.Format, r.Speed, r.From = c.Trace, l.trace.Format, c.Speed, c.From.Seconds()
	}
	r.Errors = s.Sent - r.OK - s.Outcomes[window.Canceled]
	for o, n := range s.Outcomes {
		if name := window.Outcome(o).String(); n > 0 {
			r.Outcomes[name] = n
			if s.Examples[o] != "" && window.Outcome(o) != window.Canceled {
				r.Examples[name] = s.Examples[o]
			}
		}
	}
	for status, n := range s.Statuses {
		r.Statuses[strconv.Itoa(status)] = n
	}
	return r
}

// perSecond is 0 for a load that took no time.
func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

const (
	// benchLate is how late a generator may be in one request of a hundred before the latencies, which count it, are about
	// the generator rather than the server.
	benchLate = 10 * time.Millisecond

	// benchBusy is the share of its processors from which on a generator is the bottleneck itself.
	benchBusy = .9
)

// benchWarnings say where the load was not the one that was asked for.
func benchWarnings(s *load.Stats, maxInFlight int, cpu time.Duration, cores int) []string {
	warnings := []string{}
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if s.Delayed > 0 {
		warn("%d requests (%s) waited because %d others were under way (--max-in-flight): answers take longer than requests come",
			s.Delayed, percent(s.Delayed, s.Sent), maxInFlight)
	}
	late := s.SendLag.Quantile(.99)
	switch busy := cpu.Seconds() > benchBusy*float64(cores)*s.Elapsed.Seconds(); {
	case busy:
		warn("the generator itself was busy all the time, with %s: latencies are about it rather than about the server", coreCount(cores))
	case s.Delayed == 0 && late > benchLate:
		warn("the generator itself was late, in one request of a hundred by more than %s: this machine is too slow or too busy "+
			"for the load, and latencies count it", benchTime(late))
	}
	return warnings
}
