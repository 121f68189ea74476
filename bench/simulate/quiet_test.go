package simulate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// quietly plays a quiet scenario with and without the optimizer.
func quietly(s *Scenario, seed uint64) (Interference, error) {
	var runs [2]*Run
	for i, name := range []string{Optimized, Production} {
		w := newWorld(s, seed, newRun(s, name, seed))
		w.strategy = makers[name](w)
		if err := w.play(); err != nil {
			return Interference{}, err
		}
		w.result.finish()
		runs[i] = w.result
	}
	return interferenceOf(s, runs[0], runs[1]), nil
}

// Where nothing happens the optimizer finds its mix within the first hour and leaves it alone then: at most one decision a day, and none that does harm for
// more than five minutes. With QUIET_DAYS=100 over as many days, of which all but each fourth are of generated scenarios that nobody has tuned anything for.
func TestQuiet_IsLeftAlone(t *testing.T) {
	t.Parallel()
	days, hours, rate := 4, 3, "4/s"
	if n, err := strconv.Atoi(os.Getenv("QUIET_DAYS")); err == nil {
		days, hours, rate = n, 24, "12/s"
	}
	text, err := os.ReadFile(filepath.Join("..", "scenarios", "quiet.txt"))
	if err != nil {
		t.Fatal(err)
	}
	known := parse(t, strings.NewReplacer("rate 30/s", "rate "+rate, "run 16h", fmt.Sprintf("run %dh", hours)).Replace(string(text)))
	parts := make([]Interference, days)
	err = each(days, func(i int) error {
		s := known
		if hours == 24 && i%4 > 0 {
			generated, err := Parse(strings.NewReader(Generate(9000+uint64(i))), "generated")
			if err != nil {
				return err
			}
			s = QuietDay(generated)
		}
		var err error
		parts[i], err = quietly(s, uint64(i)+1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var all Interference
	for i := range parts {
		all.add(&parts[i])
		if p := &parts[i]; p.Decisions+p.Ejections+p.Harmful > 0 {
			t.Logf("seed %d: %.0f decisions, %.0f ejections, %.0f stretches of harm in %.1f days", i+1, p.Decisions, p.Ejections, p.Harmful, p.Days)
		}
	}
	t.Logf("%.1f quiet days: %.2f decisions and %.2f ejections of healthy targets a day and route; %.0f stretches of harm of more than 5 minutes", all.Days,
		all.Decisions/all.Days, all.Ejections/all.Days, all.Harmful)
	if most := max(1, all.Days); all.Decisions+all.Ejections > most {
		t.Errorf("%.0f interventions in %.1f days", all.Decisions+all.Ejections, all.Days)
	}
	if all.Harmful > 0 {
		t.Errorf("%.0f stretches of harm", all.Harmful)
	}
}

// A route whose cheapest mix is at the end of its objective finds it and stays with it, for all that violations waver.
func TestQuiet_AtTheEndOfTheObjective(t *testing.T) {
	t.Parallel()
	got, err := quietly(parse(t, `
route chat slo ttft 2.2s errors 1%
target a price 0.33 1.39 ttft 953ms sigma 0.39 tpot 5ms concurrency 182 errors 0.7%
target b price 0.33 3.21 ttft 414ms sigma 0.21 tpot 9ms concurrency 78 errors 0.8%
traffic rate 10/s input lognormal 501 0.72 output lognormal 65 0.84
run 150m
`), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Decisions > 1 || got.Ejections > 0 || got.Harmful > 0 {
		t.Errorf("%+v", got)
	}
}
