package stats

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"time"

	"llm-auto-optimizer/analysis/anomaly"
	"llm-auto-optimizer/analysis/regime"
)

// AnomalyResult is how well a detector does on a labelled corpus.
type AnomalyResult struct {
	Detector string     `json:"detector"`
	Best     [3]float64 `json:"best"`      // by profile, with the threshold that is best for it
	BestAt   [3]Bound   `json:"best_at"`   // these thresholds
	Shipped  [3]float64 `json:"shipped"`   // with the threshold it comes with
	HeldOut  [3]float64 `json:"held_out"`  // of series that did not take part in choosing the threshold: mean of the splits
	PerTickN float64    `json:"ns_a_tick"` // CPU time
}

// Bound is a threshold; positive infinity, in JSON null, is one that nothing reaches.
type Bound float64

// MarshalJSON implements json.Marshaler.
func (b Bound) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(b), 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(b), 'g', -1, 64), nil
}

// splits is how many random halves of a corpus are held out; each detector has the same ones.
const splits = 50

// JudgeAnomalies scores all detectors on a corpus.
func JudgeAnomalies(corpus []Labelled, detectors []Detector) []AnomalyResult {
	results := make([]AnomalyResult, len(detectors))
	each(len(detectors), func(i int) {
		scores, perTick := scoresOf(corpus, detectors[i])
		r := AnomalyResult{Detector: detectors[i].Name, PerTickN: perTick}
		for p, profile := range Profiles {
			sheet := NewSheet(corpus, scores, profile)
			c := sheet.Curve(nil)
			best, at := c.Best()
			r.Best[p], r.BestAt[p] = best, Bound(at)
			r.Shipped[p] = c.At(detectors[i].Shipped)
			r.HeldOut[p] = heldOut([]*Sheet{sheet})
		}
		results[i] = r
	})
	return results
}

func scoresOf(corpus []Labelled, d Detector) (scores [][]float64, perTick float64) {
	ticks, start := 0, time.Now()
	for k := range corpus {
		scores = append(scores, d.Scores(&corpus[k].Series))
		ticks += len(corpus[k].Values)
	}
	return scores, float64(time.Since(start)) / float64(max(ticks, 1))
}

// NestedAnomalies returns, by profile, what is left when not only the threshold but also which parts of the ensemble have a say is chosen
// on one half of the series and judged on the other.
func NestedAnomalies(corpus []Labelled) (r [3]float64) {
	var candidates [][][]float64
	for mask := range 1 << 5 {
		var without []anomaly.Part
		for p := range 5 {
			if mask>>p&1 == 1 {
				without = append(without, anomaly.Part(p))
			}
		}
		if len(without) > 2 {
			continue
		}
		scores, _ := scoresOf(corpus, Detector{New: func() func(time.Time, float64) float64 {
			e := anomaly.Without(without...)
			return func(at time.Time, v float64) float64 { return e.Step(at, v).Value }
		}})
		candidates = append(candidates, scores)
	}
	each(len(Profiles), func(p int) {
		var sheets []*Sheet
		for _, scores := range candidates {
			sheets = append(sheets, NewSheet(corpus, scores, Profiles[p]))
		}
		r[p] = heldOut(sheets)
	})
	return r
}

// heldOut chooses candidate and threshold on random halves and returns the mean score of the other halves.
func heldOut(candidates []*Sheet) float64 {
	draw := rand.New(rand.NewPCG(1, 2))
	series := len(candidates[0].windows)
	total, n := 0., 0.
	for range splits {
		train, test := make([]bool, series), make([]bool, series)
		for i, k := range draw.Perm(series) {
			train[k], test[k] = i < series/2, i >= series/2
		}
		best, threshold, chosen := math.Inf(-1), 0., 0
		for c, sheet := range candidates {
			if score, at := sheet.Curve(train).Best(); score > best {
				best, threshold, chosen = score, at, c
			}
		}
		if c := candidates[chosen].Curve(test); len(c.scores) > 0 {
			total += c.At(threshold)
			n++
		}
	}
	return total / max(n, 1)
}

// SegmentResult is how well a segmenter does on annotated series.
type SegmentResult struct {
	Segmenter string          `json:"segmenter"`
	F1        float64         `json:"f1"`
	Covering  float64         `json:"covering"`
	Series    []SegmentSeries `json:"series"`
}

// SegmentSeries is how it does on one of them.
type SegmentSeries struct {
	Name     string  `json:"name"`
	F1       float64 `json:"f1"`
	Covering float64 `json:"covering"`
	Found    []int   `json:"found"`
}

const segmentMargin = 5 // samples

// JudgeSegments scores all segmenters on a corpus.
func JudgeSegments(corpus []Segmented, segmenters []Segmenter) []SegmentResult {
	results := make([]SegmentResult, len(segmenters))
	each(len(segmenters), func(i int) { results[i] = judgeSegmenter(corpus, segmenters[i]) })
	return results
}

func judgeSegmenter(corpus []Segmented, s Segmenter) SegmentResult {
	r := SegmentResult{Segmenter: s.Name}
	for _, c := range corpus {
		found := s.Find(c.Values)
		one := SegmentSeries{c.Name, F1(c.Annotations, found, segmentMargin), Covering(c.Annotations, found, len(c.Values[0])), found}
		r.Series = append(r.Series, one)
		r.F1 += one.F1 / float64(len(corpus))
		r.Covering += one.Covering / float64(len(corpus))
	}
	return r
}

// NestedSegments returns F1 and covering when the penalty is chosen, by the sum of the two, on one half of the series and judged on
// the other.
func NestedSegments(corpus []Segmented) (f1, covering float64) {
	var candidates []SegmentResult
	for penalty := 3.; penalty <= 14; penalty++ {
		candidates = append(candidates, judgeSegmenter(corpus, Segmenter{Find: func(v [][]float64) []int {
			return regime.SegmentAt(v, penalty).Starts
		}}))
	}
	draw := rand.New(rand.NewPCG(1, 2))
	for range splits {
		order := draw.Perm(len(corpus))
		half := len(order) / 2
		best, chosen := -1., 0
		for c, r := range candidates {
			sum := 0.
			for _, k := range order[:half] {
				sum += r.Series[k].F1 + r.Series[k].Covering
			}
			if sum > best {
				best, chosen = sum, c
			}
		}
		for _, k := range order[half:] {
			f1 += candidates[chosen].Series[k].F1 / float64(splits*(len(order)-half))
			covering += candidates[chosen].Series[k].Covering / float64(splits*(len(order)-half))
		}
	}
	return f1, covering
}

// each runs do(0) to do(n-1) on all cores.
func each(n int, do func(i int)) {
	var wait sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
}
