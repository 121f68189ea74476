package stats

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Labelled is a series with the windows in which its anomalies lie.
type Labelled struct {
	Series
	Windows []Window // ascending
}

// Window is a range of rows, both included.
type Window struct{ First, Last int }

// ReadNAB reads a directory laid out as the Numenta Anomaly Benchmark: series/<category>/<file>.csv (or data/ in place of
// series/) and labels/combined_windows.json.
func ReadNAB(dir string) ([]Labelled, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "labels", "combined_windows.json"))
	if err != nil {
		return nil, err
	}
	var labels map[string][][2]string
	if err := json.Unmarshal(raw, &labels); err != nil {
		return nil, fmt.Errorf("labels/combined_windows.json: %w", err)
	}
	root := filepath.Join(dir, "series")
	if _, err := os.Stat(root); err != nil {
		root = filepath.Join(dir, "data")
	}
	var all []Labelled
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".csv") {
			return err
		}
		name := path.Join(filepath.Base(filepath.Dir(file)), d.Name())
		windows, ok := labels[name]
		if !ok {
			return fmt.Errorf("%s has no entry in labels/combined_windows.json", name)
		}
		l := Labelled{}
		if l.Series, err = readFile(file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l.Name = name
		if l.Windows, err = rowsOf(windows, l.Times); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, l)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no series in %s", root)
	}
	slices.SortFunc(all, func(a, b Labelled) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

func readFile(name string) (Series, error) {
	f, err := os.Open(name)
	if err != nil {
		return Series{}, err
	}
	defer f.Close()
	s, err := ReadCSV(f)
	if err != nil {
		return Series{}, err
	}
	return *s, nil
}

// ReadWindows returns the rows of the windows that raw holds for a series: a combined_windows.json of the benchmark, in which name, or
// else the only entry with the same file name, is looked up; or one list of [first, last] timestamps.
func ReadWindows(raw []byte, name string, times []time.Time) ([]Window, error) {
	var one [][2]string
	if json.Unmarshal(raw, &one) == nil {
		return rowsOf(one, times)
	}
	var all map[string][][2]string
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	windows, ok := all[name]
	for other, its := range all {
		if !ok && path.Base(other) == path.Base(name) {
			windows, ok = its, true
		}
	}
	if !ok {
		return nil, fmt.Errorf("no entry %q", name)
	}
	return rowsOf(windows, times)
}

// rowsOf turns windows of time into ranges of rows.
func rowsOf(windows [][2]string, times []time.Time) ([]Window, error) {
	var rows []Window
	for _, w := range windows {
		from, err := parseStamp(w[0])
		if err != nil {
			return nil, err
		}
		to, err := parseStamp(w[1])
		if err != nil {
			return nil, err
		}
		first := slices.IndexFunc(times, func(t time.Time) bool { return !t.Before(from) })
		last := len(times) - 1
		for last >= 0 && times[last].After(to) {
			last--
		}
		if first < 0 || last < first {
			return nil, fmt.Errorf("window %s to %s holds no row", w[0], w[1])
		}
		rows = append(rows, Window{first, last})
	}
	slices.SortFunc(rows, func(a, b Window) int { return a.First - b.First })
	return rows, nil
}
