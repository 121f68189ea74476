package main

import (
	"bytes"
	"testing"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

func TestStatus_ShowsWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	target := func(name, state string, p *controlpb.Pacing) *controlpb.RouteTarget {
		return &controlpb.RouteTarget{Name: name, State: state, Pacing: p}
	}
	var out bytes.Buffer
	appendRoutes(&out, []*controlpb.Route{{Name: "r", Targets: []*controlpb.RouteTarget{
		target("a", "healthy", &controlpb.Pacing{How: "headers", Rate: 80, Summary: "80 requests/s left by the provider's headers"}),
		target("b", "paced", &controlpb.Pacing{How: "trial", Rate: 9, Waiting: 3, Summary: "9 requests/s found by trial, 3 wait"}),
		target("c", "rate_limited", &controlpb.Pacing{How: "paused", Summary: "left alone for 30s, as the provider asks"}),
		target("d", "healthy", nil),
	}}})
	const want = "route r: 3 of 4 targets take traffic; b paced (9 requests/s found by trial, 3 wait), c rate_limited (left alone for 30s, as the provider asks)\n"
	if got := out.String(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}
