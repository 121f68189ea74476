package sim

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxQuotaEntries bounds what is kept of keys and models: with that many all begin anew.
const maxQuotaEntries = 1 << 16

// meter holds what is left of a quota. It goes by the clock of this machine, not by Options.Now. Safe for concurrent use.
type meter struct {
	on atomic.Bool // there are limits; without them nothing else is touched

	mu      sync.Mutex
	q       Quota
	entries map[uint64]*quotaEntry
	stats   quotaCounters
}

// quotaEntry is what is left for one key, one model, or all. It is held by the requests that it let through.
type quotaEntry struct {
	left     [measures]float64 // of a bucket or the window that is under way; below 0: a debt
	since    [measures]time.Time
	inflight int64
	seen     time.Time // until when its share was added to what the limits allowed
}

// need is what a request takes, as far as it is known before it is answered.
type need [measures]float64

// refusal says which limit was in the way.
type refusal struct {
	of       measure
	limit    quotaLimit
	most     int64 // of requests at a time
	used     int64
	asked    int64
	wait     time.Duration // until there is room, if nobody else takes it
	tooLarge bool          // there never will be
}

// standing is what headers tell of a limit.
type standing struct {
	limit, left int64
	reset       time.Duration // until it is whole again
	period      time.Duration // 0: there is no such limit
}

type standings [measures]standing

// set puts q in the place of the quota. What was used stays used, as far as q counts it the same way.
func (m *meter) set(q *Quota, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		m.allow(e, now)
		for i := range q.limits {
			was, l := &m.q.limits[i], &q.limits[i]
			switch {
			case was.period == 0 || l.period == 0 || m.q.windows != q.windows || q.windows && was.period != l.period:
				e.left[i], e.since[i] = l.holds, l.begin(now, q.windows)
			case q.windows:
				e.roll(m, measure(i), now)
				e.left[i] += l.most - was.most
			default:
				e.roll(m, measure(i), now)
				e.left[i] = min(e.left[i], l.holds)
			}
		}
	}
	if m.q.perKey != q.perKey || m.q.perModel != q.perModel {
		m.entries = nil
	}
	m.q = *q
	m.on.Store(q.limited())
}

// reset begins anew under q.
func (m *meter) reset(q *Quota) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.q, m.entries, m.stats = *q, nil, quotaCounters{}
	m.on.Store(q.limited())
}

// begin is when a bucket or window at work now began.
func (l *quotaLimit) begin(now time.Time, windows bool) time.Time {
	if windows && l.period > 0 {
		return now.Truncate(l.period)
	}
	return now
}

// entry finds or makes the entry of a key and a model, at its state of now. m.mu is held.
func (m *meter) entry(id uint64, now time.Time) *quotaEntry {
	e := m.entries[id]
	if e == nil {
		if m.entries == nil || len(m.entries) >= maxQuotaEntries {
			m.entries = map[uint64]*quotaEntry{}
		}
		e = &quotaEntry{seen: now}
		for i := range m.q.limits {
			e.left[i], e.since[i] = m.q.limits[i].holds, m.q.limits[i].begin(now, m.q.windows)
		}
		m.entries[id] = e
	}
	for i := range m.q.limits {
		e.roll(m, measure(i), now)
	}
	return e
}

// roll brings a limit to now. m.mu is held.
func (e *quotaEntry) roll(m *meter, of measure, now time.Time) {
	l := &m.q.limits[of]
	switch {
	case l.period == 0:
	case m.q.windows:
		if begin := now.Truncate(l.period); begin.After(e.since[of]) {
			e.left[of], e.since[of] = l.most, begin
		}
	case now.After(e.since[of]):
		e.left[of] = min(e.left[of]+l.most*now.Sub(e.since[of]).Seconds()/l.period.Seconds(), l.holds)
		e.since[of] = now
	}
}

// wait is how long until there is room for n. The limit was rolled to now.
func (e *quotaEntry) wait(m *meter, of measure, n float64, now time.Time) time.Duration {
	l := &m.q.limits[of]
	const grain = 1e-9 // of a unit: what sums of fractions are off by
	switch {
	case l.period == 0 || e.left[of] >= n-grain:
		return 0
	case m.q.windows:
		return e.since[of].Add(l.period).Sub(now)
	}
	return max(time.Duration((n-e.left[of])/l.most*float64(l.period)), time.Nanosecond)
}

// admit takes what a request needs from all limits, or refuses it and takes nothing. The limit that opens last is the one that is named.
func (m *meter) admit(id uint64, n *need, now time.Time) (*quotaEntry, *refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entry(id, now)
	var r *refusal
	if m.q.concurrent > 0 && e.inflight >= m.q.concurrent {
		r = &refusal{of: measureConcurrent, most: m.q.concurrent, used: e.inflight, asked: 1, wait: time.Second}
	}
	for i := range n {
		l := &m.q.limits[i]
		tooLarge := l.period > 0 && n[i] > l.holds
		wait := e.wait(m, measure(i), n[i], now)
		if wait == 0 && !tooLarge || r != nil && (r.tooLarge || r.wait > wait && !tooLarge) {
			continue
		}
		r = &refusal{of: measure(i), limit: *l, used: int64(l.holds) - int64(max(e.left[i], 0)), asked: int64(n[i]), wait: wait, tooLarge: tooLarge}
	}
	m.stats.asked(now, r)
	if r != nil {
		return e, r
	}
	for i := range n {
		e.take(m, measure(i), n[i])
	}
	e.inflight++
	return e, nil
}

// take takes n, which may be below 0. m.mu is held.
func (e *quotaEntry) take(m *meter, of measure, n float64) {
	m.stats.taken[of] += n
	if l := &m.q.limits[of]; l.period > 0 {
		e.left[of] = min(e.left[of]-n, l.holds)
	}
}

// settle puts what a request really took in the place of what it was thought to need.
func (m *meter) settle(e *quotaEntry, was, is *need, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range is {
		e.roll(m, measure(i), now)
		e.take(m, measure(i), is[i]-was[i])
	}
}

// release ends a request that was let through.
func (m *meter) release(e *quotaEntry) {
	m.mu.Lock()
	e.inflight--
	m.mu.Unlock()
}

// standings tells how the limits of e stand.
func (m *meter) standings(e *quotaEntry, now time.Time) (s standings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range s {
		l := &m.q.limits[i]
		if l.period == 0 {
			continue
		}
		e.roll(m, measure(i), now)
		s[i] = standing{limit: int64(l.holds), left: int64(max(e.left[i], 0)), reset: e.wait(m, measure(i), l.holds, now), period: l.period}
		more := int64(l.holds * m.q.boast)
		s[i].limit, s[i].left = s[i].limit+more, s[i].left+more
		if m.q.windows {
			s[i].reset = e.since[i].Add(l.period).Sub(now)
		}
	}
	return s
}

// quota is the quota in force.
func (m *meter) quota() Quota {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.q
}
