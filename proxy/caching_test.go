package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
)

// cachedCases are requests whose answers can be kept: they state their usage.
func cachedCases() []benchCase {
	cases := benchCases()
	last := &cases[len(cases)-1]
	const usage = `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":200,"completion_tokens":10,"total_tokens":210}}`
	last.answer = strings.Replace(last.answer, chunk(chatDone), chunk("data: "+usage+"\n\n")+chunk(chatDone), 1)
	return cases
}

// cachedClient asks what is in the cache.
func cachedClient(tb testing.TB, bc benchCase) *benchClient {
	kept := &mapCache{}
	client := newBenchClientOf(tb, bc, cachingConfig(prepared(tb, []byte(bc.answer))), kept)
	client.exchange()
	for until := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) { // an answer is stored a moment after it has gone out
		if kept.len() == 1 {
			return client
		}
		if time.Now().After(until) {
			tb.Fatal("the answer is not stored")
		}
	}
}

// BenchmarkExchange_Hit takes exchanges that the cache answers. Compare with BenchmarkExchange, where a provider does.
func BenchmarkExchange_Hit(b *testing.B) { benchHits(b, cachedClient) }

func benchHits(b *testing.B, clientOf func(tb testing.TB, bc benchCase) *benchClient) {
	for _, bc := range cachedCases() {
		b.Run(bc.name, func(b *testing.B) {
			client := clientOf(b, bc)
			b.ReportAllocs()
			for b.Loop() {
				client.exchange()
			}
		})
	}
}

// BenchmarkExchange_Miss looks an answer up in vain each time, asks the provider, and does not keep what it says.
func BenchmarkExchange_Miss(b *testing.B) {
	for _, bc := range cachedCases() {
		b.Run(bc.name, func(b *testing.B) {
			c := cachingConfig(prepared(b, []byte(bc.answer)))
			c.Cache.Finish = []string{"never"}
			client := newBenchClientOf(b, bc, c, &mapCache{})
			client.exchange()
			b.ReportAllocs()
			for b.Loop() {
				client.exchange()
			}
		})
	}
}

// A hit allocates what any exchange may, and a few small things for its headers.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestCache_HitAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	countHitAllocations(t, cachedClient)
}

// countHitAllocations counts those of clients that ask what the cache has.
func countHitAllocations(t *testing.T, clientOf func(tb testing.TB, bc benchCase) *benchClient) {
	t.Helper()
	const most = maxAllocs + 2
	for _, bc := range cachedCases() {
		client := clientOf(t, bc)
		for range 100 {
			client.exchange()
		}
		if got := testing.AllocsPerRun(300, client.exchange); got > most {
			t.Errorf("%s: %.1f allocations per hit, want at most %d", bc.name, got, most)
		}
	}
}

// Many at once, of many callers: nobody ever gets an answer that another caller's request brought.
func TestCache_NobodyGetsAnothersAnswer(t *testing.T) {
	t.Parallel()
	up := echoingChat(t)
	g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 60 {
				body := fmt.Sprintf(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"question %d"}],"stream":%t}`, i%10, i%2 == 0)
				want := fmt.Sprintf("caller-%d question %d", caller, i%10)
				if got := chatText(t, g.addr, fmt.Sprintf("caller-%d", caller), body); got != want {
					t.Errorf("caller %d got %q, want %q", caller, got, want)
				}
			}
		})
	}
	wg.Wait()
	if hits := g.p.books.cache.book(directRoute).all().Results["hit"]; hits == 0 {
		t.Error("no hit at all")
	}
}

// Providers differ in which of several credentials counts: who shares one of them with somebody else shares no answers.
func TestCache_AllCredentialsTellCallers(t *testing.T) {
	t.Parallel()
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, plainAnswer)
	})
	kept := &mapCache{}
	g := startCached(t, cachingConfig(up), kept, nil, io.Discard)
	const body = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"mine"}]}`
	send := func(query string, headers ...string) string {
		t.Helper()
		before := kept.len()
		status, result, _ := askCached(t, g.addr, query, body, headers...)
		if status != 200 {
			t.Fatal(status)
		}
		for until := time.Now().Add(10 * time.Second); result == "miss" && kept.len() == before; <-time.After(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("the answer is not stored")
			}
		}
		return result
	}
	callers := []struct {
		query   string
		headers []string
	}{
		{"", []string{"Authorization", "Bearer shared"}},
		{"", []string{"Authorization", "Bearer shared", "x-api-key", "ann"}},
		{"", []string{"Authorization", "Bearer shared", "x-api-key", "bob"}},
		{"", []string{"Authorization", "Bearer shared", "api-key", "bob"}},
		{"?key=ann", []string{"Authorization", "Bearer shared"}},
		{"?key=bob", []string{"Authorization", "Bearer shared"}},
		{"?key=bob", nil},
		{"?key=ann&key=bob", nil},
		{"?access_token=bob", nil},
	}
	for i, c := range callers {
		if got := send(c.query, c.headers...); got != "miss" {
			t.Errorf("caller %d, who has not asked before: %s", i, got)
		}
	}
	for i, c := range callers {
		if got := send(c.query, c.headers...); got != "hit" {
			t.Errorf("caller %d, who has: %s", i, got)
		}
	}
	if n := calls.Load(); n != int64(len(callers)) {
		t.Errorf("%d calls of the provider", n)
	}
	if got := send(""); got != "bypass" {
		t.Errorf("nobody: %s", got)
	}
}

// An old answer that can't be told in the form that is wanted leaves the failure as it is, with all that the provider says of it.
func TestCache_StandInThatCannotBeTold(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	withLogprobs := strings.Replace(plainAnswer, `"finish_reason"`, `"logprobs":{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]}],"refusal":null},"finish_reason"`, 1)
	up, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"message":"down for a moment"}}`)
			return
		}
		fmt.Fprint(w, withLogprobs)
	})
	c := cachingConfig(up)
	c.Cache.TTL, c.Cache.StaleIfError = time.Millisecond, time.Hour
	kept := &mapCache{}
	g := startCached(t, c, kept, nil, io.Discard)
	const body = `{"model":"gpt-4o-mini","logprobs":true,"messages":[{"role":"user","content":"a"}],"stream":%t}`
	if status, result, text := askCached(t, g.addr, "", fmt.Sprintf(body, false), "Authorization", "Bearer k"); status != 200 || result != "miss" || text != withLogprobs {
		t.Fatal(status, result, text)
	}
	for until := time.Now().Add(10 * time.Second); kept.len() == 0 || kept.young(2*time.Millisecond); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the answer is not stored")
		}
	}
	down.Store(true)
	if status, result, text := askCached(t, g.addr, "", fmt.Sprintf(body, true), "Authorization", "Bearer k"); status != 503 || result != "miss" || !strings.Contains(text, "down for a moment") {
		t.Errorf("as a stream: %d %s %s", status, result, text)
	}
	if status, result, text := askCached(t, g.addr, "", fmt.Sprintf(body, false), "Authorization", "Bearer k"); status != 200 || result != "stale" || text != withLogprobs {
		t.Errorf("as it is: %d %s %s", status, result, text)
	}
	if n := g.p.books.cache.book(directRoute).all(); n.Saved != 0 || n.Sooner != 0 {
		t.Errorf("a stand-in counts as saved: %d, %d", n.Saved, n.Sooner)
	}
}

// What the cache answers says nothing of targets; that it had to stand in for them does, whether one was tried or none could be.
func TestCache_WhatTheOptimizerHears(t *testing.T) {
	t.Parallel()
	for result, want := range map[cacheResult]int{cacheHit: 0, cacheStale: 1, cacheMiss: 1} {
		x := newExchange()
		x.p = &Proxy{ring: window.NewRing()}
		x.policy, x.route = &policy.Snapshot{}, &routeState{name: "r"}
		x.cache.result = result
		x.report(time.Now(), window.OK)
		heard := 0
		x.p.ring.Drain(func(e *window.Exchange) {
			heard++
			if failed := result == cacheStale; e.Failed != failed || e.Violation != failed {
				t.Errorf("%v: failed %t, violation %t", result, e.Failed, e.Violation)
			}
		})
		if heard != want {
			t.Errorf("%v: %d reports", result, heard)
		}
	}
}

// A route that gets other targets does not go on with their predecessors' answers; one that gets other shares does.
func TestCache_KeyOfARoute(t *testing.T) {
	t.Parallel()
	providers := map[string]*providerState{}
	for _, name := range []string{"a", "b"} {
		providers[name] = &providerState{cacheKey: cacheKeyOfProvider(&config.Provider{Name: name, BaseURL: "https://" + name})}
	}
	key := func(provider, model string, weight config.Fraction) string {
		return cacheKeyOf(&config.Route{Name: "r", Targets: map[string]config.Target{"t": {Name: "t", Provider: provider, Model: model, Weight: float64(weight)}}}, providers)
	}
	first := key("a", "m", 1)
	if key("a", "m", .5) != first {
		t.Error("another share, another key")
	}
	if key("b", "m", 1) == first || key("a", "n", 1) == first {
		t.Error("another target, the same key")
	}
}
