package window

import "time"

// Span is a stretch of time in whole slots, of the finest level that still has all of it: 10 s for what began up to a minute ago,
// 1 min up to an hour, 1 h up to a week. Slots are aligned to the wall clock, so the spans of two replicas whose clocks
// agree cover the same slots.
type Span struct {
	from, end int64 // finest slots; end is excluded
	level     int
	now       time.Time
}

// Last returns the span from at least d ago, at most a week, up to and with the current, unfinished slot. now is the present: data
// is kept at the resolution its age allows.
func Last(now time.Time, d time.Duration) Span {
	return Between(now, now.Add(-max(d, 0)), now)
}

// Between returns the span of the slots that overlap [from, to), where now is the present. It has at least one slot; it begins no
// earlier than what is kept, and ends no later than the current, unfinished slot, which it includes if to is not before now.
func Between(now, from, to time.Time) Span {
	present, first := slotOf(now), min(slotOf(from), slotOf(now))
	s := Span{now: now}
	for s.level < lastLevel && first/levels[s.level].width < present/levels[s.level].width-levels[s.level].keep {
		s.level++
	}
	l := levels[s.level]
	oldest := max(0, present/l.width-l.keep)
	number := max(oldest, first/l.width)
	end := present/l.width + 1
	if to.Before(now) {
		end = min(end, slotOf(to.Add(time.Duration(l.width)*slotLength-1))/l.width)
	}
	s.from = number * l.width
	s.end = max(number+1, end) * l.width
	return s
}

// From returns where the first slot begins.
func (s Span) From() time.Time { return slotStart(s.from) }

// To returns where the last slot ends, or the present if that is earlier.
func (s Span) To() time.Time { return s.clip(s.end) }

// Step returns the length of the span's slots.
func (s Span) Step() time.Duration { return time.Duration(levels[s.level].width) * slotLength }

// clip returns the start of slot at, but no later than the present.
func (s Span) clip(at int64) time.Time {
	if t := slotStart(at); t.Before(s.now) {
		return t
	}
	return s.now
}

func slotStart(k int64) time.Time { return time.Unix(k*int64(slotLength/time.Second), 0) }

// Sum merges what the series hold of the span. An observation that is being recorded may be in it in part: its outcome, say,
// and not yet its latency.
func (r *Recorder) Sum(span Span, series ...*Series) *Summary {
	sum := &Summary{From: r.clipBegin(span, span.from), To: span.To()}
	for _, s := range series {
		s.read(func(at int64) *tally {
			if at < span.from || at >= span.end {
				return nil
			}
			return &sum.tally
		})
	}
	return sum
}

// Steps is Sum in pieces: one summary for each slot of the span, in order, also where nothing was recorded. Step is the shortest
// length wanted; it is raised to the next level (10 s, 1 min, 1 h), and to that of the span. The
// first and the last piece hold what the span has of their slots.
func (r *Recorder) Steps(span Span, step time.Duration, series ...*Series) []*Summary {
	lvl := span.level
	for lvl < lastLevel && time.Duration(levels[lvl].width)*slotLength < step {
		lvl++
	}
	width := levels[lvl].width
	first := span.from / width
	steps := make([]*Summary, (span.end+width-1)/width-first)
	for i := range steps {
		from := max(span.from, (first+int64(i))*width)
		to := min(span.end, (first+int64(i)+1)*width)
		steps[i] = &Summary{From: r.clipBegin(span, from), To: span.clip(to)}
	}
	for _, s := range series {
		s.read(func(at int64) *tally {
			if at < span.from || at >= span.end {
				return nil
			}
			return &steps[at/width-first].tally
		})
	}
	return steps
}

// clipBegin returns the start of slot from, or of the slot of the first observation when that is later: a recorder that has run
// for a minute cannot tell the rate of an hour.
func (r *Recorder) clipBegin(span Span, from int64) time.Time {
	if since := r.since.Load(); since > from && since < span.end {
		from = since
	}
	return slotStart(from)
}
