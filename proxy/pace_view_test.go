package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
)

// People are shown how fast a target may be asked, and why.
func TestPacing_Views(t *testing.T) {
	t.Parallel()
	g, _ := slowed(t, &strict{rate: 1e6}, 20)
	check := func(how, text string) {
		t.Helper()
		v := g.p.Routes()[0].Paces[0]
		if v.How != how || v.String() != text {
			t.Errorf("got %q, %q, want %q, %q", v.How, v.String(), how, text)
		}
		a, err := g.p.Explain(Question{Body: []byte(`{"model":"m","messages":[]}`)})
		if err != nil || !strings.Contains(a.Candidates[0].Note, text) {
			t.Errorf("explained as %q, %v", a.Candidates[0].Note, err)
		}
	}
	pace := g.onlyPace()
	check("trial", fmt.Sprintf("%.3g requests/s found by trial", pace.State(time.Now()).Rate))
	terms := pacing.Terms{Share: .97}
	var turn pacing.Turn
	eventually(t, "there is room", func() bool {
		turn, _ = pace.Try(time.Now(), &terms, limit.Need{})
		return turn.Held()
	})
	pace.Answered(time.Now(), &turn, limit.Limited, nil, time.Hour, 0)
	pace.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
	if v := g.p.Routes()[0].Paces[0]; v.How != "paused" || !strings.HasPrefix(v.String(), "left alone for ") {
		t.Errorf("got %q, %q", v.How, v.String())
	}
	g.p.settings.Load().routes.list[0].pick.Targets()[0].PacedUntil(time.Now().Add(time.Hour))
	a, err := g.p.Explain(Question{Body: []byte(`{"model":"m","messages":[]}`)})
	if err != nil || a.Why.String() != "room" || a.Candidates[0].State.String() != "paced" || a.Candidates[0].Probability != 1 {
		t.Errorf("explained as %+v, %v", a, err)
	}
	for _, want := range []string{`llmopt_pacing_trusted{route="r",target="a"} 0`, `llmopt_pacing_rate{route="r",target="a"} 1`, `llmopt_pacing_paused_seconds{route="r",target="a"} 3599.`, `llmopt_pacing_concurrency_limit{route="r",target="a"} 0`} {
		if !strings.Contains(g.metricsText(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
