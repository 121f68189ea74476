package stats

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Segmented is a series of one or more dimensions with the changepoints that people marked in it.
type Segmented struct {
	Name        string
	Values      [][]float64 // [dimension][sample]; NaN where missing
	Annotations [][]int     // of each annotator: the first samples of new segments, ascending, 0 left out
}

// ReadTCPD reads a directory laid out as the Turing Change Point Dataset: annotations.json and series/<name>.json (or
// datasets/<name>/<name>.json). Series without annotations are left out.
func ReadTCPD(dir string) ([]Segmented, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "annotations.json"))
	if err != nil {
		return nil, err
	}
	var annotations map[string]map[string][]int
	if err := json.Unmarshal(raw, &annotations); err != nil {
		return nil, fmt.Errorf("annotations.json: %w", err)
	}
	var all []Segmented
	for name, people := range annotations {
		file := filepath.Join(dir, "series", name+".json")
		if _, err := os.Stat(file); err != nil {
			file = filepath.Join(dir, "datasets", name, name+".json")
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		values, err := ReadSamples(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		s := Segmented{Name: name, Values: values}
		for _, marks := range people {
			s.Annotations = append(s.Annotations, slices.DeleteFunc(marks, func(i int) bool { return i <= 0 }))
		}
		slices.SortFunc(s.Annotations, slices.Compare)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Segmented) int { return strings.Compare(a.Name, b.Name) })
	if len(all) == 0 {
		return nil, errors.New("annotations.json: no series")
	}
	return all, nil
}

// ReadSamples reads a series in the format of the Turing Change Point Dataset: {"series": [{"raw": [1, null, 2.5]}]}, one entry a
// dimension. null is a missing sample, NaN in the result.
func ReadSamples(r io.Reader) ([][]float64, error) {
	var file struct {
		Series []struct {
			Label string     `json:"label"`
			Raw   []*float64 `json:"raw"`
		} `json:"series"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, err
	}
	if len(file.Series) == 0 {
		return nil, errors.New(`series: empty, needed is [{"raw": [1, null, 2.5]}], one entry a dimension`)
	}
	var values [][]float64
	for i, dim := range file.Series {
		if want := len(file.Series[0].Raw); len(dim.Raw) != want {
			return nil, fmt.Errorf("series[%d].raw: %d samples, series[0].raw has %d", i, len(dim.Raw), want)
		}
		column := make([]float64, len(dim.Raw))
		for j, v := range dim.Raw {
			column[j] = math.NaN()
			if v != nil {
				column[j] = *v
			}
		}
		values = append(values, column)
	}
	return values, nil
}

// F1 returns the F-measure of found, the first samples of new segments, by van den Burg and Williams, "An Evaluation of Change
// Point Detection Algorithms" (2020): precision over all annotators' points together, recall as the mean over annotators, a point
// being found within the margin. 0 counts as a point for everyone.
func F1(annotations [][]int, found []int, margin int) float64 {
	detected := withZero(found)
	var union []int
	recall := 0.0
	for _, marks := range annotations {
		truth := withZero(marks)
		union = append(union, truth...)
		recall += float64(matches(truth, detected, margin)) / float64(len(truth)) / float64(len(annotations))
	}
	slices.Sort(union)
	union = slices.Compact(union)
	precision := float64(matches(union, detected, margin)) / float64(len(detected))
	if precision+recall == 0 {
		return 0
	}
	return 2 * precision * recall / (precision + recall)
}

func withZero(points []int) []int {
	all := append([]int{0}, points...)
	slices.Sort(all)
	return slices.Compact(all)
}

// matches counts the points of truth with a detection within the margin, each detection serving the nearest one only.
func matches(truth, detected []int, margin int) (n int) {
	left := slices.Clone(detected)
	for _, t := range truth {
		best := -1
		for i, d := range left {
			if abs(d-t) <= margin && (best < 0 || abs(d-t) < abs(left[best]-t)) {
				best = i
			}
		}
		if best >= 0 {
			left = slices.Delete(left, best, best+1)
			n++
		}
	}
	return n
}

func abs(i int) int { return max(i, -i) }

// Covering returns how well the segments that begin at found cover those of each annotator: the best Jaccard overlap of each true
// segment, weighed by its length, averaged over annotators (Arbelaez et al., "Contour Detection and Hierarchical Image
// Segmentation", 2011). n is the number of samples.
func Covering(annotations [][]int, found []int, n int) float64 {
	total := 0.0
	segments := segmentsOf(found, n)
	for _, marks := range annotations {
		for _, truth := range segmentsOf(marks, n) {
			best := 0.0
			for _, s := range segments {
				both := min(truth.Last, s.Last) - max(truth.First, s.First) + 1
				either := max(truth.Last, s.Last) - min(truth.First, s.First) + 1
				best = max(best, float64(both)/float64(either))
			}
			total += best * float64(truth.Last-truth.First+1)
		}
	}
	return total / float64(n*max(1, len(annotations)))
}

func segmentsOf(points []int, n int) []Window {
	starts := withZero(points)
	var all []Window
	for i, first := range starts {
		last := n - 1
		if i+1 < len(starts) {
			last = starts[i+1] - 1
		}
		all = append(all, Window{first, last})
	}
	slices.SortFunc(all, func(a, b Window) int { return cmp.Compare(a.First, b.First) })
	return all
}
