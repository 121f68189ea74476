package proxy

import (
	"bufio"
	"io"
	"maps"
	"net/http"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/ledger"
)

func TestLedger_SumsAttemptsByCaller(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, chatAnswer("gpt-4o-mini"))))
	c := g.dial()
	r := bufio.NewReader(c)
	for _, headers := range [][]string{{"Authorization: Bearer a"}, {"Authorization: Bearer a"}, {"Authorization: Bearer b"}, nil} {
		_, _ = io.WriteString(c, post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`, headers...))
		g.read(r, http.MethodPost)
	}
	lines := g.lines(4)
	var cost int64
	for _, line := range lines {
		cost += int64(line["cost_nanousd"].(float64))
	}
	got := map[string]int64{}
	var sum ledger.Sums
	g.p.ledger.Collect(time.Now(), func(_ int64, k ledger.Key, s *ledger.Sums) {
		got[k.Provider+" "+k.Model+" "+k.Route+" "+k.Caller] = s.Attempts
		sum.Add(s)
	})
	want := map[string]int64{
		"openai gpt-4o-mini direct " + lines[0]["caller"].(string): 2,
		"openai gpt-4o-mini direct " + lines[2]["caller"].(string): 1,
		"openai gpt-4o-mini direct -":                              1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if sum.CostNanoUSD != cost || cost == 0 || sum.Input == 0 || sum.Output == 0 || sum.Errors != 0 {
		t.Errorf("got %+v, want the %d NanoUSD of the log", sum, cost)
	}
}
