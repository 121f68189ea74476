package anomaly

import (
	"math"
	"time"
)

// Season is the profile of a series over the day and over the week, in half hours: what the hour leads one to expect. The zero
// value has seen nothing. Days are in UTC. A step takes O(1) and allocates nothing.
type Season struct {
	start time.Time
	day   [halfHours]cell
	week  [7 * halfHours]cell
	total drift // of the values
	rest  drift // of what the profile leaves
}

const (
	halfHours    = 48
	dayAfter     = 3 * 24 * time.Hour  // the profile of a day is used from here
	weekAfter    = 14 * 24 * time.Hour // that of the week
	seasonWeight = .05
	cellVisits   = 2 // values below which a half hour of the week is not known
)

// cell is the exponentially weighted mean of a half hour.
type cell struct {
	n    int32
	mean float64
}

func (c *cell) add(v float64) {
	c.n++
	c.mean += max(seasonWeight, 1/float64(c.n)) * (v - c.mean)
}

// Expect returns the value that the half hour of at leads one to expect; false in the first three days.
func (s *Season) Expect(at time.Time) (float64, bool) {
	if s.start.IsZero() || at.Sub(s.start) < dayAfter {
		return 0, false
	}
	day, week := s.cells(at)
	if at.Sub(s.start) >= weekAfter && week.n >= cellVisits {
		return week.mean, true
	}
	return day.mean, day.n > 0
}

// Add learns from v, the value at this time.
func (s *Season) Add(at time.Time, v float64) {
	if s.start.IsZero() {
		s.start = at
		s.total.weight, s.rest.weight = longWeight, longWeight
	}
	if want, ok := s.Expect(at); ok {
		s.rest.add(v - want)
		s.total.add(v)
	}
	day, week := s.cells(at)
	day.add(v)
	week.add(v)
}

// Explained returns the share of the variance that the profile takes away, by its forecasts so far; 0 while that is unknown or the
// profile makes things worse.
func (s *Season) Explained() float64 {
	if s.rest.n < halfHours || s.total.variance <= 0 {
		return 0
	}
	return max(0, 1-s.rest.variance/s.total.variance)
}

// Spread returns the standard deviation of what the profile leaves.
func (s *Season) Spread() float64 { return math.Sqrt(s.rest.variance) }

func (s *Season) cells(at time.Time) (day, week *cell) {
	at = at.UTC()
	i := (at.Hour()*60 + at.Minute()) / 30
	return &s.day[i], &s.week[int(at.Weekday())*halfHours+i]
}
