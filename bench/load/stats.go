package load

import (
	"maps"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// Stats are the results of a load so far.
type Stats struct {
	Sent     int64
	InFlight int64
	Delayed  int64 // had to wait because MaxInFlight others were under way

	Sending time.Duration // from the start until the arrivals ended, or until now
	Elapsed time.Duration // from the start until the last exchange ended, or until now

	// Outcomes by window.Outcome, as the clients saw them: Canceled are those that left, by plan or at the end of the load,
	// Connect could not be sent at all, Broken ended too early, StreamError said so itself.
	Outcomes []int64
	Examples []string      // by window.Outcome: what the first of each failed with; "" where nothing did
	Cut      int64         // of Canceled: left because the load ended
	Statuses map[int]int64 // of answers, also of those that their client left or that broke

	Latency  Histogram // from the intended sending to the end, whatever the outcome but Canceled
	TTFT     Histogram // from the intended sending to the first content, of streams that had any
	Gap      Histogram // between two pieces of content of a stream; 0 where one read brought both
	SendLag  Histogram // from the intended to the actual sending: how late the generator itself was
	Overhead Histogram // that a gateway states in x-llmopt-overhead-us

	Chunks int64 // pieces of content of streams

	// What complete answers said of their tokens.
	Told         int64 // answers that said something
	TokensInput  int64 // cached ones included
	TokensCached int64
	TokensOutput int64 // reasoning included

	// Steady is what had been achieved when the sending ended: over the time of Sending the throughput, without the time in
	// which the last answers ran out.
	Steady struct{ OK, Chunks, TokensOutput int64 }
}

// Stats returns the results so far.
func (d *Driver) Stats() *Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Outcomes = make([]int64, len(window.Outcomes()))
	s.Examples = make([]string, len(window.Outcomes()))
	copy(s.Outcomes, d.stats.Outcomes)
	copy(s.Examples, d.stats.Examples)
	s.Statuses = maps.Clone(d.stats.Statuses)
	if now := time.Since(d.start); !d.start.IsZero() {
		if s.Sending == 0 {
			s.Sending = now
			s.steady()
		}
		if s.Elapsed == 0 {
			s.Elapsed = now
		}
	}
	return &s
}

func (d *Driver) begun(at time.Time) {
	d.mu.Lock()
	d.start = at
	n := len(window.Outcomes())
	d.stats.Outcomes, d.stats.Examples, d.stats.Statuses = make([]int64, n), make([]string, n), map[int]int64{}
	d.mu.Unlock()
}

func (d *Driver) allSent() {
	d.mu.Lock()
	d.stats.Sending = time.Since(d.start)
	d.stats.steady()
	d.mu.Unlock()
}

func (s *Stats) steady() {
	s.Steady.OK, s.Steady.Chunks, s.Steady.TokensOutput = s.Outcomes[window.OK], s.Chunks, s.TokensOutput
}

func (d *Driver) finished() {
	d.mu.Lock()
	d.stats.Elapsed = time.Since(d.start)
	d.mu.Unlock()
}

func (d *Driver) delayed() {
	d.mu.Lock()
	d.stats.Delayed++
	d.mu.Unlock()
}

// begin counts one exchange that is sent so late.
func (d *Driver) begin(lag time.Duration) {
	d.mu.Lock()
	d.stats.Sent++
	d.stats.InFlight++
	d.stats.SendLag.Record(lag)
	d.mu.Unlock()
}

// content counts a read that brought pieces of content of a stream: all, of which not the first of the stream came after
// gap.
func (d *Driver) content(all int, first bool, gap time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Chunks += int64(all)
	if !first {
		d.stats.Gap.Record(gap)
	}
	for range all - 1 {
		d.stats.Gap.Record(0)
	}
}

func (d *Driver) end(r *result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.stats
	s.InFlight--
	s.Outcomes[r.outcome]++
	if s.Examples[r.outcome] == "" {
		s.Examples[r.outcome] = r.detail
	}
	if r.status > 0 {
		s.Statuses[r.status]++
	}
	if r.cut {
		s.Cut++
	}
	if r.outcome != window.Canceled {
		s.Latency.Record(r.latency)
	}
	if r.hasContent {
		s.TTFT.Record(r.ttft)
	}
	if r.hasOverhead {
		s.Overhead.Record(r.overhead)
	}
	if u := &r.usage; u.told && r.outcome == window.OK {
		s.Told++
		s.TokensInput += u.input
		s.TokensCached += u.cached
		s.TokensOutput += u.output
	}
}
