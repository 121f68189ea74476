package stats

import (
	"os"
	"strconv"
	"testing"

	"llm-auto-optimizer/analysis/regime"
)

// Realised rates of false alarms are within 15 % of those asked for. By default with a run length of ten minutes and a tolerance for
// the few runs; with CALIBRATION=1 of an hour and six hours, and once of 30 days.
func TestFalseAlarms_AsOftenAsAskedFor(t *testing.T) {
	t.Parallel()
	check := func(r Realised, share float64) {
		t.Helper()
		t.Logf("%-16s %-32s asked %9.0f, got %9.0f ± %.0f", r.Detector, r.Noise, r.Asked, r.Got, r.Error)
		if r.Got < (1-share)*r.Asked-2*r.Error || r.Got > (1+share)*r.Asked+2*r.Error {
			t.Errorf("%s on %s: one in %.0f ± %.0f, asked for one in %.0f", r.Detector, r.Noise, r.Got, r.Error, r.Asked)
		}
	}
	if on, _ := strconv.ParseBool(os.Getenv("CALIBRATION")); !on {
		for _, noise := range Noises {
			check(FalseAlarms(regime.Requests, noise, 3000, 60, 1), .15)
		}
		check(FalseErrorAlarms(.005, 36_000, true, 200, 1), .15)
		return
	}
	const hour = 3600 * Rate
	for _, asked := range []float64{hour, 6 * hour} {
		for _, noise := range Noises {
			check(FalseAlarms(regime.Requests, noise, asked, 800, 2), .15)
		}
		for _, rate := range []float64{.002, .005, .02, .1} {
			check(FalseErrorAlarms(rate, asked, true, 2000, 2), .25) // sums of few weights: between the points the curve is wavy
			if r := FalseErrorAlarms(rate, asked, false, 1000, 2); r.Got < .85*asked-2*r.Error {
				t.Errorf("%+v", r) // learned: at least as long
			}
		}
	}
	check(FalseAlarms(regime.Requests, Noises[0], 30*24*hour, 40, 3), .25)
}

func TestDelays(t *testing.T) {
	t.Parallel()
	runs, tolerance := 60, .25 // for a median of few
	check := func(what string, got, want []float64) {
		t.Helper()
		t.Logf("%s: %.1f s, wanted %.1f s", what, got, want)
		for i := range got {
			if got[i] > (1+tolerance)*want[i] {
				t.Errorf("%s: change %d is seen after %.1f s, wanted are %.1f s", what, i, got[i], want[i])
			}
		}
	}
	if os.Getenv("CALIBRATION") != "" {
		runs, tolerance = 2000, .03
	}
	rates := []float64{.02, .04, .1, .3, 1}
	check("errors 2, 4, 10, 30, 100 %, usual rate known", ErrorDelays(rates, true, runs, 1), []float64{80, 25, 8, 2.5, .8})
	check("latency x1.25, x1.5, x2, x4", LatencyDelays([]float64{1.25, 1.5, 2, 4}, .4, runs, 1), []float64{20, 8, 5, 3})
}
