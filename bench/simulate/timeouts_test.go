package simulate

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// What the tuner of timeouts does to the scenarios that are about it, beside the tuner of shares alone.
func TestPlay_TimeoutsPay(t *testing.T) {
	if raceEnabled {
		t.Skip("a run is one goroutine: there is nothing to race")
	}
	t.Parallel()
	check := func(file string, length time.Duration, better func(with, without *Run) bool, decision string) {
		t.Helper()
		f, err := os.Open("../scenarios/" + file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s, err := Parse(f, file)
		if err != nil {
			t.Fatal(err)
		}
		s.For = length
		o, err := Play(s, []string{Optimized, RoutingOnly}, 1)
		if err != nil {
			t.Fatal(err)
		}
		with, without := o[0].Runs[0], o[1].Runs[0]
		if all := strings.Join(with.Decisions, "\n"); !better(with, without) || !strings.Contains(all, decision) {
			t.Errorf("%s: %d violations at $%.2f, %d hedges; without %d at $%.2f, %d hedges; want %q of\n%s", file, with.Violations, with.Cost, with.Hedged,
				without.Violations, without.Cost, without.Hedged, decision, all)
		}
	}
	check("hedges-pay.txt", 40*time.Minute, func(with, without *Run) bool {
		return with.Violations < without.Violations*7/10 && with.Cost < 1.05*without.Cost
	}, "now hedges up to 4 %")
	check("hedges-do-not-pay.txt", 51*time.Minute, func(with, without *Run) bool {
		return with.Hedged < without.Hedged/2 && with.Cost < without.Cost && float64(with.Violations) < 1.1*float64(without.Violations)
	}, "now hedges up to 0.5 %")
	check("hanging-answers.txt", 45*time.Minute, func(with, without *Run) bool {
		return with.Violations < without.Violations/2 && with.Cost < 1.05*without.Cost
	}, "now gives attempts up after 2 times")
	check("refused-repetitions.txt", 25*time.Minute, func(with, without *Run) bool {
		return with.Violations < without.Violations*6/10 && with.Cost < 1.15*without.Cost
	}, "now repeats up to 40 %")
}

// Over scenarios that are about other things, with hedges and learned bounds, it does no harm; and where an operator wants neither, it changes nothing.
func TestPlay_TimeoutsDoNoHarm(t *testing.T) {
	t.Parallel()
	const scenarios = 2
	cost := 0.
	for seed := range uint64(scenarios) {
		text := Generate(2000 + seed)
		play := func(text string) (with, without *Run) {
			s := parse(t, text)
			s.For = 40 * time.Minute
			o, err := Play(s, []string{Optimized, RoutingOnly}, 1)
			if err != nil {
				t.Fatal(err)
			}
			return o[0].Runs[0], o[1].Runs[0]
		}
		with, without := play(strings.Replace(text, "errors 1%\n", "errors 1% hedge 3% learned x4\n", 1))
		cost += math.Log(with.Cost/without.Cost) / scenarios
		if with.Violations > without.Violations*3/2+with.Exchanges/1000 {
			t.Errorf("scenario %d: %d violations, %d without, of %d", seed, with.Violations, without.Violations, with.Exchanges)
		}
		if seed > 0 {
			continue
		}
		if with, without := play(text); with.Hedged > 0 || math.Abs(with.Cost/without.Cost-1) > .01 {
			t.Errorf("scenario %d: %d hedges, $%.3f in place of $%.3f", seed, with.Hedged, with.Cost, without.Cost)
		}
	}
	if r := math.Exp(cost); r > 1.03 {
		t.Errorf("%.4f times the cost", r)
	}
}
