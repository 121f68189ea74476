package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"llm-auto-optimizer/analysis/regime"
)

// Rate is how many requests a second the figures on detectors suppose.
const Rate = 10

// Noise makes series in which nothing changes.
type Noise struct {
	Name string
	New  func(draw *rand.Rand) func() float64
}

// Noises are what false alarms are counted on: all with a distribution, a memory or a rhythm that a detector could take for a change.
var Noises = []Noise{
	{"independent normal", func(draw *rand.Rand) func() float64 { return draw.NormFloat64 }},
	{"Student t, 4 degrees", func(draw *rand.Rand) func() float64 {
		return func() float64 {
			square := 0.
			for range 4 {
				z := draw.NormFloat64()
				square += z * z
			}
			return draw.NormFloat64() / math.Sqrt(square/4)
		}
	}},
	{"AR(1), .4", func(draw *rand.Rand) func() float64 {
		x := draw.NormFloat64()
		return func() float64 {
			x = .4*x + math.Sqrt(1-.4*.4)*draw.NormFloat64()
			return x
		}
	}},
	{"lognormal, .8", func(draw *rand.Rand) func() float64 {
		return func() float64 { return math.Exp(.8 * draw.NormFloat64()) }
	}},
	{"daily wave of half a deviation", func(draw *rand.Rand) func() float64 {
		const day = 24 * 3600 * Rate
		at := draw.Float64() * day
		return func() float64 {
			at++
			return .5*math.Sin(2*math.Pi*at/day) + draw.NormFloat64()
		}
	}},
}

// Realised is how often a detector alarmed where nothing changed.
type Realised struct {
	Detector string
	Noise    string
	Asked    float64 // values between false alarms
	Got      float64 // mean of Runs
	Error    float64 // standard error of Got
	Runs     int
}

// FalseAlarms measures the mean run length of a Shift without change, over this many runs; the same for the same seed.
func FalseAlarms(kind regime.Series, noise Noise, asked float64, runs int, seed uint64) Realised {
	lengths := parallel(runs, seed, func(draw *rand.Rand) float64 {
		return lengthOf(regime.NewShift(kind, asked), noise.New(draw))
	})
	name := [...]string{"FOCuS, requests", "FOCuS, ticks"}[kind]
	mean, sd := meanOf(lengths)
	return Realised{name, noise.Name, asked, mean, sd / math.Sqrt(float64(runs)), runs}
}

func lengthOf(s *regime.Shift, next func() float64) (steps float64) {
	for {
		steps++
		if s.Step(next()).Alarm {
			return steps
		}
	}
}

// FalseErrorAlarms is [FalseAlarms] for the error rate detector on independent outcomes, with the usual rate known or learned.
func FalseErrorAlarms(rate, asked float64, known bool, runs int, seed uint64) Realised {
	lengths := parallel(runs, seed, func(draw *rand.Rand) float64 {
		d := regime.NewKnownErrorRate(rate, asked)
		if !known {
			d = regime.NewErrorRate(rate, asked)
		}
		steps := 0.
		for alarm := false; !alarm; steps++ {
			alarm = d.Step(draw.Float64() < rate).Alarm
		}
		return steps
	})
	mean, sd := meanOf(lengths)
	name := "Bernoulli CUSUM, learned"
	if known {
		name = "Bernoulli CUSUM, known"
	}
	return Realised{name, fmt.Sprintf("errors of %g %%", 100*rate), asked, mean, sd / math.Sqrt(float64(runs)), runs}
}

// Delay is how long a detector took to see a change.
type Delay struct {
	Change  string
	Seconds float64 // median of Runs, at [Rate]
	Runs    int
}

// ErrorDelays measures, for a usual error rate of 0.5 % and one false alarm in 25 days, how long a rise to each rate goes unseen, by a
// detector that knows the usual rate, or has learned it over three hours.
func ErrorDelays(rates []float64, known bool, runs int, seed uint64) []float64 {
	const usual, settle = .005, 3 * 3600 * Rate
	var medians []float64
	for _, raised := range rates {
		lengths := parallel(runs, seed, func(draw *rand.Rand) float64 {
			d := regime.NewKnownErrorRate(usual, patience)
			if !known {
				d = regime.NewErrorRate(usual, patience)
			}
			for range settle {
				d.Step(draw.Float64() < usual)
			}
			steps := 0.
			for alarm := false; !alarm; steps++ {
				alarm = d.Step(draw.Float64() < raised).Alarm
			}
			return steps
		})
		medians = append(medians, median(lengths)/Rate)
	}
	return medians
}

// LatencyDelays does the same for latencies that are multiplied by each factor; they are lognormal with this standard deviation of
// the logarithm.
func LatencyDelays(factors []float64, sd float64, runs int, seed uint64) []float64 {
	const settle = 5000
	var medians []float64
	for _, factor := range factors {
		lengths := parallel(runs, seed, func(draw *rand.Rand) float64 {
			d := regime.NewShift(regime.Requests, patience)
			for range settle {
				d.Step(sd * draw.NormFloat64())
			}
			return lengthOf(d, func() float64 { return math.Log(factor) + sd*draw.NormFloat64() })
		})
		medians = append(medians, median(lengths)/Rate)
	}
	return medians
}

const patience = 25 * 24 * 3600 * Rate // requests

// parallel runs one many times, each with draws of its own, on all cores; the result does not depend on their number.
func parallel(runs int, seed uint64, one func(draw *rand.Rand) float64) []float64 {
	results := make([]float64, runs)
	each(runs, func(i int) { results[i] = one(rand.New(rand.NewPCG(seed, uint64(i)))) })
	return results
}

func meanOf(values []float64) (mean, sd float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sd += (v - mean) * (v - mean) / float64(max(len(values)-1, 1))
	}
	return mean, math.Sqrt(sd)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
