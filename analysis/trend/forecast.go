package trend

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Forecast continues a series of hourly sums that cannot fall below 0, such as spend: damped Holt (Gardner and McKenzie,
// "Forecasting trends in time series", Management Science 1985) on the logarithm, after a profile of the hours of the week, with
// bootstrap paths from its own past errors. It does not suppose Poisson or normal arrivals: real ones are overdispersed.
type Forecast struct {
	start   time.Time // of the first hour to come
	floor   float64   // added before the logarithm, so that an empty hour has one
	profile profile
	holt    holt
	hours   int            // of history
	errors  [][day]float64 // of the days ahead that past origins forecast, in logarithms
}

const (
	day  = 24
	week = 7 * day

	// LeastHours is how much history a [Forecast] needs.
	LeastHours = 3 * day
	mostHours  = 8 * week // older ones say little about now

	floorShare   = .02 // of the mean hour
	damping      = .9
	originDays   = 14
	profileWeeks = 3       // of history before weekdays are told apart
	originStep   = day / 4 // between the past origins
)

// NewForecast learns from hourly, the sums of full hours of which the first begins at start. NaN, infinite and negative values
// count as 0. False for fewer than 72 hours, or if all are 0. O(hours).
func NewForecast(start time.Time, hourly []float64) (*Forecast, bool) {
	if extra := len(hourly) - mostHours; extra > 0 {
		start, hourly = start.Add(time.Duration(extra)*time.Hour), hourly[extra:]
	}
	f := &Forecast{start: start.Add(time.Duration(len(hourly)) * time.Hour), hours: len(hourly)}
	clean := make([]float64, len(hourly))
	for i, v := range hourly {
		if v > 0 && !math.IsInf(v, 0) {
			clean[i] = v
			f.floor += floorShare * v / float64(len(hourly))
		}
	}
	if len(hourly) < LeastHours || f.floor <= 0 {
		return nil, false
	}
	logs := make([]float64, len(clean))
	for i, v := range clean {
		logs[i] = math.Log(v + f.floor)
	}
	f.profile, f.holt = fit(start, logs)
	f.errors = dayErrors(start, logs)
	return f, true
}

// fit returns what the logarithms of these hours say about the ones to come.
func fit(start time.Time, logs []float64) (profile, holt) {
	p := newProfile(start, logs)
	rest := make([]float64, len(logs))
	for i, v := range logs {
		rest[i] = v - p.at(start.Add(time.Duration(i)*time.Hour))
	}
	return p, fitHolt(rest)
}

// profile is what an hour of the week adds to the logarithm.
type profile struct{ hourly [week]float64 }

func (p *profile) at(t time.Time) float64 { return p.hourly[slot(t)] }

func slot(t time.Time) int {
	t = t.UTC()
	return int(t.Weekday())*day + t.Hour()
}

// newProfile takes, by the hour of the day, the median of how far hours stand off their day; and from three weeks on, by the hour of
// the week, of how far they stand off their week, shrunk towards the former: three Mondays say less about Mondays than all days do.
func newProfile(start time.Time, logs []float64) (p profile) {
	var byDay [day][]float64
	var byWeek [week][]float64
	sums := make([]float64, len(logs)+1)
	for i, v := range logs {
		sums[i+1] = sums[i] + v
	}
	about := func(i, span int) float64 { // mean of the span that surrounds hour i
		from := max(0, min(i-span/2, len(logs)-span))
		return (sums[from+span] - sums[from]) / float64(span)
	}
	for i, v := range logs {
		at := slot(start.Add(time.Duration(i) * time.Hour))
		byDay[at%day] = append(byDay[at%day], v-about(i, day))
		if len(logs) >= profileWeeks*week {
			byWeek[at] = append(byWeek[at], v-about(i, week))
		}
	}
	for at := range p.hourly {
		p.hourly[at] = medianOf(byDay[at%day])
		if n := float64(len(byWeek[at])); n > 0 {
			p.hourly[at] += n / (n + 1) * (medianOf(byWeek[at]) - p.hourly[at])
		}
	}
	return p
}

func medianOf(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return middle(slices.Sorted(slices.Values(v)))
}

// holt is the state of damped exponential smoothing.
type holt struct{ alpha, beta, level, slope float64 }

func (h *holt) next() float64 { return h.level + damping*h.slope }

// learn takes an error of next in.
func (h *holt) learn(e float64) {
	h.level = h.next() + h.alpha*e
	h.slope = damping*h.slope + h.alpha*h.beta*e
}

// fitHolt chooses the smoothing with the least absolute one-step errors after the first day, and returns its state at the end.
func fitHolt(v []float64) (best holt) {
	least := math.Inf(1)
	for _, alpha := range []float64{.05, .1, .2, .35, .5, .7} {
		for _, beta := range []float64{0, .05, .2} {
			h, sum := begin(alpha, beta, v), 0.
			for i, x := range v {
				e := x - h.next()
				h.learn(e)
				if i >= day {
					sum += math.Abs(e)
				}
			}
			if sum < least {
				least, best = sum, h
			}
		}
	}
	return best
}

func begin(alpha, beta float64, v []float64) holt {
	return holt{alpha: alpha, beta: beta, level: medianOf(v[:min(len(v), day)])}
}

// dayErrors returns how wrong forecasts of the next day were at past origins, made from what was known there: from half of the
// history on, at most two weeks back. A day's hours keep their common error, which is what the error of their sum is made of.
func dayErrors(start time.Time, logs []float64) (all [][day]float64) {
	for i := max(2*day, len(logs)/2, len(logs)-originDays*day); i+day <= len(logs); i += originStep {
		p, ahead := fit(start, logs[:i])
		var errors [day]float64
		for k := range errors {
			errors[k] = logs[i+k] - ahead.next() - p.at(start.Add(time.Duration(i+k)*time.Hour))
			ahead.learn(0)
		}
		all = append(all, errors)
	}
	days := float64(len(all)*originStep) / day
	widen := math.Sqrt(1 + 1/days) // as for a value to come after so many seen: few days show too little of what can happen
	for i := range all {
		for k := range all[i] {
			all[i][k] *= widen
		}
	}
	return all
}

// Paths draws possible futures of this many hours, [path][hour], in the unit of the history; the same for the same seed. Each day of a
// path is as wrong, in one direction or the other, as the forecast was on some day of the past; the next day is forecast from there.
// O(paths hours).
func (f *Forecast) Paths(hours, paths int, seed uint64) [][]float64 {
	draw := rand.New(rand.NewPCG(seed, 0x70617468))
	all := make([][]float64, paths)
	for p := range all {
		all[p] = make([]float64, hours)
		h, ahead := f.holt, f.holt
		var errors *[day]float64
		sign := 1.
		for i := range all[p] {
			if i%day == 0 {
				errors, ahead, sign = &f.errors[draw.IntN(len(f.errors))], h, 1
				if draw.IntN(2) == 0 {
					sign = -1
				}
			}
			v := ahead.next() + sign*errors[i%day]
			ahead.learn(0)
			h.learn(v - h.next())
			log := v + f.profile.at(f.start.Add(time.Duration(i)*time.Hour))
			all[p][i] = max(0, math.Exp(log)-f.floor)
		}
	}
	return all
}
