package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pick"
)

// onlyTarget takes a route's second target away.
func onlyTarget(c *config.Config) *config.Config {
	for name := range c.Routes {
		delete(c.Routes[name].Targets, "b")
	}
	return c
}

// priced has a route's targets cost what gpt-4o does.
func priced(c *config.Config) *config.Config {
	for name, t := range c.Routes["r"].Targets {
		t.Model = "gpt-4o"
		c.Routes["r"].Targets[name] = t
	}
	for name, p := range c.Providers {
		p.PricedAs = "openai"
		c.Providers[name] = p
	}
	return c
}

// hedgesAfter has all requests of a route hedged whose answers take longer.
func hedgesAfter(g *gateway, d time.Duration) {
	for _, target := range g.p.settings.Load().routes.list[0].pick.Targets() {
		for range 256 {
			lease := target.Begin(time.Now(), &pick.Query{})
			lease.Settle(time.Now(), &pick.Result{Outcome: pick.Good, Took: d})
		}
	}
}

func hedging(c *config.Config) *config.Config {
	r := c.Routes["r"]
	r.Hedge, r.Attempts = 1, 4
	c.Routes["r"] = r
	return c
}

// A hedge does not wait for its turn, nor does its exchange for the hedge.
func TestLimits_HedgeDoesNotWait(t *testing.T) {
	t.Parallel()
	c := hedging(limitedRoute(newStrict(t, &strict{rate: 1e6, ttft: 300 * time.Millisecond}), config.Limit{Target: "b", RequestsPerMinute: 20, Smooth: 30 * time.Second}))
	g := startCached(t, c, nil, nil, io.Discard)
	hedgesAfter(g, 50*time.Millisecond)
	for range 3 { // the next turn is in nine seconds
		g.p.gate.TryEnter(&limit.Request{Target: limit.Name("b"), Part: limit.Attempt})
	}
	start := time.Now()
	resp, body := newPaceClient(t, g).mustAsk(t, "k", "m")
	if took := time.Since(start); resp.StatusCode != http.StatusOK || resp.Header.Get("x-llmopt-target") != "a" || took > 5*time.Second {
		t.Errorf("%d by %s after %v: %s", resp.StatusCode, resp.Header.Get("x-llmopt-target"), took, body)
	}
}

// A refusal on a route tells of the route's limits, and the log of the route.
func TestLimits_RefusalOnRoute(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{"r", config.ScopeEach} {
		var log syncBuffer
		g := startCached(t, limitedRoute(newStrict(t, &strict{rate: 1e6}), config.Limit{Target: config.ScopeAll, Route: scope, RequestsPerMinute: 1}), nil, nil, &log)
		client := newPaceClient(t, g)
		client.mustAsk(t, "k", "m")
		resp, body := client.mustAsk(t, "k", "m")
		if got := resp.Header.Get("RateLimit"); resp.StatusCode != http.StatusTooManyRequests || !strings.HasPrefix(got, `"l-requests-minute";r=0;t=`) {
			t.Errorf("%s: %d, RateLimit %q: %s", scope, resp.StatusCode, got, body)
		}
		until(t, "no line", func() bool {
			return strings.Contains(log.String(), `"route":"r","class":"heavy","arm":"treated","target":"","status":429`)
		})
	}
}

// Streams teach how many tokens a model makes of bytes.
func TestLimits_StreamsTeach(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":33,\"completion_tokens\":5,\"total_tokens\":38}}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(srv.Close)
	g := startCached(t, limitedRoute(srv.URL, config.Limit{Target: config.ScopeAll, RequestsPerMinute: 100_000}), nil, nil, io.Discard)
	client := newPaceClient(t, g)
	body := `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"` + strings.Repeat("hello there ", 20) + `"}]}`
	for range 20 {
		resp, err := client.http.Post(client.url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for range 400 {
		g.p.estimates.LearnInput(limit.Name("other"), 1000, 500)
	}
	until(t, "nothing was learned", func() bool { n := g.p.estimates.Input(limit.Name("m"), int64(len(body))); return n >= 32 && n <= 34 })
}

// What a stream holds lasts for as long as it does.
func TestLimits_LongStreams(t *testing.T) {
	t.Parallel()
	const lease, lasts, pause = time.Second, 2500 * time.Millisecond, 20 * time.Millisecond // nothing stands still for a lease
	for _, target := range []string{config.ScopeEach, config.ScopeAll} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			var now, most atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer now.Add(-1)
				w.Header().Set("Content-Type", "text/event-stream")
				for range lasts / pause {
					_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n")
					_ = http.NewResponseController(w).Flush()
					<-time.After(pause)
				}
				_, _ = io.WriteString(w, "data: [DONE]\n\n")
			}))
			t.Cleanup(srv.Close)
			c := onlyTarget(limitedRoute(srv.URL, config.Limit{Target: target, Concurrent: 1}))
			c.Admission.Lease, c.Admission.MaxWait = lease, 10*time.Second
			g := startCached(t, c, nil, nil, io.Discard)
			client := newPaceClient(t, g)
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					resp, err := client.http.Post(client.url, "application/json", strings.NewReader(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}`))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(b), "[DONE]\n\n") {
						t.Errorf("%d %v %s", resp.StatusCode, err, b)
					}
				})
			}
			wg.Wait()
			if _, leaked := g.p.gate.Set().Leases(); leaked != 0 || most.Load() != 1 {
				t.Errorf("%d at a time, %d leaked", most.Load(), leaked)
			}
		})
	}
}

// Who asks one thing after the other has one at a time.
func TestLimits_OneAfterTheOther(t *testing.T) {
	t.Parallel()
	for _, target := range []string{config.ScopeEach, config.ScopeAll} {
		c := onlyTarget(limitedRoute(newStrict(t, &strict{rate: 1e6}), config.Limit{Target: target, Concurrent: 1}))
		c.Admission.MaxWait = 0
		client := newPaceClient(t, startCached(t, c, nil, nil, io.Discard))
		client.http.Transport.(*http.Transport).DisableKeepAlives = true //nolint:forcetypeassert // it is one
		for range 200 {
			if resp, body := client.mustAsk(t, "k", "m"); resp.StatusCode != http.StatusOK {
				t.Fatalf("target %q: %d %s", target, resp.StatusCode, body)
			}
		}
	}
}

// A caller is known however it writes its credential.
func TestLimits_Credentials(t *testing.T) {
	t.Parallel()
	c := limitedRoute(newStrict(t, &strict{rate: 1e6}), config.Limit{Target: config.ScopeAll, Caller: "team_a", RequestsPerMinute: 1})
	c.Callers = map[string]config.Caller{"team_a": {Name: "team_a", Credential: config.NewSecret("sk-team-a")}}
	c.Admission.MaxWait = 0
	client := newPaceClient(t, startCached(t, c, nil, nil, io.Discard))
	status := func(query string, headers ...string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, client.url+query, strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"hello"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := client.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if n := status("", "Authorization", "Bearer sk-team-a"); n != http.StatusOK {
		t.Fatal(n)
	}
	for _, r := range [][]string{
		{"", "Authorization", "Bearer sk-team-a"}, {"", "Authorization", "bearer sk-team-a"}, {"", "Authorization", "Bearer  sk-team-a"}, {"", "x-api-key", "sk-team-a"},
		{"", "Api-Key", "junk", "Authorization", "Bearer sk-team-a"}, {"?key=sk-team-a"}, {"?key=sk-team-%61"}, {"?key=junk", "x-goog-api-key", "sk-team-a"},
	} {
		if n := status(r[0], r[1:]...); n != http.StatusTooManyRequests {
			t.Errorf("%q: %d", r, n)
		}
	}
	for _, r := range [][]string{{""}, {"", "Authorization", "Bearer sk-team-b"}, {"?key=sk-team"}} {
		if n := status(r[0], r[1:]...); n != http.StatusOK {
			t.Errorf("another caller, %q: %d", r, n)
		}
	}
}

// Where only callers with a name are served, others get an error that SDKs know.
func TestLimits_UnknownCallers(t *testing.T) {
	t.Parallel()
	c := limitedRoute(newStrict(t, &strict{rate: 1e6}), config.Limit{Target: config.ScopeAll, RequestsPerMinute: 100})
	c.Callers = map[string]config.Caller{"team_a": {Name: "team_a", Credential: config.NewSecret("sk-team-a")}}
	c.Admission.UnknownCallers = config.CallersRefused
	client := newPaceClient(t, startCached(t, c, nil, nil, io.Discard))
	if resp, body := client.mustAsk(t, "sk-team-a", "m"); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := client.mustAsk(t, "sk-other", "m"); resp.StatusCode != http.StatusUnauthorized || errorCode(body) != "unknown_caller" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// Each request that meets a limit counts once.
func TestLimits_MetOnce(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"a", config.ScopeAll} {
		g := startCached(t, onlyTarget(limitedRoute(newStrict(t, &strict{rate: 1e6}), config.Limit{Target: target, RequestsPerMinute: 1})), nil, nil, io.Discard)
		client := newPaceClient(t, g)
		for range 5 {
			client.mustAsk(t, "k", "m")
		}
		if v := g.p.LimitsView(time.Now(), 1)[0]; v.Met != 4 || v.Refused != 4 {
			t.Errorf("target %q: met %d, refused %d of 4", target, v.Met, v.Refused)
		}
	}
}

// What provider refuses counts as a request; what it fails of does not.
func TestLimits_WhatCounts(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int64{http.StatusBadRequest: 3, http.StatusNotFound: 3, http.StatusInternalServerError: 100, http.StatusTooManyRequests: 100} {
		var calls atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			calls.Add(1)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":{"message":"no","type":"some_error"}}`)
		}))
		t.Cleanup(srv.Close)
		c := testConfig(srv.URL + "/v1")
		c.Limits = map[string]config.Limit{"l": {Name: "l", Caller: config.ScopeAll, Route: config.ScopeAll, Target: config.ScopeAll, Timezone: "UTC", RequestsPerMinute: 3}}
		for name, p := range c.Providers {
			p.Pacing.Enabled = false
			c.Providers[name] = p
		}
		client := newPaceClient(t, startCached(t, c, nil, nil, io.Discard))
		for range 100 {
			client.mustAsk(t, "k", "m")
		}
		if calls.Load() != want {
			t.Errorf("%d: %d calls, want %d", status, calls.Load(), want)
		}
	}
}

// All that an exchange waits for together is no longer than it may wait.
func TestLimits_OneWait(t *testing.T) {
	t.Parallel()
	c := onlyTarget(limitedRoute(newStrict(t, &strict{rate: 1e6, ttft: 700 * time.Millisecond}), config.Limit{Target: config.ScopeEach, Concurrent: 1}))
	c.Admission.MaxWait = time.Second
	c.Limits["x"] = config.Limit{Name: "x", Caller: config.ScopeAll, Route: config.ScopeAll, Target: config.ScopeAll, Timezone: "UTC", Concurrent: 2}
	g := startCached(t, c, nil, nil, io.Discard)
	client := newPaceClient(t, g)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { client.mustAsk(t, "k", "m") })
	}
	until(t, "one waits at the target", func() bool { return g.p.gate.Waiting() == 1 })
	start := time.Now()
	resp, body := client.mustAsk(t, "k", "m") // .7 s until one of the two is through, and .7 s more until the other is
	if took := time.Since(start); resp.StatusCode != http.StatusTooManyRequests || took > 1300*time.Millisecond {
		t.Errorf("%d after %v: %s", resp.StatusCode, took, body)
	}
	wg.Wait()
}

// A picture is not thought to be a long text.
func TestLimits_Picture(t *testing.T) {
	t.Parallel()
	c := priced(limitedRoute(newStrict(t, &strict{rate: 1e6}), config.Limit{Target: config.ScopeAll, InputTokensPerMinute: 5000, USDPerDay: "$2"}))
	client := newPaceClient(t, startCached(t, c, nil, nil, io.Discard))
	const picture = `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}]}`
	resp, err := client.http.Post(client.url, "application/json", strings.NewReader(fmt.Sprintf(picture, strings.Repeat("QUFBQUFB", 300_000))))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := client.mustAsk(t, "k", "m"); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

// Old answers in place of new ones take nothing.
func TestLimits_StaleAnswersAreFree(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	up, _ := versions(t, func(w http.ResponseWriter, n int64) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		plainVersion(w, n)
	})
	c := cachingConfig(up)
	c.Cache.TTL, c.Cache.StaleIfError = 20*time.Millisecond, time.Hour
	c.Limits = map[string]config.Limit{"l": {Name: "l", Caller: config.ScopeAll, Route: config.ScopeAll, Target: config.ScopeAll, Timezone: "UTC", RequestsPerMinute: 60_000, Burst: 3}}
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	ask(t.Context(), t, g.addr, "k", refreshBody)
	settledFlights(t, g.p)
	<-time.After(50 * time.Millisecond)
	broken.Store(true)
	for range 10 {
		if a := ask(t.Context(), t, g.addr, "k", refreshBody); a.result != "stale" {
			t.Errorf("%+v", a)
		}
	}
	if n := g.p.LimitsView(time.Now(), 1)[0].Refused; n != 0 {
		t.Errorf("%d were refused", n)
	}
}
