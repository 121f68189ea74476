package window

import "time"

// Summary is what a set of series recorded from From to To, which both lie on slot boundaries, except that To is at most the
// present and that From is not before the recorder's first slot. The zero value is empty. Not safe for
// concurrent use while it is merged into.
type Summary struct {
	From, To time.Time
	tally    tally
}

// Tokens counts tokens by kind. Which kinds contain which differs by provider; here Input is uncached input only, and Reasoning
// is part of Output.
type Tokens struct{ Input, CacheRead, CacheWrite, Output, Reasoning int64 }

// Requests returns the number of attempts, whatever their outcome.
func (s *Summary) Requests() (n int64) {
	for _, c := range s.tally.counts[:outcomesEnd] {
		n += int64(c)
	}
	return n
}

// Count returns the number of attempts with outcome o.
func (s *Summary) Count(o Outcome) int64 {
	if o >= outcomesEnd {
		return 0
	}
	return int64(s.tally.counts[o])
}

// Errors returns the number of attempts that neither ended well nor were canceled by the client.
func (s *Summary) Errors() int64 { return s.Requests() - s.Count(OK) - s.Count(Canceled) }

// Rate returns the attempts per second; 0 where From and To are equal.
func (s *Summary) Rate() float64 {
	d := s.To.Sub(s.From)
	if d <= 0 {
		return 0
	}
	return float64(s.Requests()) / d.Seconds()
}

// Tokens returns the exact sums of tokens.
func (s *Summary) Tokens() Tokens {
	n := &s.tally.counts
	return Tokens{
		Input:      int64(n[countInput]),
		CacheRead:  int64(n[countCacheRead]),
		CacheWrite: int64(n[countCacheWrite]),
		Output:     int64(n[countOutput]),
		Reasoning:  int64(n[countReasoning]),
	}
}

// Estimated returns how many attempts' tokens and cost are estimates.
func (s *Summary) Estimated() int64 { return int64(s.tally.counts[countEstimated]) }

// Unpriced returns how many attempts have no known price. They are not in Cost.
func (s *Summary) Unpriced() int64 { return int64(s.tally.counts[countUnpriced]) }

// Latency returns the attempts' durations, whatever their outcome. It shares memory with s, as do the three below.
func (s *Summary) Latency() Times { return Times{&s.tally.dists[latency]} }

// TTFT returns the times to first token of the attempts that had one.
func (s *Summary) TTFT() Times { return Times{&s.tally.dists[ttft]} }

// TPOT returns the times per output token after the first, (duration-TTFT)/(output-1), one value an attempt, of the attempts
// with a TTFT not above their duration and at least two output tokens.
func (s *Summary) TPOT() Times { return Times{&s.tally.dists[tpot]} }

// Cost returns the costs of the priced attempts in NanoUSD; its Sum is what they cost together.
func (s *Summary) Cost() *Distribution { return &s.tally.dists[cost] }

// Merge adds o to s, which then spans both. o stays as it is. Merging the same span of several replicas gives the whole.
func (s *Summary) Merge(o *Summary) {
	if s.From.IsZero() || !o.From.IsZero() && o.From.Before(s.From) {
		s.From = o.From
	}
	if o.To.After(s.To) {
		s.To = o.To
	}
	s.tally.merge(&o.tally)
}
