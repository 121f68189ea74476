package limit

import "time"

// Period is how long a limit counts.
type Period uint8

// The periods.
const (
	Second Period = iota + 1
	Minute
	Hour
	Day
	Month
)

var periodNames = [...]string{"", "second", "minute", "hour", "day", "month"}

// String is the period's name in settings and headers.
func (p Period) String() string {
	if int(p) >= len(periodNames) {
		return ""
	}
	return periodNames[p]
}

// Length of the period; a month has 30 days.
func (p Period) Length() time.Duration {
	switch p {
	case Second:
		return time.Second
	case Minute:
		return time.Minute
	case Hour:
		return time.Hour
	case Day:
		return 24 * time.Hour
	case Month:
		return 30 * 24 * time.Hour
	}
	return 0
}

// bounds are the begin and the end of the calendar's period in zone that now, in Unix nanoseconds, is in. Seconds, minutes and hours are those of the zone's clock; where
// that is set forward or back by less than an hour they end when they would have ended. The next period begins where one ends, with no gap.
func (p Period) bounds(now int64, zone *time.Location) (begin, end int64) {
	t := time.Unix(0, now).In(zone)
	y, m, d := t.Date()
	switch p {
	case Day:
		return firstOf(y, m, d, zone), firstOf(y, m, d+1, zone)
	case Month:
		return firstOf(y, m, 1, zone), firstOf(y, m+1, 1, zone)
	}
	_, offset := t.Zone()
	length, ahead := int64(p.Length()), int64(offset)*int64(time.Second)
	into := (now%length + ahead%length) % length
	if into < 0 {
		into += length
	}
	begin = minus(now, into)
	return begin, plus(begin, length)
}

// firstOf is the first instant of a day, in Unix nanoseconds. The day and month may be beyond their ends, as time.Date takes them. Where clocks are set at
// midnight, 0:00 does not exist, or comes twice.
func firstOf(y int, m time.Month, d int, zone *time.Location) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	since, until := t.ZoneBounds()
	shown, wanted := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC), time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	switch {
	case shown.Before(wanted) && !until.IsZero(): // skipped: the day begins where the clock is set
		return until.UnixNano()
	case shown.After(wanted) && !since.IsZero():
		return since.UnixNano()
	}
	if !since.IsZero() { // the first of two?
		_, before := since.Add(-1).Zone()
		_, after := t.Zone()
		if first := t.Add(-time.Duration(before-after) * time.Second); before > after && first.Before(since) {
			return first.UnixNano()
		}
	}
	return t.UnixNano()
}
