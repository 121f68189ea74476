package compare

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Result is everything that was measured, turn by turn.
type Result struct {
	Machine    Machine          `json:"machine"`
	Commit     string           `json:"commit"`
	Command    string           `json:"command"`
	Started    time.Time        `json:"started"`
	Rounds     int              `json:"rounds"`
	Quick      bool             `json:"quick,omitzero"`
	Contenders []string         `json:"contenders"`
	IdleRSS    map[string]int64 `json:"idle_rss_bytes"`
	Cells      []*Cell          `json:"cells"`
}

// Cell is one contender in one scenario.
type Cell struct {
	Scenario  string    `json:"scenario"`
	Unit      string    `json:"unit"` // what Count counts and CPU is per
	Contender string    `json:"contender"`
	Samples   []*Sample `json:"samples"`         // by round, those that failed left out
	Error     string    `json:"error,omitempty"` // of the first that failed: the cell does not count
}

// Machine is what the figures depend on.
type Machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Kernel   string            `json:"kernel"`
	Go       string            `json:"go"`
	Versions map[string]string `json:"versions"` // of the programs compared
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Versions: map[string]string{}}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan() && m.CPU == ""; {
			if name, value, _ := strings.Cut(s.Text(), ":"); strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	for name, command := range map[string][]string{HAProxy: {"haproxy", "-v"}, Nginx: {"nginx", "-v"}} {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput() //nolint:gosec,noctx // fixed commands that end at once
		if err == nil {
			line, _, _ := strings.Cut(string(out), "\n")
			m.Versions[name] = strings.TrimSpace(line)
		}
	}
	return m
}

func (r *Result) idle(name string, rss int64) {
	if r.IdleRSS == nil {
		r.IdleRSS = map[string]int64{}
	}
	if _, known := r.IdleRSS[name]; !known {
		r.IdleRSS[name] = rss
	}
}

func (r *Result) add(s *scenario, name string, sample *Sample, err error) {
	c := r.cell(s.name, name)
	if c == nil {
		c = &Cell{Scenario: s.name, Unit: s.unit, Contender: name}
		r.Cells = append(r.Cells, c)
	}
	switch {
	case err == nil:
		c.Samples = append(c.Samples, sample)
	case c.Error == "":
		c.Error = err.Error()
	}
}

func (r *Result) cell(scenario, name string) *Cell {
	for _, c := range r.Cells {
		if c.Scenario == scenario && c.Contender == name {
			return c
		}
	}
	return nil
}

// median of a figure over the rounds, and how far the middle half of them is apart; NaN where it was not measured.
func (r *Result) median(scenario, name string, figure func(*Sample) float64) (mid, spread float64) {
	c := r.cell(scenario, name)
	if c == nil || c.Error != "" || len(c.Samples) == 0 {
		return math.NaN(), math.NaN()
	}
	v := make([]float64, len(c.Samples))
	for i, s := range c.Samples {
		v[i] = figure(s)
	}
	return medianOf(v), quartile(v, 3) - quartile(v, 1)
}

// medianOf sorts v.
func medianOf(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// quartile of sorted values, the nearest rank.
func quartile(v []float64, q int) float64 { return v[min(len(v)-1, len(v)*q/4)] }

// Errors are those of all cells.
func (r *Result) Errors() error {
	var all []error
	for _, c := range r.Cells {
		if c.Error != "" {
			all = append(all, fmt.Errorf("%s, %s: %s", c.Scenario, c.Contender, c.Error))
		}
	}
	return errors.Join(all...)
}

// Write records the result in a directory, under a name by date and commit, and returns the path.
func (r *Result) Write(dir string) (string, error) {
	commit := r.Commit
	if len(commit) > 12 {
		commit = commit[:12]
	}
	path := filepath.Join(dir, fmt.Sprintf("compare-%s-%s.json", r.Started.Format("20060102T150405Z"), commit))
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // results are for everybody
		return "", err
	}
	return path, os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // as above
}

// Newest reads the latest result in a directory. The error is fs.ErrNotExist where there is none.
func Newest(dir string) (*Result, string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "compare-*.json"))
	if err != nil {
		return nil, "", err
	}
	if len(paths) == 0 {
		return nil, "", fmt.Errorf("%s holds no result: %w", dir, os.ErrNotExist)
	}
	path := slices.Max(paths)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return r, path, nil
}
