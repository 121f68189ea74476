package optimizer

import (
	"fmt"
	"time"
)

// Period is how long a budget lasts: from one turn of the calendar to the next.
type Period uint8

// The periods.
const (
	Day   Period = iota
	Week         // from Monday
	Month        //
)

var periodNames = [...]string{"day", "week", "month"}

func (p Period) String() string { return periodNames[p] }

// ParsePeriod reads the name of a period.
func ParsePeriod(s string) (Period, error) {
	for i, name := range periodNames {
		if s == name {
			return Period(i), nil
		}
	}
	return 0, fmt.Errorf("no period %q: day, week or month", s)
}

// Around is the period that t lies in, from start up to and without end, in the time zone of t. Days have 23 to 25 hours where clocks change.
func (p Period) Around(t time.Time) (start, end time.Time) {
	y, m, d := t.Date()
	switch p {
	case Day:
		return midnight(y, m, d, t.Location()), midnight(y, m, d+1, t.Location())
	case Week:
		d -= (int(t.Weekday()) + 6) % 7
		return midnight(y, m, d, t.Location()), midnight(y, m, d+7, t.Location())
	default:
		return midnight(y, m, 1, t.Location()), midnight(y, m+1, 1, t.Location())
	}
}

// midnight is the beginning of a day. Where clocks change at midnight that is the earlier of two midnights, or the end of the hour that is skipped.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t, noon := time.Date(y, m, d, 0, 0, 0, 0, zone), time.Date(y, m, d, 12, 0, 0, 0, zone)
	if t.Day() != noon.Day() {
		return t.Add(time.Hour)
	}
	if earlier := t.Add(-time.Hour); earlier.Day() == noon.Day() {
		return earlier
	}
	return t
}
