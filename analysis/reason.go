package analysis

import (
	"fmt"
	"strings"
)

// Reason says why a method did or did not fire. It is plain data: it goes into the journal and comes back equal.
type Reason struct {
	Method    string   `json:"method"`           // in the field's words: "Bernoulli CUSUM", "Mann-Kendall"
	Statistic string   `json:"statistic"`        // what was compared: "log-likelihood ratio", "p-value"
	Value     float64  `json:"value"`            // of the statistic; finite
	Threshold float64  `json:"threshold"`        // finite
	Below     bool     `json:"below,omitempty"`  // fires when the value is below the threshold, as p-values do
	Effect    string   `json:"effect,omitempty"` // the size in the operator's words: "errors 0.5 % -> 4.1 %"
	Baseline  Baseline `json:"baseline"`
}

// Baseline is what a value was compared with.
type Baseline struct {
	Count  int     `json:"count"`            // observations or ticks it was made of
	Level  float64 `json:"level"`            // mean, median, rate or slope, in the unit of the input
	Spread float64 `json:"spread,omitempty"` // standard deviation or its robust equivalent; 0 where the method has none
}

// Fired says whether the value is past the threshold. A value equal to the threshold has fired.
func (r Reason) Fired() bool {
	if r.Below {
		return r.Value <= r.Threshold
	}
	return r.Value >= r.Threshold
}

// String is the reason as one sentence.
func (r Reason) String() string {
	relation := "is below"
	switch {
	case r.Value == r.Threshold:
		relation = "equals"
	case r.Value > r.Threshold:
		relation = "is above"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %s %.4g %s %.4g", r.Method, r.Statistic, r.Value, relation, r.Threshold)
	if r.Effect != "" {
		fmt.Fprintf(&s, ", %s", r.Effect)
	}
	if r.Baseline.Count > 0 {
		fmt.Fprintf(&s, "; baseline %.4g", r.Baseline.Level)
		if r.Baseline.Spread > 0 {
			fmt.Fprintf(&s, " ± %.3g", r.Baseline.Spread)
		}
		fmt.Fprintf(&s, " over %d values", r.Baseline.Count)
	}
	return s.String()
}
