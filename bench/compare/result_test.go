package compare

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sampleResult has two contenders whose CPU times are in a ratio of .75, round by round, on a machine that got slower.
func sampleResult() *Result {
	r := &Result{
		Machine: Machine{CPU: "Test", Cores: 2, Kernel: "6.1", Go: "go1", Versions: map[string]string{Nginx: "nginx 1"}},
		Commit:  "0123456789abcdef", Command: "make compare", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rounds: 3,
		Contenders: []string{Direct, Relay, Llmopt}, IdleRSS: map[string]int64{Relay: 15e6, Llmopt: 22e6},
	}
	all := scenarios(false)
	for i := range all {
		for round := range 3 {
			slow := float64(round + 1)
			r.add(&all[i], Direct, &Sample{Seconds: 2, Count: 200_000, Sim: 7, Driver: 6, P50: 100, P99: 900}, nil)
			r.add(&all[i], Relay, &Sample{Seconds: 2, Count: 90_000, CPU: 20 * slow, RSS: 40e6, P50: 150, P99: 1000}, nil)
			r.add(&all[i], Llmopt, &Sample{Seconds: 2, Count: 95_000, CPU: 15 * slow, RSS: 44e6, P50: 160, P99: 950}, nil)
		}
	}
	return r
}

func TestResult_TablesAndVerdicts(t *testing.T) {
	t.Parallel()
	r := sampleResult()
	if mid, spread := r.median(Saturated, Relay, cpu); mid != 40 || spread != 40 {
		t.Errorf("median %v, spread %v", mid, spread)
	}
	for _, v := range r.verdicts() {
		want := .75
		if strings.HasPrefix(v.name, "memory") {
			want = 1.1
		}
		if math.Abs(v.ratio-want) > 1e-9 || v.passed != (want <= v.bound) || !math.IsNaN(v.nginx) {
			t.Errorf("%s: %+v, want a ratio of %v", v.name, v, want)
		}
	}
	text := r.figures(false).text()
	for _, want := range []string{"saturated  ", "40.0", "30.0", "memory idle, MB", "22", "45000", "60", "–"} {
		if !strings.Contains(text, want) {
			t.Errorf("table lacks %q:\n%s", want, text)
		}
	}
	r.add(&scenarios(false)[0], Llmopt, nil, errors.New("answer of 1 bytes"))
	if v, _ := r.median(Saturated, Llmopt, cpu); !math.IsNaN(v) {
		t.Errorf("a cell with an error shows %v", v)
	}
	if err := r.Errors(); err == nil || !strings.Contains(err.Error(), Saturated+", llmopt: answer of 1 bytes") {
		t.Errorf("errors: %v", err)
	}
	if n := len(r.verdicts()); n != 5 {
		t.Errorf("%d verdicts with a failed cell, want 5", n)
	}
}

func TestResult_IsRecordedAndFoundAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "results")
	if _, _, err := Newest(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a result: %v", err)
	}
	r := sampleResult()
	for range 2 {
		if _, err := r.Write(dir); err != nil {
			t.Fatal(err)
		}
		r.Started = r.Started.Add(time.Hour)
	}
	got, path, err := Newest(dir)
	if err != nil || !strings.HasSuffix(path, "compare-20260102T040405Z-0123456789ab.json") {
		t.Fatalf("newest: %s, %v", path, err)
	}
	if a, b := mustJSON(t, got.Cells), mustJSON(t, r.Cells); a != b {
		t.Errorf("got %s, want %s", a, b)
	}
	var page strings.Builder
	if err := got.Page(&page, path); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{filepath.Base(path), "2 January 2026", "0123456789abcdef", "| 0.75 | ≤ 1.05 | met |", "| 1.10 | ≤ 1.05 | not met |", "nginx 1"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "compare-99.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Newest(dir); err == nil || !strings.Contains(err.Error(), "compare-99.json") {
		t.Errorf("broken result: %v", err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The page in docs is the newest recorded result, as the generator prints it.
func TestPage_IsTheOneInDocs(t *testing.T) {
	t.Parallel()
	r, path, err := Newest("../results")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no result is recorded")
	}
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := r.Page(&page, path); err != nil {
		t.Fatal(err)
	}
	if doc, err := os.ReadFile("../../docs/performance.md"); err != nil || string(doc) != page.String() {
		t.Errorf("docs/performance.md is not what make performance writes (%v)", err)
	}
}

func TestGeometricBound(t *testing.T) {
	t.Parallel()
	check := func(got, want float64) {
		t.Helper()
		if math.Abs(got/want-1) > .015 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	for degrees, want := range map[float64]float64{2: 2.920, 4: 2.132, 19: 1.729, 99: 1.660} { // any table
		check(student95(degrees), want)
	}
	mean, upper, known := geometricBound([]float64{1, 1.21, 1.1})
	if !known {
		t.Fatal("three are enough")
	}
	check(mean, 1.1)
	check(upper, 1.1*math.Exp(2.920*math.Log(1.1)/math.Sqrt(3)))
	if _, _, known := geometricBound([]float64{1, 2}); known {
		t.Error("a bound from two")
	}
}
