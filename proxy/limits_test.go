package proxy

import (
	"cmp"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// limitedConfig has five limits in force for every caller, none of which is ever used up.
func limitedConfig(upstream string) *config.Config {
	c := testConfig(upstream)
	const plenty = 1_000_000_000
	c.Limits = map[string]config.Limit{"five": {
		Name: "five", Caller: config.ScopeEach, Route: config.ScopeAll, Target: config.ScopeAll, Timezone: "UTC",
		RequestsPerMinute: plenty, InputTokensPerMinute: plenty, OutputTokensPerMinute: plenty, Concurrent: 1000, USDPerDay: "$1000000",
	}}
	return c
}

// Limits add no allocation to an exchange, with their headers.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestLimits_Allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	for _, bc := range benchCases() {
		client := newBenchClientOf(t, bc, limitedConfig(prepared(t, []byte(bc.answer))), nil)
		for range 100 {
			client.exchange()
		}
		if got := testing.AllocsPerRun(300, client.exchange); got > maxAllocs {
			t.Errorf("%s: %.1f allocations per exchange, want at most %d", bc.name, got, maxAllocs)
		}
	}
}

// limitedRoute is a route to two targets of one provider, with a limit.
func limitedRoute(upstream string, l config.Limit) *config.Config {
	c := pacedRoute(upstream, upstream)
	l.Name, l.Timezone, l.Caller, l.Route = "l", "UTC", cmp.Or(l.Caller, config.ScopeAll), cmp.Or(l.Route, config.ScopeAll)
	c.Limits = map[string]config.Limit{"l": l}
	c.Admission.MaxWait, c.Admission.Waiters = 500*time.Millisecond, 100
	return c
}

// Over the limit of a target an exchange goes to another one that has room; where none has it waits, and is refused then.
func TestLimits_Target(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1e6}
	g := startCached(t, limitedRoute(newStrict(t, s), config.Limit{Target: config.ScopeEach, RequestsPerMinute: 2}), nil, nil, io.Discard)
	client := newPaceClient(t, g)
	seen := map[string]int{}
	for i := range 4 {
		resp, body := client.mustAsk(t, "k", "m")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, resp.StatusCode, body)
		}
		seen[resp.Header.Get("x-llmopt-target")]++
	}
	if len(seen) != 2 {
		t.Errorf("targets %v", seen)
	}
	for target, n := range seen {
		if n != 2 {
			t.Errorf("%s served %d", target, n)
		}
	}
	resp, body := client.mustAsk(t, "k", "m")
	if resp.StatusCode != http.StatusTooManyRequests || errorCode(body) != "rate_limit_exceeded" || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "at the target") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	if held, leaked := g.p.gate.Set().Leases(); held != 0 || leaked != 0 {
		t.Errorf("%d leases, %d leaked", held, leaked)
	}
}

// One target's slots bound what goes there at a time; those over it wait, and what a failed attempt has held is free at once.
func TestLimits_TargetSlots(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1e6, ttft: 20 * time.Millisecond}
	g := startCached(t, limitedRoute(newStrict(t, s), config.Limit{Target: config.ScopeEach, Concurrent: 1}), nil, nil, io.Discard)
	client := newPaceClient(t, g)
	var wg sync.WaitGroup
	start := time.Now()
	for range 10 {
		wg.Go(func() {
			if resp, body := client.mustAsk(t, "k", "m"); resp.StatusCode != http.StatusOK {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("ten at two at a time took %v", took)
	}
	s.mu.Lock()
	s.hangUp = true
	s.mu.Unlock()
	for range 3 {
		_, _, _ = client.ask("k", "m")
	}
	until(t, "slots are held", func() bool { held, _ := g.p.gate.Set().Leases(); return held == 0 })
}
