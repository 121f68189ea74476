package anomaly

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis"
)

// Ensemble finds anomalies in one series of ticks, equally far apart: the mean of several scores, of which only what stands out
// from the recent past is reported. A step takes O(1) and allocates nothing; an Ensemble has a fixed size of about 12 KB. It is
// deterministic and not safe for concurrent use. The package's own documentation says how well it does.
type Ensemble struct {
	ticks  int       // with a value
	warmup []float64 // nil afterwards

	rarity   rarity
	extremes extremes
	level    level
	context  context
	season   Season
	report   reporter

	without [partsEnd]bool // parts that have no say

	since time.Time // of the alarm that freezes the baselines; zero when there is none
}

// Part is one of the scores of an [Ensemble].
type Part int

// The parts, in the order of [Score.Parts].
const (
	Rarity   Part = iota // a value seldom seen
	Extremes             // beyond the range of all that was seen
	Level                // the mean of the last ticks is not the usual one
	Context              // an unusual order of values
	Seasonal             // not what the hour leads one to expect
	partsEnd
)

func (p Part) String() string {
	return [partsEnd]string{"a value seldom seen", "beyond all that was seen", "another level", "an unusual order of values",
		"unlike the hour's usual value"}[p]
}

// Score is what an [Ensemble] says about one tick.
type Score struct {
	Value float64           // in [0, 1): an alarm from [Threshold] on
	Raw   float64           // mean of the parts, in [0, 1]
	Need  float64           // what Raw had to reach here, so soon after earlier alarms
	Parts [partsEnd]float64 // each in [0, 1]; NaN for one that has no say, as Seasonal while the series has no season
	Ticks int               // values learned from so far; up to [Warmup] there is no score

	Level, Spread float64 // mean and standard deviation of the last 500 values or so, without outliers
}

const (
	// Threshold is the [Score.Value] from which a tick is an alarm.
	Threshold = .5
	// Warmup is how many values an Ensemble sees before it says anything.
	Warmup = 100
	// MaxFreeze is how long an alarm keeps the baselines from learning. What lasts longer is the new normal.
	MaxFreeze = time.Hour

	mostValue   = 1e150 // beyond, in either direction, values count as this, so that squares are finite
	seasonShare = .5    // of the variance that the profile has to explain before it has a say
)

// NewEnsemble returns an Ensemble that has seen nothing.
func NewEnsemble() *Ensemble {
	return &Ensemble{
		warmup:   make([]float64, 0, Warmup),
		extremes: newExtremes(),
		level:    newLevel(),
		context:  newContext(),
	}
}

// Without returns an Ensemble in which some parts have no say: to see what they are good for.
func Without(parts ...Part) *Ensemble {
	e := NewEnsemble()
	for _, p := range parts {
		e.without[p] = true
	}
	return e
}

// Step scores v, the value of the tick at this time, by what came before, and then learns from it. While an alarm is on, range,
// level and season learn nothing. Times must not fall. A NaN or infinite value is a missing one: it scores 0 and changes nothing.
func (e *Ensemble) Step(at time.Time, v float64) Score {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Score{Ticks: e.ticks}
	}
	v = min(max(v, -mostValue), mostValue)
	e.ticks++
	s := Score{Ticks: e.ticks, Level: e.level.long.mean, Spread: e.level.long.sd()}
	learn := e.since.IsZero()
	s.Parts[Extremes] = e.extremes.step(v, learn)
	s.Parts[Level] = e.level.step(v, learn)
	s.Parts[Context] = e.context.step(v)
	s.Parts[Seasonal] = e.seasonal(at, v, learn)
	if e.ticks <= Warmup {
		e.warm(v)
		return Score{Ticks: e.ticks}
	}
	s.Parts[Rarity] = e.rarity.step(v)
	for p, left := range e.without {
		if left {
			s.Parts[p] = math.NaN()
		}
	}
	s.Raw = meanOf(s.Parts[:])
	s.Value, s.Need = e.report.step(s.Raw)
	e.freeze(at, s)
	return s
}

// seasonal returns NaN while the hour says little about the value.
func (e *Ensemble) seasonal(at time.Time, v float64, learn bool) float64 {
	score := math.NaN()
	want, known := e.season.Expect(at)
	if spread := e.season.Spread(); known && spread > 0 && e.season.Explained() >= seasonShare {
		score = surprise(2 * upperTail(math.Abs(v-want)/spread))
	}
	if learn {
		e.season.Add(at, v)
	}
	return score
}

func (e *Ensemble) warm(v float64) {
	if e.warmup = append(e.warmup, v); len(e.warmup) == Warmup {
		e.rarity.learn(e.warmup)
		e.warmup = nil
	}
}

// freeze starts, keeps or ends the state in which the baselines stay as they are.
func (e *Ensemble) freeze(at time.Time, s Score) {
	switch {
	case e.since.IsZero():
		if s.Value >= Threshold {
			e.since = at
		}
	case s.Raw < leaveAt || at.Sub(e.since) >= MaxFreeze:
		e.since = time.Time{}
	}
}

// meanOf leaves NaN out.
func meanOf(scores []float64) float64 {
	sum, n := 0.0, 0
	for _, s := range scores {
		if !math.IsNaN(s) {
			sum += s
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// Alarm says whether the tick is an anomaly by the shipped threshold.
func (s Score) Alarm() bool { return s.Value >= Threshold }

// Reason says why s is or is not an alarm.
func (s Score) Reason() analysis.Reason {
	return analysis.Reason{
		Method:    "anomaly ensemble",
		Statistic: "mean score",
		Value:     s.Raw,
		Threshold: s.Need,
		Effect:    "most of all " + s.strongest().String(),
		Baseline:  analysis.Baseline{Count: s.Ticks - 1, Level: s.Level, Spread: s.Spread},
	}
}

func (s Score) strongest() (best Part) {
	most := -1.
	for p, score := range s.Parts {
		if score > most { // never true of NaN
			most, best = score, Part(p)
		}
	}
	return best
}
