package proxy

import (
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/policy"
)

// tunedConfig has one route that keeps what is deterministic for an hour.
func tunedConfig(upstream string) *config.Config {
	c := testConfig(upstream)
	c.Cache.Memory = 1 << 20
	rules := config.CacheRules{Enabled: true, TTL: time.Hour, Store: "deterministic", MaxEntry: 1 << 20}
	c.Routes = map[string]config.Route{"faq": {
		Name: "faq", Match: config.Match{Model: []string{"*"}}, Attempts: 1, Cache: rules, Classes: config.Classes{LightInput: 1000, MediumInput: 8000, LightOutput: 500, MediumOutput: 2000},
		Targets: map[string]config.Target{"t": {Name: "t", Provider: "openai", Model: "gpt-4o-mini", Weight: 1}},
	}}
	return c
}

// age makes all that is kept older.
func (c *mapCache) age(t *testing.T, by time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, item := range c.items {
		var e cache.Entry
		if err := cache.Decode(&e, nil, item.Value); err != nil {
			t.Fatal(err)
		}
		e.Created, e.Expires = e.Created.Add(-by), e.Expires.Add(-by)
		item.Value = e.Append(nil)
		c.items[key] = item
	}
}

// tune puts other parameters of the cache in force.
func (g *gateway) tune(t *testing.T, change func(r *policy.Route)) {
	t.Helper()
	base := g.p.policy.Load()
	next := *base
	next.Routes = maps.Clone(base.Routes)
	r := next.Routes["faq"]
	change(&r)
	next.Routes["faq"] = r
	if _, err := g.p.policy.Publish(base, next); err != nil {
		t.Fatal(err)
	}
}

// stand is a gateway whose provider answers a text that can change.
type stand struct {
	*gateway
	t    *testing.T
	kept *mapCache
	said atomic.Pointer[string]
	ring *window.Ring
}

func newCacheStand(t *testing.T, change func(c *config.Config)) *stand {
	t.Helper()
	s := &stand{t: t, kept: &mapCache{}, ring: window.NewRing()}
	s.say("one")
	up, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, strings.Replace(plainAnswer, "Hello there", *s.said.Load(), 1))
	})
	c := tunedConfig(up)
	if change != nil {
		change(c)
	}
	s.gateway = startCached(t, c, s.kept, nil, io.Discard)
	s.p.ring = s.ring
	return s
}

func (s *stand) say(text string) { s.said.Store(&text) }

// ask asks a question and waits until all that comes of it is noted.
func (s *stand) ask(question string, headers ...string) (result string) {
	s.t.Helper()
	n := s.p.books.cache.book("faq")
	all := func() (sum uint64) {
		for _, count := range n.all().Results {
			sum += count
		}
		return sum
	}
	before := all()
	body := fmt.Sprintf(`{"model":"gpt-4o-mini","temperature":0,"messages":[{"role":"user","content":%q}]}`, question)
	status, result, _ := askCached(s.t, s.addr, "", body, append(headers, "Authorization", "Bearer k")...)
	if status != 200 {
		s.t.Fatalf("status %d", status)
	}
	eventually(s.t, "the exchange is over", func() bool { return all() > before && s.p.metrics.inFlight.Load() == 0 })
	return result
}

// What the policy says of the time to live holds for what is kept already, in both directions, and for the arm and the class that it says it of alone.
func TestTunedCache_TimeToLiveIsThatOfTheArm(t *testing.T) {
	t.Parallel()
	s := newCacheStand(t, nil)
	check := func(what, want string) {
		t.Helper()
		if got := s.ask("q"); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	ttl := func(light, medium time.Duration) func(r *policy.Route) {
		return func(r *policy.Route) { r.Cache.TTL = [policy.Classes]float64{light.Seconds(), medium.Seconds(), 3600} }
	}
	if got := s.p.policy.Load().Routes["faq"].Cache.TTL; got != [policy.Classes]float64{3600, 3600, 3600} {
		t.Errorf("configured: %v", got)
	}
	check("new", "miss")
	s.kept.age(t, 30*time.Minute)
	check("half of its time", "hit")
	s.tune(t, ttl(time.Hour, time.Minute))
	check("another class has less", "hit")
	s.tune(t, ttl(20*time.Minute, time.Hour))
	check("a shorter time", "miss")
	s.tune(t, ttl(4*time.Hour, time.Hour))
	s.kept.age(t, 3*time.Hour)
	check("a longer time", "hit")
	for _, item := range s.kept.items {
		if item.TTL < 54*time.Minute || item.TTL > time.Hour {
			t.Errorf("kept for %v by who knew of an hour", item.TTL)
		}
	}
	s.tune(t, func(r *policy.Route) {
		static := r.Parameters
		static.Cache.TTL[0] = 3600
		r.Static, r.Holdback = &static, 1 // all sessions
	})
	check("the hold-back has its own", "miss")
	for _, item := range s.kept.items {
		if item.TTL < 3*time.Hour {
			t.Errorf("kept for %v, and another arm gives it out for four hours", item.TTL)
		}
	}
	s.tune(t, func(r *policy.Route) {
		r.Parameters, r.Static, r.Holdback = policy.Parameters{Targets: r.Targets}, nil, 0
	})
	check("the policy says nothing", "hit")
	s.kept.age(t, 2*time.Hour)
	check("and the settings hold", "miss")
}

func TestTunedCache_Worth(t *testing.T) {
	t.Parallel()
	s := newCacheStand(t, nil)
	s.tune(t, func(r *policy.Route) { r.Cache.Worth, r.Cache.Share = 1e6, .25 })
	s.ask("a")
	if n := s.p.books.cache.book("faq"); n.refused[refusedWorth] != 1 || s.kept.len() != 0 {
		t.Errorf("%v refused, %d kept", n.refused, s.kept.len())
	}
	s.tune(t, func(r *policy.Route) { r.Cache.Worth = 1e-6 })
	if s.ask("a"); s.kept.len() != 1 {
		t.Error("what is worth it is not kept")
	}
	for _, item := range s.kept.items {
		if item.RouteMemory != 1<<18 {
			t.Errorf("the route may occupy %d bytes", item.RouteMemory)
		}
	}
}

// What is fetched anew tells whether it has changed, and at what age.
func TestTunedCache_LearnsWhatChanges(t *testing.T) {
	t.Parallel()
	s := newCacheStand(t, nil)
	n := &s.p.books.cache.book("faq").revalidations
	check := func(what string, same, changed uint64) {
		t.Helper()
		n.mu.Lock()
		defer n.mu.Unlock()
		if got := n.results[light]; got.same != same || got.changed != changed || got.unknown != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	s.ask("q")
	s.ask("q")
	check("a hit", 0, 0)
	s.kept.age(t, 10*time.Minute)
	s.ask("q", "Cache-Control", "no-cache")
	check("fetched anew", 1, 0)
	s.say("two")
	s.kept.age(t, 2*time.Hour)
	s.ask("q")
	check("too old", 1, 1)
	v := s.p.CacheViews(time.Now())[0]
	if all, changed := v.Classes[light].Hazard.Count(); all != 2 || changed != 1 || v.Route != "faq" || v.Classes[light].TTL != time.Hour {
		t.Errorf("%v of %v: %+v", changed, all, v)
	}
	if change, _, _ := v.Classes[light].Hazard.Estimate(.95); change < 1./(20*3600) || change > 1./600 {
		t.Errorf("changes every %.0f s", 1/change)
	}
	all := newCacheStand(t, func(c *config.Config) {
		r := c.Routes["faq"]
		r.Cache.Store = "all"
		c.Routes["faq"] = r
	})
	body := `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"q"}]}`
	for range 2 {
		askCached(t, all.addr, "", body, "Authorization", "Bearer k", "Cache-Control", "no-cache")
	}
	all.ask("r") // the others are over
	if got := all.p.books.cache.book("faq").revalidations.results[light]; got != (revalidated{}) {
		t.Errorf("what is different each time counts: %+v", got)
	}
}

// Hits are fetched anew in the background as often as is set, and compared: the clients get what is kept.
func TestRevalidations_InTheBackground(t *testing.T) {
	t.Parallel()
	s := newCacheStand(t, func(c *config.Config) {
		r := c.Routes["faq"]
		r.Cache.Revalidate = 1
		c.Routes["faq"] = r
	})
	n := s.p.books.cache.book("faq")
	check := func(same, changed uint64) {
		t.Helper()
		eventually(t, "the comparison", func() bool {
			n.revalidations.mu.Lock()
			defer n.revalidations.mu.Unlock()
			got := n.revalidations.results[light]
			return got.same == same && got.changed == changed && s.p.flights.Len() == 0
		})
	}
	s.ask("q")
	settledFlights(t, s.p)
	if got := s.ask("q"); got != "hit" {
		t.Error(got)
	}
	check(1, 0)
	s.say("two")
	if got := s.ask("q"); got != "hit" {
		t.Error(got)
	}
	check(1, 1)
	sums := n.all()
	if sums.Results["refresh"] != 2 || sums.Results["hit"] != 2 || sums.Spent <= 0 || config.NanoUSD(n.revalidations.spent.Load()) != sums.Spent || n.revalidations.underWay.Load() != 0 {
		t.Errorf("%+v, spent %d, %d under way", sums, n.revalidations.spent.Load(), n.revalidations.underWay.Load())
	}
}

func TestRevalidations_AreFewAndCheap(t *testing.T) {
	t.Parallel()
	r := &revalidations{}
	drawn := 0
	for i := range 10000 {
		if r.Begin(float64(i)/10000, .01, 0) {
			drawn++
			r.End(0)
		}
	}
	if drawn != 100 {
		t.Errorf("%d of 10,000", drawn)
	}
	if (&revalidations{}).Begin(0, 0, 0) {
		t.Error("off, and yet")
	}
	if !r.Begin(0, .01, 0) || !r.Begin(.005, .01, 0) || r.Begin(0, .01, 0) || r.Begin(.5, .01, 0) {
		t.Error("two at once are too few, or three are not too many")
	}
	r.End(3)
	if r.Begin(0, .01, 100) {
		t.Error("they cost more than 2 % of what was saved")
	}
	if !r.Begin(0, .01, 1000) {
		t.Error("they are cheap enough")
	}
}

// Ghosts see hits and misses alike, and tell what other times to live would do.
func TestTunedCache_GhostsFollow(t *testing.T) {
	t.Parallel()
	s := newCacheStand(t, nil)
	hits, misses := 0, 0
	for i := range 120 {
		if s.ask(fmt.Sprintf("question %d", i%30)) == "hit" {
			hits++
		} else {
			misses++
		}
	}
	if hits != 90 || misses != 30 {
		t.Fatalf("%d hits, %d misses", hits, misses)
	}
	v := s.p.CacheViews(time.Now())[0]
	for _, c := range []struct {
		of   string
		p    float64
		want float64
	}{{"class", v.Classes[light].Curve.Points[3].HitRatio, .75}, {"route", v.Sizes.Points[0].HitRatio, .75}} {
		if math.Abs(c.p-c.want) > .01 {
			t.Errorf("%s: hit ratio %v, want %v", c.of, c.p, c.want)
		}
	}
	p, known := v.Classes[light].Curve.At(1<<20, time.Hour)
	saved := float64(s.p.books.cache.book("faq").saved()) / v.Classes[light].Curve.Span.Seconds()
	if !known || math.Abs(p.NanoUSD-saved) > .02*saved || saved <= 0 {
		t.Errorf("an hour saves %v a second, the hits %v", p.NanoUSD, saved)
	}
	var text strings.Builder
	s.p.Metrics().WritePrometheus(&text)
	for _, want := range []string{
		`llmopt_cache_ghost_hit_ratio{route="faq",class="light",ttl="1h",size="1MiB"} 0.75`, `llmopt_cache_ghost_hit_ratio{route="faq",class="light",ttl="7d",size="1MiB"}`,
		`llmopt_cache_ghost_saved_usd_per_second{route="faq",class="all",ttl="1h",size="2MiB"}`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text.String(), `class="heavy"`) && strings.Contains(text.String(), `ghost_hit_ratio{route="faq",class="heavy"`) {
		t.Error("a class without traffic is told")
	}
}

// Hits are told to nobody who follows arms. What is asked of targets is, and marked where arms differ in what they do with the cache that they share.
func TestTunedCache_WhatArmsShareIsMarked(t *testing.T) {
	t.Parallel()
	s := newCacheStand(t, nil)
	heard := func() (shared, others int) {
		s.ring.Drain(func(e *window.Exchange) {
			if e.Target == "" {
				t.Errorf("%+v", e)
			}
			if e.Shared {
				shared++
			} else {
				others++
			}
		})
		return shared, others
	}
	s.ask("q")
	s.ask("q")
	if shared, others := heard(); shared != 0 || others != 1 {
		t.Errorf("as configured: %d shared, %d others", shared, others)
	}
	s.tune(t, func(r *policy.Route) {
		static := r.Parameters
		r.Static, r.Cache.TTL[light] = &static, 7200
	})
	s.ask("q")
	s.ask("another")
	s.ask("another", "Cache-Control", "no-store")
	if shared, others := heard(); shared != 1 || others != 1 {
		t.Errorf("tuned: %d shared, %d others", shared, others)
	}
}

// routedClient asks what the cache has of a route.
func routedClient(tb testing.TB, bc benchCase) *benchClient {
	tb.Helper()
	kept := &mapCache{}
	c := tunedConfig(prepared(tb, []byte(bc.answer)))
	r := c.Routes["faq"]
	r.Cache.Store = "all"
	c.Routes["faq"] = r
	client := newBenchClientOf(tb, bc, c, kept)
	client.exchange()
	for until := time.Now().Add(10 * time.Second); kept.len() == 0; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatal("the answer is not stored")
		}
	}
	return client
}

// A hit of a route, which the ghosts follow, allocates no more than any other.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestTunedCache_HitAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	countHitAllocations(t, routedClient)
}

// BenchmarkExchange_RouteHit is BenchmarkExchange_Hit on a route.
func BenchmarkExchange_RouteHit(b *testing.B) { benchHits(b, routedClient) }

// BenchmarkGhosts_Access is what following a hit costs, when all keys are followed.
func BenchmarkGhosts_Access(b *testing.B) {
	g := &ghosts{memory: 64 << 20}
	now := time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g.access(light, uint64(i%1000)*0x9e3779b97f4a7c15, 2000, 1000, time.Second, now)
	}
}
