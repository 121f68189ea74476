package sim

import (
	"maps"
	"slices"
	"time"
)

// QuotaStats is what the limits let through and refused since they were first set, or since the last reset.
type QuotaStats struct {
	Limits    string             `json:"limits"` // in force, as ParseQuota reads them
	Through   int64              `json:"through"`
	Refused   int64              `json:"refused"`    // with 429
	RefusedBy map[string]int64   `json:"refused_by"` // by the limit that was named: requests, tokens, input, output, concurrent
	Taken     map[string]float64 `json:"taken"`      // requests and tokens that were let through
	// Allowed is what the limits allowed meanwhile, of all keys and models from their first request on, but for what a bucket held at the
	// begin: Taken by Allowed is the share of a limit that was used.
	Allowed map[string]float64 `json:"allowed"`
	Seconds []QuotaSecond      `json:"seconds"` // in which there were requests, of the last ten minutes
}

// QuotaSecond is a second of QuotaStats.
type QuotaSecond struct {
	At      int64 `json:"at"` // Unix time
	Through int64 `json:"through"`
	Refused int64 `json:"refused"`
}

// quotaSeconds is how many seconds are kept.
const quotaSeconds = 600

type quotaCounters struct {
	through   int64
	refusedBy [measures + 1]int64
	taken     [measures]float64
	allowed   [measures]float64
	seconds   []QuotaSecond
}

// asked counts a request.
func (c *quotaCounters) asked(now time.Time, r *refusal) {
	at := now.Unix()
	if n := len(c.seconds); n == 0 || c.seconds[n-1].At < at {
		if n == quotaSeconds {
			c.seconds = slices.Delete(c.seconds, 0, 1)
		}
		c.seconds = append(c.seconds, QuotaSecond{At: at})
	}
	s := &c.seconds[len(c.seconds)-1]
	if r == nil {
		c.through++
		s.Through++
		return
	}
	c.refusedBy[r.of]++
	s.Refused++
}

// allow adds what the limits have allowed e until now. m.mu is held.
func (m *meter) allow(e *quotaEntry, now time.Time) {
	for i := range m.q.limits {
		if l := &m.q.limits[i]; l.period > 0 {
			m.stats.allowed[i] += l.most * max(now.Sub(e.seen).Seconds(), 0) / l.period.Seconds()
		}
	}
	e.seen = now
}

// report is nil where there never was a quota.
func (m *meter) report(now time.Time) *QuotaStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.stats
	if !m.q.limited() && len(c.seconds) == 0 {
		return nil
	}
	for _, e := range m.entries {
		m.allow(e, now)
	}
	st := &QuotaStats{
		Limits: m.q.text, Through: c.through, RefusedBy: map[string]int64{}, Taken: map[string]float64{}, Allowed: map[string]float64{},
		Seconds: slices.Clone(c.seconds),
	}
	for i, n := range c.refusedBy {
		st.Refused += n
		st.RefusedBy[measureNames[i]] = n
	}
	for i := range c.taken {
		st.Taken[measureNames[i]], st.Allowed[measureNames[i]] = c.taken[i], c.allowed[i]
	}
	for _, numbers := range []map[string]float64{st.Taken, st.Allowed} {
		maps.DeleteFunc(numbers, func(_ string, n float64) bool { return n == 0 })
	}
	maps.DeleteFunc(st.RefusedBy, func(_ string, n int64) bool { return n == 0 })
	return st
}
