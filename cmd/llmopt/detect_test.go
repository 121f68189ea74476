package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// runLine runs a command line and returns what it printed and its exit status.
func runLine(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, nil, &out, &errs)
	return out.String(), errs.String(), status
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDetect_AStrangersFile(t *testing.T) {
	t.Parallel()
	var in strings.Builder
	in.WriteString("timestamp,value\n")
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 500 {
		v := strconv.Itoa(100 + i*i%7)
		switch i {
		case 300:
			v = "" // missing
		case 400:
			v = "1e3"
		}
		fmt.Fprintf(&in, "%s,%s\n", start.Add(time.Duration(i)*time.Minute).Format("2006-01-02 15:04:05"), v)
	}
	file := writeFile(t, "series.csv", in.String())
	dir := t.TempDir()
	scores, plot := filepath.Join(dir, "scores.csv"), filepath.Join(dir, "plot.png")
	labels := writeFile(t, "labels.json", `[["2026-03-01 06:30:00", "2026-03-01 06:50:00"]]`)
	stdout, stderr, status := runLine(t, "detect", "--in", file, "--out", scores, "--plot", plot, "--labels", labels)
	if status != 0 || !strings.Contains(stdout, "2026-03-01 06:40:00  value 1000") || !strings.Contains(stdout, "1 alarms in 500 rows") {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
	f, err := os.Open(scores)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 501 || !slices.Equal(rows[0], []string{"timestamp", "value", "anomaly_score"}) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if rows[301][1] != "" || rows[401][1] != "1e3" || rows[1][0] != "2026-03-01 00:00:00" {
		t.Errorf("rows have changed: %v %v", rows[301], rows[401])
	}
	for i, row := range rows[1:] {
		s, err := strconv.ParseFloat(row[2], 64)
		if err != nil || s < 0 || s > 1 || (s >= .5) != (i == 400) {
			t.Errorf("row %d: %v", i, row)
		}
	}
	if raw, err := os.ReadFile(plot); err != nil || !bytes.HasPrefix(raw, []byte("\x89PNG")) || len(raw) < 5000 {
		t.Errorf("plot: %d bytes, %v", len(raw), err)
	}
	var alarms []detected
	stdout, _, _ = runLine(t, "detect", "--in", file, "--json")
	if err := json.Unmarshal([]byte(stdout), &alarms); err != nil || len(alarms) != 1 || alarms[0].Row != 400 || alarms[0].Reason == "" {
		t.Errorf("%v: %s", err, stdout)
	}
	stdout, stderr, _ = runLine(t, "detect", "--in", file, "--out", "-")
	if strings.Count(stdout, "\n") != 501 || !strings.Contains(stderr, "1 alarms") {
		t.Errorf("%d lines, %s", strings.Count(stdout, "\n"), stderr)
	}
}

func TestDetect_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	check := func(text, want string, wantStatus int, more ...string) {
		t.Helper()
		file := writeFile(t, "in.csv", text)
		_, stderr, status := runLine(t, append([]string{"detect", "--in", file}, more...)...)
		if status != wantStatus || !strings.Contains(stderr, want) {
			t.Errorf("%q: status %d, %s, want %q", text, status, stderr, want)
		}
	}
	check("", "no header", 1)
	check("timestamp,value\nsoon,1\n", `line 2: timestamp "soon"`, 1)
	check("timestamp,value\n2026-01-02,1\n2026-01-01,1\n", "row 2: timestamp 2026-01-01 is before", 1)
	check("timestamp,value\n", `plot "x.gif": the name has to end in .png or .svg`, 2, "--plot", "x.gif")
	check("timestamp,value\n", "no such file", 1, "--labels", "/nowhere/labels.json")
	if stdout, _, status := runLine(t, "detect", "--in", writeFile(t, "in.csv", "timestamp,value\n2026-01-02,1\n")); status != 0 ||
		!strings.Contains(stdout, "not enough data") {
		t.Errorf("one row: status %d, %s", status, stdout)
	}
	if _, stderr, status := runLine(t, "detect", "--in", "/nowhere"); status != 1 || !strings.Contains(stderr, "no such file") {
		t.Errorf("no file: %d %s", status, stderr)
	}
}

func TestChangepoints(t *testing.T) {
	t.Parallel()
	check := func(text, want string, wantStatus int) {
		t.Helper()
		stdout, stderr, status := runLine(t, "changepoints", "--in", writeFile(t, "in.json", text))
		if status != wantStatus || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%.60q: status %d, %s%s, want %q", text, status, stdout, stderr, want)
		}
	}
	step := strings.Repeat("1,1.1,null,1.05,", 10) + strings.TrimSuffix(strings.Repeat("4,4.1,", 20), ",")
	check(`{"series": [{"raw": [`+step+`]}]}`, "[40]\n", 0)
	check(`{"series": [{"raw": [`+step+`]}, {"raw": [`+step+`]}]}`, "[40]\n", 0)
	check(`{"series": [{"raw": [1, 2]}]}`, "[]\n", 0)
	check(`{"series": [{"raw": []}]}`, "[]\n", 0)
	check(`{}`, "series: empty", 1)
	check(`nothing`, "invalid character", 1)
	plot := filepath.Join(t.TempDir(), "p.svg")
	_, stderr, status := runLine(t, "changepoints", "--in", writeFile(t, "in.json", `{"series": [{"raw": [`+step+`]}]}`), "--plot", plot, "--explain")
	if raw, err := os.ReadFile(plot); status != 0 || err != nil || !bytes.Contains(raw, []byte("<svg")) || !strings.Contains(stderr, "PELT") {
		t.Errorf("status %d, %v, %s", status, err, stderr)
	}
}

func TestBenchStats_NeedsData(t *testing.T) {
	t.Parallel()
	if _, stderr, status := runLine(t, "bench", "stats"); status != 2 || !strings.Contains(stderr, "OPTIMIZER_DATA") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if _, stderr, status := runLine(t, "bench", "stats", "--data", t.TempDir()); status != 1 || !strings.Contains(stderr, "holds neither") {
		t.Errorf("status %d, %s", status, stderr)
	}
	data := os.Getenv("OPTIMIZER_DATA")
	if data == "" {
		t.Skip("OPTIMIZER_DATA is not set: it names the directory that holds nab and tcpd")
	}
	out := filepath.Join(t.TempDir(), "new", "stats.json")
	stdout, _, status := runLine(t, "bench", "stats", "--data", filepath.Join(data, "tcpd"), "--out", out)
	if raw, err := os.ReadFile(out); status != 0 || err != nil || !json.Valid(raw) || !strings.Contains(stdout, "at most one change") {
		t.Errorf("status %d, %v, %s", status, err, stdout)
	}
}
