package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
)

// telling is a provider whose headers tell of limits that nobody comes near.
func telling(t *testing.T, takes time.Duration) (url string) {
	t.Helper()
	url, _ = counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(takes)
		w.Header().Set("x-ratelimit-limit-requests", "10000")
		w.Header().Set("x-ratelimit-remaining-requests", "9000")
		w.Header().Set("x-ratelimit-reset-requests", "60s")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strictAnswer)
	})
	return url
}

// Where a limit of ours for a target is in the way, it is that which the exchange has met: its provider lets it through at once.
func TestPacing_OwnLimitsAreNotTheProviders(t *testing.T) {
	t.Parallel()
	c := onlyTarget(limitedRoute(telling(t, 100*time.Millisecond), config.Limit{Target: config.ScopeEach, Concurrent: 1}))
	c.Admission.MaxWait = 10 * time.Second
	g := start(t, c)
	g.p.ring = window.NewRing()
	client := newPaceClient(t, g)
	for range 5 { // until it is believed
		client.mustAsk(t, "k", "m")
	}
	if served := atOnce(t, client, 3); served != 3 {
		t.Fatalf("%d served", served)
	}
	met := 0
	for _, x := range reported(t, g, 8) {
		switch l := &x.Limited; {
		case l.Lacked != 0 || l.Paced > 10*time.Millisecond:
			t.Errorf("by the provider: %+v", *l)
		case l.Met == 1<<limit.Concurrent && l.Queued > 0:
			met++
		}
	}
	if got, _ := g.p.Paced("r", "a"); met != 2 || got.Held != 0 || got.Attempts < 5 {
		t.Errorf("%d have met the limit; %+v", met, got)
	}
}

// Attempts that were let through by trial say nothing of limits that the provider tells of, nor do those that are held back by it.
func TestPacing_TrialsAreNotCounted(t *testing.T) {
	t.Parallel()
	g, c := slowed(t, &strict{rate: 1e6}, 20)
	if served := atOnce(t, c, 5); served != 5 {
		t.Errorf("%d served", served)
	}
	if got, ok := g.p.Paced("r", "a"); !ok || got != (PacedCounts{}) {
		t.Errorf("%+v, %v", got, ok)
	}
}

// What an exchange has waited for its provider is told as that, though a hedge has won that did not wait.
func TestPacing_WaitOfAHedgedExchange(t *testing.T) {
	t.Parallel()
	cfg := hedging(pacedRoute(newStrict(t, &strict{rate: 1e6, ttft: 2 * time.Second}), newStrict(t, &strict{rate: 1e6})))
	g := startCached(t, cfg, nil, nil, io.Discard)
	g.p.ring = window.NewRing()
	hedgesAfter(g, time.Second)
	for i, pause := range []time.Duration{600 * time.Millisecond, time.Second} { // the first has room sooner
		now := time.Now()
		p := g.p.paces.Find(now, g.p.settings.Load().routes.list[0].targets[i].own.identity, hashID{}, []byte("m"))
		turn, _ := p.Try(now, &pacing.Terms{Share: .97, MaxWait: time.Second}, limit.Need{})
		p.Answered(now, &turn, limit.Limited, nil, pause, 0)
		p.End(now, &turn, true, limit.NoMatter, 0, 0)
	}
	begin := time.Now()
	resp, body := newPaceClient(t, g).mustAsk(t, "k", "m")
	took := time.Since(begin)
	x := reported(t, g, 1)[0]
	if resp.StatusCode != http.StatusOK || resp.Header.Get("x-llmopt-target") != "b" || x.Attempts != 2 {
		t.Fatalf("%d %s: %+v", resp.StatusCode, body, x)
	}
	if l := &x.Limited; l.Paced <= time.Millisecond || l.Paced > took || l.Queued != 0 || l.Lacked == 0 || l.Met != 0 {
		t.Errorf("%+v", *l)
	}
}

// What is reserved for the first answers of a route is a guess, which is told as such where their lengths are learned from. Where these are never told there is nothing but the guess.
func TestLimits_GuessedReservations(t *testing.T) {
	t.Parallel()
	check := func(answer string, want int) {
		t.Helper()
		url, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
		})
		g := start(t, limitedRoute(url, config.Limit{Target: config.ScopeAll, TokensPerMinute: 1e9}))
		g.p.ring = window.NewRing()
		client, guessed := newPaceClient(t, g), 0
		for range 60 {
			client.mustAsk(t, "k", "m")
		}
		for _, x := range reported(t, g, 60) {
			if x.Limited.Reserved == 0 || x.Output == 0 {
				t.Errorf("%+v", x)
			}
			if x.Limited.Guessed {
				guessed++
			}
		}
		if guessed < want || guessed > want+min(want, 1) { // the last may have been under way
			t.Errorf("%d guessed, want %d: %s", guessed, want, answer)
		}
	}
	check(strictAnswer, 30)
	check(`{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi there."},"finish_reason":"stop"}]}`, 0)
}
