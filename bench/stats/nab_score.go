package stats

import (
	"cmp"
	"math"
	"slices"
)

// Profile weighs what the Numenta Anomaly Benchmark counts. The weight of a window that is found is 1 in all of them.
type Profile struct {
	Name          string
	FalsePositive float64 // at most, for a detection far from any window
	FalseNegative float64 // for a window without a detection
}

// Profiles are the three of the benchmark.
var Profiles = []Profile{{"standard", .11, 1}, {"reward low FP", .22, 1}, {"reward low FN", .11, 2}}

// scoredFrom returns the first row that is scored: the first 15 % of a series, at most 750 rows, are for learning.
func scoredFrom(rows int) int { return min(rows*15/100, 750) }

// step is one row at which the raw score changes when the threshold falls to the row's anomaly score.
type step struct {
	score  float64
	gain   float64 // of a false positive: negative. Of a row in a window: what it is worth there
	series int
	slot   int // of the window, counted over all series; -1 outside of windows
}

// Sheet is what a detector says about a corpus, ready to be scored for any part of it.
type Sheet struct {
	profile Profile
	steps   []step // by falling score
	windows []int  // by series
}

// NewSheet takes one anomaly score per row and series. A score of 0 is no detection with any threshold. O(rows log rows).
func NewSheet(corpus []Labelled, scores [][]float64, p Profile) *Sheet {
	s := &Sheet{profile: p, steps: steps(corpus, scores, p)}
	for _, series := range corpus {
		s.windows = append(s.windows, len(series.Windows))
	}
	slices.SortFunc(s.steps, func(a, b step) int { return -cmp.Compare(a.score, b.score) })
	return s
}

// Curve is the normalised score of a detector over a corpus as its threshold falls.
type Curve struct {
	thresholds []float64 // falling; a row is a detection when its score is at least the threshold
	scores     []float64 // normalised, 100 for perfect, 0 for finding nothing
}

// Curve scores by the rules of Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark"
// (2015), with one threshold for all series that are in; nil means all. Without a single window there is no normalised score: the curve
// is then empty. O(rows).
func (s *Sheet) Curve(in []bool) Curve {
	windows, slots := 0, 0
	for k, n := range s.windows {
		slots += n
		if len(in) == 0 || in[k] {
			windows += n
		}
	}
	if windows == 0 {
		return Curve{}
	}
	best := make([]float64, slots) // of each window so far
	for i := range best {
		best[i] = -s.profile.FalseNegative
	}
	null := -float64(windows) * s.profile.FalseNegative
	perfect := float64(windows)
	var c Curve
	raw := null
	for i := 0; i < len(s.steps); {
		threshold := s.steps[i].score
		for ; i < len(s.steps) && s.steps[i].score == threshold; i++ {
			switch s := s.steps[i]; {
			case len(in) > 0 && !in[s.series]:
			case s.slot < 0:
				raw += s.gain
			case s.gain > best[s.slot]:
				raw += s.gain - best[s.slot]
				best[s.slot] = s.gain
			}
		}
		c.thresholds = append(c.thresholds, threshold)
		c.scores = append(c.scores, 100*(raw-null)/(perfect-null))
	}
	return c
}

func steps(corpus []Labelled, scores [][]float64, p Profile) (all []step) {
	windows := 0
	for k, series := range corpus {
		n := len(series.Values)
		next := 0        // the window that row i is in or before
		var last *Window // the window before row i
		for i := range n {
			for next < len(series.Windows) && i > series.Windows[next].Last {
				last = &series.Windows[next]
				next++
			}
			if i < scoredFrom(n) || !(scores[k][i] > 0) {
				continue
			}
			s := step{score: scores[k][i], series: k, slot: -1}
			switch {
			case next < len(series.Windows) && i >= series.Windows[next].First:
				w := series.Windows[next]
				width := float64(w.Last - w.First + 1)
				s.slot = windows + next
				s.gain = sigmoid(-float64(w.Last-i+1)/width) / sigmoid(-1)
			case last == nil:
				s.gain = -p.FalsePositive
			default:
				distance := float64(i-last.Last) / math.Max(1, float64(last.Last-last.First))
				s.gain = -p.FalsePositive
				if distance <= 3 {
					s.gain *= -sigmoid(distance)
				}
			}
			all = append(all, s)
		}
		windows += len(series.Windows)
	}
	return all
}

// sigmoid falls from 1 to -1 and is 0 at the end of a window, y = 0.
func sigmoid(y float64) float64 { return 2/(1+math.Exp(5*y)) - 1 }

// Best returns the highest score and its threshold. Finding nothing, with a threshold above every score, counts as well.
func (c Curve) Best() (score, threshold float64) {
	threshold = math.Inf(1)
	for i, s := range c.scores {
		if s > score {
			score, threshold = s, c.thresholds[i]
		}
	}
	return score, threshold
}

// At returns the score with this threshold.
func (c Curve) At(threshold float64) float64 {
	n, _ := slices.BinarySearchFunc(c.thresholds, threshold, func(t, want float64) int {
		if t >= want {
			return -1
		}
		return 1
	})
	if n == 0 {
		return 0
	}
	return c.scores[n-1]
}
