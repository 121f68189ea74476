package optimizer

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"llm-auto-optimizer/analysis/trend"
)

// BudgetTerms are what an operator allows to be spent.
type BudgetTerms struct {
	Name    string         // of the route; empty: all traffic
	Limit   string         // the name of the limit that it is; empty: a budget, beyond which nothing is refused
	Dollars float64        // in each period
	Period  Period         //
	Zone    *time.Location // in which periods begin; nil: UTC
}

// SpendHistory is what was spent, in US dollars by the hour. NaN, infinite, absurd and negative values count as 0.
type SpendHistory struct {
	Start   time.Time // of the first hour
	Hourly  []float64 // full hours, oldest first; hours after the last are taken for ones without spend
	Current float64   // in the hour under way
}

// BudgetForecast is what becomes of a budget until its period ends. It is plain data: it goes into the journal, and comes back so that the same is decided.
type BudgetForecast struct {
	Name      string       `json:"name,omitempty"`  // of the route; empty: all traffic
	Limit     string       `json:"limit,omitempty"` // the name of the limit that it is; empty: a budget
	Dollars   float64      `json:"dollars"`
	Period    string       `json:"period"` // day, week, month
	At        time.Time    `json:"at"`
	End       time.Time    `json:"end"`       // of the period
	Since     time.Time    `json:"since"`     // from when on spend is known; after the period's beginning: Spent is too little
	Spent     float64      `json:"spent"`     // in the period so far, US dollars
	P         float64      `json:"p"`         // probability that it is used up before End, in [0, 1]
	Exhausted [3]time.Time `json:"exhausted"` // when 10, 50 and 90 % of the futures have used it up; zero: not before End
	Total     [3]float64   `json:"total"`     // at End: what 10, 50 and 90 % of the futures stay below, US dollars
	Hours     int          `json:"hours"`     // of history
	Method    string       `json:"method"`    // "damped Holt, bootstrap", or "rate so far" with less than three days of history
	Acting    bool         `json:"acting"`    // it is, or was and is not yet unlikely again, likelier than not that the budget is used up: see BudgetWatch
}

const (
	budgetPaths = 500 // futures: a probability of one half has a standard error of 2 %
	longest     = 63 * 24 * time.Hour
	mostAnHour  = 1e12            // US dollars, from which on a number is no amount of money
	leastKnown  = 5 * time.Minute // of history, below which a rate says nothing
)

// Forecast says what becomes of the budget; false where that can't be told: nothing has been spent in all of the history, it is shorter than five minutes, or
// the terms name no amount. A budget that is used up already needs no history. O(500 hours of the period).
func (b *BudgetTerms) Forecast(now time.Time, h SpendHistory) (BudgetForecast, bool) {
	return b.forecastWith(now, h, nil)
}

// forecastWith takes a model of the full hours that the history has at now, or makes one.
func (b *BudgetTerms) forecastWith(now time.Time, h SpendHistory, model *trend.Forecast) (f BudgetForecast, ok bool) {
	if !(b.Dollars > 0) || math.IsInf(b.Dollars, 0) || h.Start.After(now) {
		return f, false
	}
	now = b.in(now)
	h = h.until(now)
	start, end := b.Period.Around(now)
	f = BudgetForecast{Name: b.Name, Limit: b.Limit, Dollars: b.Dollars, Period: b.Period.String(), At: now, End: end, Since: b.in(h.Start), Hours: len(h.Hourly)}
	hour := h.hour()
	gone := spending{left: b.Dollars}
	for i, v := range h.Hourly {
		from := h.Start.Add(time.Duration(i) * time.Hour)
		gone.add(from, from.Add(time.Hour), v, start, now)
	}
	gone.add(hour, now, h.Current, start, now)
	f.Spent = gone.sum
	if !gone.at.IsZero() {
		f.P, f.Exhausted, f.Method = 1, [3]time.Time{b.in(gone.at), b.in(gone.at), b.in(gone.at)}, "spent"
	}
	hours := int((end.Sub(hour) + time.Hour - 1) / time.Hour)
	paths, method := h.paths(now, hours, model)
	if paths == nil {
		f.Total = [3]float64{f.Spent, f.Spent, f.Spent}
		return f, f.P == 1
	}
	totals, reached := make([]float64, 0, len(paths)), make([]time.Duration, 0, len(paths))
	for _, path := range paths {
		future := spending{left: b.Dollars - f.Spent}
		for i, v := range path {
			from := hour.Add(time.Duration(i) * time.Hour)
			future.add(from, from.Add(time.Hour), v, now, end)
		}
		totals = append(totals, f.Spent+future.sum)
		if future.at.IsZero() {
			reached = append(reached, math.MaxInt64)
		} else {
			reached = append(reached, future.at.Sub(now))
		}
	}
	slices.Sort(totals)
	slices.Sort(reached)
	within, _ := slices.BinarySearch(reached, math.MaxInt64)
	for i, q := range [3]int{10, 50, 90} {
		k := len(paths) * q / 100
		f.Total[i] = totals[k]
		if f.P < 1 && k < within {
			f.Exhausted[i] = now.Add(reached[k])
		}
	}
	if !finite(f.Total[2]) {
		return f, false
	}
	if f.P < 1 {
		f.P, f.Method = float64(within)/float64(len(paths)), method
	}
	return f, true
}

func (b *BudgetTerms) in(t time.Time) time.Time {
	if b.Zone == nil {
		return t.UTC()
	}
	return t.In(b.Zone)
}

// spending adds spend up, and notes when it has used up what was left.
type spending struct {
	left, sum float64
	at        time.Time // zero: not yet
}

// add takes in what is spent evenly between from and to, as far as that lies between low and high.
func (c *spending) add(from, to time.Time, v float64, low, high time.Time) {
	whole := to.Sub(from)
	if from.Before(low) {
		from = low
	}
	if to.After(high) {
		to = high
	}
	part := to.Sub(from)
	if part <= 0 || v <= 0 {
		return
	}
	v *= part.Seconds() / whole.Seconds()
	if c.at.IsZero() && c.sum+v >= c.left {
		c.at = from.Add(time.Duration(max(0, c.left-c.sum) / v * float64(part)))
	}
	c.sum += v
}

// until is the history that is known at now: full hours up to the one under way, without what is no amount of money.
func (h SpendHistory) until(now time.Time) SpendHistory {
	clean := func(v float64) float64 {
		if v > 0 && v < mostAnHour {
			return v
		}
		return 0
	}
	if skip := int(now.Sub(h.Start)/time.Hour) - int(longest/time.Hour); skip > 0 {
		h.Start, h.Hourly = h.Start.Add(time.Duration(skip)*time.Hour), h.Hourly[min(skip, len(h.Hourly)):]
	}
	hourly := make([]float64, int(now.Sub(h.Start)/time.Hour))
	for i := range min(len(hourly), len(h.Hourly)) {
		hourly[i] = clean(h.Hourly[i])
	}
	return SpendHistory{Start: h.Start, Hourly: hourly, Current: clean(h.Current)}
}

// hour is the beginning of the hour under way.
func (h *SpendHistory) hour() time.Time { return h.Start.Add(time.Duration(len(h.Hourly)) * time.Hour) }

// paths draws futures by the hour, from the beginning of the hour under way; nil where nothing is known. The same hour has the same draws, so that the
// probabilities of cycles that follow each other differ by what was spent and not by luck.
func (h *SpendHistory) paths(now time.Time, hours int, model *trend.Forecast) (paths [][]float64, method string) {
	seed := uint64(h.hour().Unix()) //nolint:gosec // any number will do
	if model == nil {
		model, _ = trend.NewForecast(h.Start, h.Hourly)
	}
	if model != nil {
		return model.Paths(hours, budgetPaths, seed), "damped Holt, bootstrap"
	}
	return h.shortPaths(now, hours, seed), "rate so far"
}

const (
	hoursADay = 24
	// How far the spend of the hours to come lies off the rate so far, as the standard deviation of its logarithm: before a whole day has been seen, and with one
	// to three of them. A day's busiest hours have several times the traffic of its quiet ones.
	unsureDay  = 1.
	unsureDays = .45
)

// shortPaths draws futures where there is too little history for a model: what was spent at that hour of the days so far, or with less than a day the rate so
// far, times a factor that is the same for all hours of a future.
func (h *SpendHistory) shortPaths(now time.Time, hours int, seed uint64) (paths [][]float64) {
	sum, known := h.Current, now.Sub(h.Start)
	for _, v := range h.Hourly {
		sum += v
	}
	if sum <= 0 || known < leastKnown {
		return nil
	}
	base, sigma := make([]float64, hours), unsureDay
	n := len(h.Hourly)
	for i := range base {
		base[i] = sum / known.Hours()
	}
	if n >= hoursADay {
		sigma = unsureDays
		for i := range base {
			base[i] = 0
			days := 0.
			for at := (n + i) % hoursADay; at < n; at += hoursADay {
				base[i], days = base[i]+h.Hourly[at], days+1
			}
			base[i] /= days
		}
	}
	draw := rand.New(rand.NewPCG(seed, 0x73686f7274)) //nolint:gosec // no secret
	for range budgetPaths {
		factor := math.Exp(sigma * draw.NormFloat64())
		path := make([]float64, hours)
		for i := range path {
			path[i] = base[i] * factor
		}
		paths = append(paths, path)
	}
	return paths
}
