package control

import (
	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// summary puts what the windows recorded in the words of the API.
func summary(s *window.Summary) *controlpb.Summary {
	tokens := s.Tokens()
	p := &controlpb.Summary{
		Requests:                  s.Requests(),
		RequestsPerSecond:         s.Rate(),
		Errors:                    s.Errors(),
		Outcomes:                  map[string]int64{},
		TtftSeconds:               quantiles(s.TTFT()),
		DurationSeconds:           quantiles(s.Latency()),
		TimePerOutputTokenSeconds: quantiles(s.TPOT()),
		TokensInput:               tokens.Input,
		TokensCacheRead:           tokens.CacheRead,
		TokensCacheWrite:          tokens.CacheWrite,
		TokensOutput:              tokens.Output,
		TokensReasoning:           tokens.Reasoning,
		CostNanousd:               s.Cost().Sum(),
		Estimated:                 s.Estimated(),
		Unpriced:                  s.Unpriced(),
	}
	for _, o := range window.Outcomes() {
		if n := s.Count(o); n > 0 {
			p.Outcomes[o.String()] = n
		}
	}
	return p
}

func quantiles(t window.Times) *controlpb.Quantiles {
	at := func(q float64) float64 {
		d, _ := t.Quantile(q) // 0 when nothing was measured, which Count tells
		return d.Seconds()
	}
	return &controlpb.Quantiles{Count: t.Count(), P50: at(.5), P90: at(.9), P95: at(.95), P99: at(.99)}
}
