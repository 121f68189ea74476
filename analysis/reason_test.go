package analysis

import (
	"encoding/json"
	"testing"
)

func TestReason_OneSentence(t *testing.T) {
	t.Parallel()
	check := func(r Reason, fired bool, want string) {
		t.Helper()
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if r.Fired() != fired {
			t.Errorf("%v: fired %v, want %v", r, r.Fired(), fired)
		}
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Reason
		if err := json.Unmarshal(raw, &back); err != nil || back != r {
			t.Errorf("%s comes back as %v, %v", raw, back, err)
		}
	}
	check(Reason{Method: "Bernoulli CUSUM", Statistic: "log-likelihood ratio", Value: 12.25, Threshold: 12, Effect: "errors 0.5 % -> 4.1 %",
		Baseline: Baseline{Count: 3600, Level: .005}}, true,
		"Bernoulli CUSUM: log-likelihood ratio 12.25 is above 12, errors 0.5 % -> 4.1 %; baseline 0.005 over 3600 values")
	check(Reason{Method: "Welch", Statistic: "p-value", Value: .2, Threshold: .01, Below: true, Baseline: Baseline{Count: 5, Level: 1, Spread: .25}},
		false, "Welch: p-value 0.2 is above 0.01; baseline 1 ± 0.25 over 5 values")
	check(Reason{Method: "m", Statistic: "s", Value: 1, Threshold: 1, Below: true}, true, "m: s 1 equals 1")
}
