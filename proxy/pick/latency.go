package pick

import (
	"math"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/analysis"
)

const (
	peakTau   = 10 * time.Second // of the peak-EWMA
	sizeFirst = 1000             // tokens: the input size that times are brought to
	// minLearned is how many times must have been seen before quantiles are believed.
	minLearned = 200
	// slopeLimit bounds how steeply times may grow with input: more than in proportion is a fit gone wrong.
	slopeLimit = 1
)

// latency is what is known of a target's times to answer, of one kind, brought to one input size. step runs under the target's
// mutex, all else without.
type latency struct {
	peak  atomic.Uint64 // float64 bits: seconds; 0: nothing known
	at    atomic.Int64  // of the last step
	slope atomic.Uint64 // float64 bits: of log time on log input
	p97   atomic.Uint64 // float64 bits, seconds; 0: not known yet
	p99   atomic.Uint64

	fit   *analysis.RLS
	count quantiles
}

func (l *latency) init() { l.fit = analysis.NewRLS() }

// step takes the time of an answer in.
func (l *latency) step(now int64, took time.Duration, input int64) {
	seconds := max(took.Seconds(), 1e-6)
	l.fit.Step(logSize(input), math.Log(seconds))
	if _, slope, seen := l.fit.Line(); seen >= minLearned/4 && !math.IsNaN(slope) {
		l.slope.Store(math.Float64bits(min(max(slope, 0), slopeLimit)))
	}
	at := seconds / l.factor(input)
	l.rise(now, at, true)
	l.count.add(at)
	if l.count.due() {
		l.p97.Store(math.Float64bits(l.count.quantile(.97)))
		l.p99.Store(math.Float64bits(l.count.quantile(.99)))
	}
}

// rise moves the peak-EWMA: at once to anything above it, slowly to anything below (Finagle's peak EWMA). fall says that at is the time of an
// answer and may lower it.
func (l *latency) rise(now int64, at float64, fall bool) {
	old := math.Float64frombits(l.peak.Load())
	switch {
	case at >= old:
	case !fall:
		return
	default:
		w := math.Exp(-float64(max(0, now-l.at.Load())) / float64(peakTau))
		at = old*w + at*(1-w)
	}
	l.peak.Store(math.Float64bits(at))
	l.at.Store(now)
}

// factor is how much longer an answer to this input takes than one to sizeFirst tokens.
func (l *latency) factor(input int64) float64 {
	slope := math.Float64frombits(l.slope.Load())
	if slope == 0 {
		return 1
	}
	return math.Exp(slope * (logSize(input) - math.Log1p(sizeFirst)))
}

// Relative is how long an answer took as one to a request of usual size would have taken, in seconds.
func (t *Target) Relative(q *Query, took time.Duration, input int64) float64 {
	if input <= 0 {
		input = q.Input
	}
	return took.Seconds() / t.times[q.kind()].factor(input)
}

func logSize(input int64) float64 { return math.Log1p(float64(max(input, 0))) }

// expected is the peak-EWMA for a request of sizeFirst tokens, in seconds; 0 where nothing is known.
func (l *latency) expected() float64 { return math.Float64frombits(l.peak.Load()) }

// within is a quantile for a request of this size; 0 where it is not known yet.
func (l *latency) within(q *atomic.Uint64, input int64) time.Duration {
	v := math.Float64frombits(q.Load())
	if v == 0 {
		return 0
	}
	return time.Duration(min(v*l.factor(input), 1e6) * float64(time.Second))
}

const (
	quantileBins   = 16 * 21 // a sixteenth of an octave each, from a millisecond on
	quantileMemory = 4096    // times; then their weights halve
	quantileRenew  = 64
)

// quantiles is a histogram of times on a logarithmic scale that forgets: bins are 4.4 % wide.
type quantiles struct {
	bins  [quantileBins]uint16
	total int
	since int
}

func (q *quantiles) add(seconds float64) {
	i := int(16 * math.Log2(max(seconds, 1e-3)*1e3))
	q.bins[min(max(i, 0), quantileBins-1)]++
	q.total++
	q.since++
	if q.total >= quantileMemory {
		q.total = 0
		for i := range q.bins {
			q.bins[i] /= 2
			q.total += int(q.bins[i])
		}
	}
}

// due tells whether the quantiles are to be read anew.
func (q *quantiles) due() bool {
	if q.total < minLearned || q.since < quantileRenew {
		return false
	}
	q.since = 0
	return true
}

// quantile is the upper end of the bin that holds it, in seconds.
func (q *quantiles) quantile(p float64) float64 {
	left := int(math.Ceil(p * float64(q.total)))
	for i, n := range q.bins {
		if left -= int(n); left <= 0 {
			return math.Exp2(float64(i+1)/16) / 1e3
		}
	}
	return math.Exp2(float64(quantileBins)/16) / 1e3
}
