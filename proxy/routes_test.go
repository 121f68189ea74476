package proxy

import (
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/pick"
)

// What the settings say of a route is what its targets are chosen by.
func TestSpecOf(t *testing.T) {
	t.Parallel()
	s := specOf(&config.Route{
		Name: "r", Objective: config.Objective{TTFTp95: time.Second}, Attempts: 4, Backoff: time.Millisecond, MaxWait: time.Minute, FailFast: true, Affinity: true, Exploration: .2,
		Fallback: config.Fallback{Error: []string{"e"}, RateLimit: []string{"r"}, Context: []string{"x"}, Content: []string{"n"}, Budget: []string{"b"}},
		Ejection: config.Ejection{FalseIn: 1000, Base: time.Second, Max: time.Hour, SlowStart: time.Minute},
	})
	if s.Name != "r" || s.SLO != time.Second || s.Attempts != 4 || s.Backoff != time.Millisecond || s.MaxWait != time.Minute || !s.FailFast || !s.Affinity || s.Exploration != .2 {
		t.Errorf("%+v", s)
	}
	if s.Ejection != (pick.Ejection{Off: true, FalseEvery: 1000, Base: time.Second, Max: time.Hour, SlowStart: time.Minute}) {
		t.Errorf("%+v", s.Ejection)
	}
	for cause, name := range map[pick.Cause]string{pick.Failed: "e", pick.RateLimited: "r", pick.Context: "x", pick.Content: "n", pick.Budget: "b"} {
		if list := s.Fallback[cause]; len(list) != 1 || list[0] != name {
			t.Errorf("%v falls back to %v", cause, list)
		}
	}
}
