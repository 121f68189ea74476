package proxy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/policy"
)

// What an exchange has met is told as bits that package limit's dimensions are the numbers of.
func TestLimited_BitsAreDimensions(t *testing.T) {
	t.Parallel()
	for of, want := range map[limit.Dimension]uint8{limit.OutputTokens: window.MetOutput, limit.Tokens: window.MetTokens, limit.Spend: window.MetSpend} {
		var l limited
		l.met(&limit.Refusal{Limit: limit.Limit{Of: of}})
		if l.metBits != want {
			t.Errorf("%v: bit %b, want %b", of, l.metBits, want)
		}
	}
}

// reported gives what was told of exchanges since the last time, once there are n of them.
func reported(t *testing.T, g *gateway, n int) (all []window.Exchange) {
	t.Helper()
	until(t, fmt.Sprintf("%d exchanges are told of", n), func() bool {
		g.p.ring.Drain(func(x *window.Exchange) { all = append(all, *x) })
		return len(all) >= n
	})
	return all
}

// tuneLimits puts other parameters of the route r in force; held has all sessions held back.
func tuneLimits(t *testing.T, g *gateway, held bool, change func(p *policy.Parameters)) {
	t.Helper()
	base := g.p.policy.Load()
	next := *base
	next.Routes = maps.Clone(base.Routes)
	r := next.Routes["r"]
	static := r.Parameters
	r.Static, r.Holdback = &static, 0
	if held {
		r.Holdback = 1
	}
	r.Targets = maps.Clone(r.Targets)
	change(&r.Parameters)
	next.Routes["r"] = r
	if _, err := g.p.policy.Publish(base, next); err != nil {
		t.Fatal(err)
	}
}

// atOnce sends so many requests at a time, and tells how many were served.
func atOnce(t *testing.T, c *paceClient, n int) (served int64) {
	t.Helper()
	var wg sync.WaitGroup
	var ok atomic.Int64
	for range n {
		wg.Go(func() {
			if resp, _ := c.mustAsk(t, "k", "m"); resp.StatusCode == http.StatusOK {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	return ok.Load()
}

// A route's factor is what of the output that is expected is reserved at limits of tokens; who is held back reserves as the configuration has it. Those that are refused are told of.
func TestLimits_TunedOutput(t *testing.T) {
	t.Parallel()
	check := func(held bool, factor float64, want int64, reserved int32) {
		t.Helper()
		c := limitedRoute(newStrict(t, &strict{rate: 1e6, ttft: 300 * time.Millisecond}), config.Limit{Target: config.ScopeAll, TokensPerMinute: 2500})
		c.Admission.MaxWait = 0
		g := start(t, c)
		g.p.ring = window.NewRing()
		if p := g.p.policy.Load().Routes["r"].Limits; p != (policy.Limits{Output: 1, PaceWait: 2}) {
			t.Errorf("as configured: %+v", p)
		}
		tuneLimits(t, g, held, func(p *policy.Parameters) { p.Limits.Output = factor })
		if served := atOnce(t, newPaceClient(t, g), 6); served != want {
			t.Errorf("held back %v, factor %v: %d served, want %d", held, factor, served, want)
		}
		refused := int64(0)
		for _, x := range reported(t, g, 6) {
			switch l := &x.Limited; {
			case l.Refused == window.ByGateway && l.Met == window.MetTokens && x.Target == "" && x.Failed:
				refused++
			case l.Refused != window.NotRefused || l.Reserved != reserved || x.Output != 3:
				t.Errorf("%+v", x)
			}
		}
		if refused != 6-want {
			t.Errorf("%d are told to be refused, want %d", refused, 6-want)
		}
	}
	check(false, 1, 2, 1000) // before any answer is known a thousand are expected
	check(false, .25, 6, 250)
	check(true, .25, 2, 1000)
	check(false, 2, 1, 2000)
}

// Requests wait for room for as long as their route's parameters say.
func TestLimits_TunedWait(t *testing.T) {
	t.Parallel()
	check := func(wait time.Duration, want int64) {
		t.Helper()
		g := start(t, limitedRoute(newStrict(t, &strict{rate: 1e6, ttft: 250 * time.Millisecond}), config.Limit{Target: config.ScopeAll, Concurrent: 1}))
		g.p.ring = window.NewRing()
		tuneLimits(t, g, false, func(p *policy.Parameters) { p.Limits.Wait = wait.Seconds() })
		if served := atOnce(t, newPaceClient(t, g), 2); served != want {
			t.Errorf("waits of %v: %d served, want %d", wait, served, want)
		}
		for _, x := range reported(t, g, 2) {
			switch l := &x.Limited; {
			case l.Met == 0:
			case want == 2 && (l.Queued < 100*time.Millisecond || l.Refused != window.NotRefused || !x.Shared):
				t.Errorf("it got room: %+v", x)
			case want == 1 && (l.Queued < wait || l.Refused != window.ByGateway):
				t.Errorf("it waited in vain: %+v", x)
			}
		}
	}
	check(20*time.Millisecond, 1)
	check(5*time.Second, 2)
}

// What a provider tells of its limits is used as far as the parameters of the target say, and waited for as long as those of the route say. 429s though that is kept to are counted.
func TestPacing_Tuned(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	url, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("x-ratelimit-limit-requests", "10000")
		w.Header().Set("x-ratelimit-remaining-requests", "4000")
		w.Header().Set("x-ratelimit-reset-requests", "60s")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, strictAnswer)
	})
	status.Store(http.StatusOK)
	settings := pacedRoute(url)
	r := settings.Routes["r"]
	r.RetryOn = nil
	settings.Routes["r"] = r
	g := start(t, settings)
	g.p.ring = window.NewRing()
	c := newPaceClient(t, g)
	before := PacedCounts{}
	for sent := 0; before.Attempts == 0 && sent < 50; sent++ { // until what it tells is kept to
		c.mustAsk(t, "k", "m")
		reported(t, g, 1)
		before, _ = g.p.Paced("r", "a")
	}
	for range 5 {
		if resp, body := c.mustAsk(t, "k", "m"); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	status.Store(http.StatusTooManyRequests)
	c.mustAsk(t, "k", "m")
	status.Store(http.StatusOK)
	reported(t, g, 6)
	if got, ok := g.p.Paced("r", "a"); !ok || got != (PacedCounts{Attempts: before.Attempts + 6, Limited: 1, Episodes: 1}) || before.Attempts != 1 {
		t.Errorf("%+v, %v", got, ok)
	}
	for range 7 { // one refusal with room left does not end the trust
		c.mustAsk(t, "k", "m")
	}
	if p := g.p.policy.Load().Routes["r"]; p.Targets["a"].Pace != .97 || p.Limits != (policy.Limits{Output: 1, PaceWait: 2}) {
		t.Errorf("as configured: %+v", p)
	}
	tuneLimits(t, g, false, func(p *policy.Parameters) {
		p.Targets["a"] = policy.Target{Weights: p.Targets["a"].Weights, Pace: .5}
		p.Limits.PaceWait = .03
	})
	reported(t, g, 7)
	begin := time.Now()
	if resp, body := c.mustAsk(t, "k", "m"); resp.StatusCode != http.StatusTooManyRequests || errorCode(body) != "provider_rate_limited" || time.Since(begin) > time.Second {
		t.Errorf("%d %s after %v", resp.StatusCode, body, time.Since(begin))
	}
	if x := reported(t, g, 1)[0]; x.Limited.Refused != window.ByProvider || x.Limited.Lacked != 1<<limit.Requests || x.Limited.Short < 30*time.Millisecond || !x.Shared || x.Target != "a" {
		t.Errorf("%+v", x)
	}
	if got, _ := g.p.Paced("r", "a"); got.Held != 1 {
		t.Errorf("%+v", got)
	}
	if _, ok := g.p.Paced("r", "z"); ok {
		t.Error("a target that is none")
	}
	if _, ok := g.p.Paced("z", "a"); ok {
		t.Error("a route that is none")
	}
}

// A wait for a limit of the gateway is told as that, not as one for room that the provider had.
func TestLimits_OwnIsNotTheProviders(t *testing.T) {
	t.Parallel()
	url, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(100 * time.Millisecond)
		w.Header().Set("x-ratelimit-limit-requests", "10000")
		w.Header().Set("x-ratelimit-remaining-requests", "4000")
		w.Header().Set("x-ratelimit-reset-requests", "60s")
		_, _ = io.WriteString(w, strictAnswer)
	})
	c := onlyTarget(limitedRoute(url, config.Limit{Target: "a", Concurrent: 1}))
	c.Admission.MaxWait = 10 * time.Second
	g := start(t, c)
	g.p.ring = window.NewRing()
	client := newPaceClient(t, g)
	for range 5 {
		client.mustAsk(t, "k", "m")
	}
	if served := atOnce(t, client, 2); served != 2 || !g.onlyPace().State(time.Now()).Follows {
		t.Fatalf("%d served, limits known: %v", served, g.onlyPace().State(time.Now()).Follows)
	}
	met := 0
	for _, x := range reported(t, g, 7) {
		if x.Limited.Met != 0 {
			met++
		}
		if x.Limited.Lacked != 0 || x.Limited.Paced != 0 {
			t.Errorf("%+v", x.Limited)
		}
	}
	if got, _ := g.p.Paced("r", "a"); met != 1 || got.Held != 0 {
		t.Errorf("%d have met a limit: %+v", met, got)
	}
}

// A route has what the configuration says of limits as its own parameters, where there is something to tune.
func TestPolicyOf_Limits(t *testing.T) {
	t.Parallel()
	check := func(what string, want policy.Limits, pace float64, change func(c *config.Config)) {
		t.Helper()
		c := limitedRoute("http://127.0.0.1:1", config.Limit{Target: config.ScopeAll, RequestsPerMinute: 10})
		change(c)
		if r := PolicyOf(c).Routes["r"]; r.Limits != want || r.Targets["a"].Pace != pace {
			t.Errorf("%s: %+v, %v", what, r.Limits, r.Targets["a"].Pace)
		}
	}
	off := func(c *config.Config, names ...string) {
		for _, name := range names {
			p := c.Providers[name]
			p.Pacing.Enabled = false
			c.Providers[name] = p
		}
	}
	check("both", policy.Limits{Output: 1, Wait: .5, PaceWait: 2}, .97, func(*config.Config) {})
	check("no pacing, and requests alone are limited", policy.Limits{Wait: .5}, 0, func(c *config.Config) { off(c, "a", "b") })
	check("of another route", policy.Limits{}, 0, func(c *config.Config) {
		off(c, "a", "b")
		c.Limits["l"] = config.Limit{Name: "l", Caller: config.ScopeAll, Route: "s", Target: config.ScopeAll, RequestsPerMinute: 1}
	})
	check("dollars", policy.Limits{Output: 1, Wait: .5}, 0, func(c *config.Config) {
		off(c, "a", "b")
		c.Limits["l"] = config.Limit{Name: "l", Caller: config.ScopeAll, Route: "r", Target: config.ScopeAll, USDPerDay: "$5"}
	})
	check("only observed", policy.Limits{}, 0, func(c *config.Config) {
		off(c, "a", "b")
		c.Limits["l"] = config.Limit{Name: "l", Observe: true, Caller: config.ScopeAll, Route: "r", Target: config.ScopeAll, USDPerDay: "$5"}
	})
	check("providers that differ", policy.Limits{Output: 1, Wait: .5}, .97, func(c *config.Config) {
		p := c.Providers["b"]
		p.Pacing.MaxWait = time.Second
		c.Providers["b"] = p
	})
}

// What an exchange has waited for limits of the gateway is not told as its target's doing.
func TestLimits_WaitIsNotTheTargets(t *testing.T) {
	t.Parallel()
	c := onlyTarget(limitedRoute(newStrict(t, &strict{rate: 1e6, ttft: 200 * time.Millisecond}), config.Limit{Target: config.ScopeAll, Concurrent: 1}))
	c.Admission.MaxWait = 10 * time.Second
	g := start(t, c)
	g.p.ring = window.NewRing()
	begin := time.Now()
	if served := atOnce(t, newPaceClient(t, g), 3); served != 3 {
		t.Fatalf("%d served", served)
	}
	all := time.Since(begin)
	waited := 0
	for _, x := range reported(t, g, 3) {
		if x.Limited.Queued > 0 {
			waited++
		}
		if x.Wait <= 0 || x.Wait+x.Limited.Queued > all {
			t.Errorf("%v for the target and %v for room, all took %v", x.Wait, x.Limited.Queued, all)
		}
	}
	if waited != 2 {
		t.Errorf("%d have waited for room", waited)
	}
}
