package simulate

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The 95 % intervals of what the hold-back measures hold the truth; with CALIBRATION=1 in 93 to 97 % of a thousand runs of ten minutes, quiet and with incidents,
// else roughly in a few.
func TestMeasure_IntervalsCoverTheTruth(t *testing.T) {
	t.Parallel()
	check := func(what, text string, seeds int, low, high float64) {
		t.Helper()
		c, err := Measure(parse(t, text), seeds)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", what, c)
		if c.Runs < c.Of || c.Saved < low || c.Saved > high || c.Always < .97 {
			t.Errorf("%s: %+v, want %.2f to %.2f", what, c, low, high)
		}
	}
	if on, _ := strconv.ParseBool(os.Getenv("CALIBRATION")); !on {
		check("brief", `
route chat slo ttft 2s errors 2% holdback 10%
target a price 0.25 2.00 ttft 400ms sigma 0.4 tpot 12ms
target b price 0.80 8.00 ttft 300ms sigma 0.4 tpot 9ms
traffic rate 15/s input lognormal 800 1.0 output lognormal 200 0.8 session 2
at 80s b errors 30% for 30s
run 10m
`, 100, .90, .99)
		return
	}
	b, err := os.ReadFile(filepath.Join("..", "scenarios", "hold-back.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("run 20m", "run 10m", "at 10m", "at 5m").Replace(string(b))
	check("incident, sessions", text, 1000, .93, .97)
	check("incident, single exchanges", strings.Replace(text, "session 4", "", 1), 1000, .93, .97)
	check("quiet", strings.Replace(text, "at 5m", "# ", 1), 1000, .93, .97)
	check("crowded", strings.ReplaceAll(text, "errors 0.", "concurrency 60 errors 0."), 1000, .93, .97)
}

// The same over scenarios that nobody has tuned anything for, of which the first ten minutes are played.
func TestMeasure_GeneratedIntervalsCoverTheTruth(t *testing.T) {
	t.Parallel()
	if on, _ := strconv.ParseBool(os.Getenv("CALIBRATION")); !on {
		t.Skip("CALIBRATION is not set")
	}
	const scenarios = 1000
	var all Coverage
	parts := make([]Coverage, scenarios)
	err := each(scenarios, func(i int) (err error) {
		s, err := Parse(strings.NewReader(Generate(5000+uint64(i))), "generated")
		if err != nil {
			return err
		}
		s.Route.Holdback, s.Traffic.Session, s.For = .05, 3, 10*time.Minute
		parts[i], err = measured(s, uint64(i))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range parts {
		all.merge(&parts[i])
	}
	t.Log(all)
	if all.Saved < .93 || all.Saved > .97 || all.Always < .97 {
		t.Errorf("%+v", all)
	}
}

// Without hold-back nothing is measured, and all is as it was.
func TestPlay_WithHoldback(t *testing.T) {
	t.Parallel()
	text := strings.Replace(small, "run 5m seeds 3", "run 3m seeds 2", 1)
	text = strings.Replace(text, "at 3m b hang for 30s\nat 4m a quota 60/min\n", "", 1)
	plain, err := Play(parse(t, text), []string{Production, Optimized}, 0)
	if err != nil {
		t.Fatal(err)
	}
	held, err := Play(parse(t, strings.Replace(text, "errors 1%", "errors 1% holdback 20%", 1)), []string{Production, Optimized}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if plain[1].Runs[0].Savings != nil || held[0].Runs[0].Savings != nil {
		t.Error("savings without hold-back")
	}
	for i := range plain[0].Runs {
		if a, b := plain[0].Runs[i], held[0].Runs[i]; a.Cost != b.Cost || a.Violations != b.Violations {
			t.Error("the hold-back changes what has no optimizer")
		}
		s := held[1].Runs[i].savings()
		n := float64(held[1].Runs[i].Exchanges)
		if share := float64(s.Holdback.Exchanges) / n; share < .15 || share > .25 || float64(s.Holdback.Exchanges+s.Optimized.Exchanges) != n {
			t.Errorf("%d and %d of %v exchanges", s.Holdback.Exchanges, s.Optimized.Exchanges, n)
		}
		if s.From.Before(begin) || s.To.Sub(begin) > 4*time.Minute || s.Optimized.Wait < .1 || s.Holdback.Wait < .1 {
			t.Errorf("%+v", s)
		}
	}
	var out strings.Builder
	if err := Print(&out, parse(t, text), held); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"llmopt-auto, hold-back, seed 1\nchat: ", "against llmopt: 2 of 2 runs: saved"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
}

// Exchanges of a session have a size in common, and are as many as the scenario says; requests come when they come without sessions.
func TestPlay_Sessions(t *testing.T) {
	t.Parallel()
	requests := func(text string) (list []request) {
		s := parse(t, text)
		w := newWorld(s, 1, newRun(s, Production, 1))
		next, stop, err := w.arrivals()
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		for range 20000 {
			r, _ := next()
			list = append(list, r)
		}
		return list
	}
	single, several := requests(small), requests(strings.Replace(small, "rate 10/s", "rate 10/s session 5", 1))
	count := func(list []request) float64 {
		seen := map[uint64]bool{}
		for i := range list {
			seen[list[i].session] = true
		}
		return float64(len(list)) / float64(len(seen))
	}
	if a, b := count(single), count(several); a != 1 || b < 4.5 || b > 5.5 {
		t.Errorf("%.2f and %.2f requests a session", a, b)
	}
	sum, sums := 0., 0.
	for i := range single {
		if single[i].at != several[i].at || single[i].seed != several[i].seed {
			t.Fatal("sessions change when requests come")
		}
		sum, sums = sum+float64(single[i].input), sums+float64(several[i].input)
	}
	if r := sums / sum; r < .9 || r > 1.1 {
		t.Errorf("requests of sessions are %.2f times as large", r)
	}
}
