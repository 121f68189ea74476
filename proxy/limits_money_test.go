package proxy

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/proxy/limit"
)

// What the limits say was spent is what attempts cost, to the nano-dollar, and nothing is held in the end.
func TestLimits_Money(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch d := rand.Float64(); {
		case d < .15:
			<-time.After(60 * time.Millisecond)
		case d < .25:
			w.WriteHeader(http.StatusInternalServerError)
			return
		case d < .3:
			panic(http.ErrAbortHandler)
		}
		if rand.Float64() < .5 {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, strictAnswer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 5 {
			_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi there\"}}]}\n\n")
			_ = http.NewResponseController(w).Flush()
			if rand.Float64() < .05 {
				panic(http.ErrAbortHandler)
			}
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}))
	t.Cleanup(srv.Close)
	c := hedging(priced(limitedRoute(srv.URL, config.Limit{Target: config.ScopeAll, Caller: config.ScopeEach, USDPerDay: "$100000", Concurrent: 20})))
	two := c.Limits["l"]
	two.Name, two.Target, two.Caller = "t", config.ScopeEach, config.ScopeAll
	c.Limits["t"] = two
	g := startCached(t, c, nil, nil, io.Discard)
	hedgesAfter(g, 20*time.Millisecond)
	client := newPaceClient(t, g)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 15 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(200))*time.Millisecond)
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, client.url, strings.NewReader(fmt.Sprintf(`{"model":"m","stream":%t,"messages":[{"role":"user","content":"hello there"}]}`, rand.IntN(2) == 0)))
				req.Header.Set("Authorization", fmt.Sprintf("Bearer k%d", i%5))
				if resp, err := client.http.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	until(t, "leases are held", func() bool { held, _ := g.p.gate.Set().Leases(); return held == 0 && g.p.gate.Waiting() == 0 })
	g.stop()
	sum := ledger.Sums{}
	g.p.ledger.Collect(time.Now(), func(_ int64, _ ledger.Key, s *ledger.Sums) { sum.Add(s) })
	if sum.CostNanoUSD == 0 {
		t.Error("nothing was spent")
	}
	for _, s := range g.p.gate.Set().Stats() {
		if s.Spent != sum.CostNanoUSD {
			t.Errorf("%s: spent %d, the attempts %d", s.Rule, s.Spent, sum.CostNanoUSD)
		}
	}
	for _, rule := range []string{"l", "t"} {
		for _, s := range g.p.gate.Set().Look(time.Now(), rule, 100) {
			if s.Limit.Of == limit.Concurrent && s.Left != 20 {
				t.Errorf("held in the end: %+v", s)
			}
		}
	}
}
