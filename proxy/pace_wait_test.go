package proxy

import (
	"bufio"
	"io"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
	"llm-auto-optimizer/proxy/pick"
)

// slowed is a gateway whose only pace has been refused, so that it lets about so many a second through.
func slowed(t *testing.T, s *strict, rate float64) (*gateway, *paceClient) {
	t.Helper()
	return slowedWith(t, pacedRoute(newStrict(t, s)), rate)
}

func slowedWith(t *testing.T, cfg *config.Config, rate float64) (*gateway, *paceClient) {
	t.Helper()
	g := start(t, cfg)
	c := newPaceClient(t, g)
	c.mustAsk(t, "sk", "m")
	slow(t, g.onlyPace(), rate)
	return g, c
}

// slow has a pace believe that it was refused at a sixth more.
func slow(t *testing.T, p *pacing.Pace, rate float64) {
	t.Helper()
	terms := pacing.Terms{Share: .97}
	n := max(int(3*rate/.85), 2)
	for back := 5 * time.Second; back > 3*time.Second; back -= 250 * time.Millisecond {
		p.State(time.Now().Round(0).Add(-back)) // its clock is set back, which one of the process never is: one time alone would be taken for a late one
	}
	for i := range n {
		at := time.Now().Round(0).Add(-3 * time.Second).Add(3 * time.Second * time.Duration(i) / time.Duration(n))
		turn, r := p.Try(at, &terms, limit.Need{})
		if r.Retry > 0 {
			t.Fatalf("has to wait %v", r.Retry)
		}
		verdict := limit.Through
		if i == n-1 {
			verdict = limit.Limited
		}
		p.Answered(at, &turn, verdict, nil, 0, 0)
		p.End(at, &turn, true, limit.NoMatter, 0, 0)
	}
	if got := p.State(time.Now()).Rate; got < .6*rate || got > 1.4*rate {
		t.Fatalf("made a pace of %v a second, not %v", got, rate)
	}
}

// Clients that leave while they wait leave nothing behind, and the others get their turns.
func TestPacing_ClientLeaves(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1e6}
	g, c := slowed(t, s, 8)
	pace := g.onlyPace()
	s.begin()
	var conns []net.Conn
	body := `{"model":"m","messages":[{"role":"user","content":"hello"}]}`
	for range 30 {
		conn := g.dial()
		if _, err := io.WriteString(conn, post("/v1/chat/completions", body, "Authorization: Bearer sk")); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 10 })
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, "nobody waits", func() bool { return pace.State(time.Now()).Waiting == 0 && g.p.metrics.inFlight.Load() == 0 })
	if _, _, sent := s.counts(); sent > 15 {
		t.Errorf("%d of those that left were sent", sent)
	}
	if resp, body := c.mustAsk(t, "sk", "m"); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
	eventually(t, "nothing is under way", func() bool { return pace.State(time.Now()).Flying == 0 })
}

// Those that wait go on waiting when the settings change, and when the provider is gone they fail as it is.
func TestPacing_ReloadAndOutage(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1e6}
	cfg := pacedRoute(newStrict(t, s))
	a := cfg.Providers["a"]
	a.Pacing.MaxWait = 20 * time.Second
	cfg.Providers["a"] = a
	g, c := slowedWith(t, cfg, 20)
	pace := g.onlyPace()
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	crowd := func(n int) {
		for range n {
			wg.Go(func() {
				if resp, _, err := c.ask("sk", "m"); err == nil {
					mu.Lock()
					defer mu.Unlock()
					statuses[resp.StatusCode]++
				}
			})
		}
	}
	crowd(20)
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 10 })
	next, r := *cfg, cfg.Routes["r"]
	r.Attempts = 2
	next.Routes = map[string]config.Route{"r": r}
	commit, err := g.p.Prepare(&next)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	wg.Wait()
	if statuses[200] != 20 {
		t.Errorf("over a reload: %v", statuses)
	}
	if g.onlyPace() != pace {
		t.Error("a reload has forgotten what was known")
	}
	clear(statuses)
	crowd(15)
	eventually(t, "they wait again", func() bool { return pace.State(time.Now()).Waiting > 5 })
	s.mu.Lock()
	s.hangUp = true
	s.mu.Unlock()
	wg.Wait()
	if statuses[502] < 5 {
		t.Errorf("the provider is gone: %v", statuses)
	}
	eventually(t, "nothing is left", func() bool { s := pace.State(time.Now()); return s.Waiting == 0 && s.Flying == 0 })
}

// A target without room takes traffic again at once where its provider's limits are not to be kept to any more.
func TestPacing_SwitchedOff(t *testing.T) {
	t.Parallel()
	cfg := pacedRoute(newStrict(t, &strict{rate: 1e6}), newStrict(t, &strict{rate: 1e6}))
	g := start(t, cfg)
	c := newPaceClient(t, g)
	target := func() *pick.Target { return g.p.settings.Load().routes.list[0].pick.Target("a") }
	target().PacedUntil(time.Now().Add(time.Hour))
	if resp, body := c.mustAsk(t, "sk", "m"); resp.Header.Get("x-llmopt-target") != "b" {
		t.Fatalf("served by %s: %s", resp.Header.Get("x-llmopt-target"), body)
	}
	next := *cfg
	next.Providers = maps.Clone(cfg.Providers)
	a := cfg.Providers["a"]
	a.Pacing.Enabled = false
	next.Providers["a"] = a
	commit, err := g.p.Prepare(&next)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	if s := target().Status(time.Now()); s.State != pick.Healthy {
		t.Errorf("is %v with pacing switched off", s.State)
	}
	if resp, body := c.mustAsk(t, "sk", "m"); resp.Header.Get("x-llmopt-target") != "a" {
		t.Errorf("served by %s: %s", resp.Header.Get("x-llmopt-target"), body)
	}
}

// crowdThatWaits has a crowd wait for room for up to 20 seconds. The test ends once all are answered.
func crowdThatWaits(t *testing.T) (*gateway, *pacing.Pace) {
	t.Helper()
	cfg := pacedRoute(newStrict(t, &strict{rate: 1e6}))
	a := cfg.Providers["a"]
	a.Pacing.MaxWait = 20 * time.Second
	cfg.Providers["a"] = a
	g, c := slowedWith(t, cfg, 2)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for range 30 {
		wg.Go(func() { _, _, _ = c.ask("sk", "m") })
	}
	pace := g.onlyPace()
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 20 })
	return g, pace
}

// A shutdown does not wait for those that wait.
func TestPacing_Shutdown(t *testing.T) {
	t.Parallel()
	g, _ := crowdThatWaits(t)
	before := time.Now()
	g.stop()
	if took := time.Since(before); took > 5*time.Second {
		t.Errorf("shutting down took %v", took)
	}
}

// Callers take turns: one that asks for much does not keep another waiting.
func TestPacing_Fair(t *testing.T) {
	t.Parallel()
	g, c := slowed(t, &strict{rate: 1e6}, 30)
	pace := g.onlyPace()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 60 {
		wg.Go(func() { _, _, _ = c.ask("sk-many", "m") })
	}
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 40 })
	if resp, body := c.mustAsk(t, "sk-few", "m"); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if n := pace.State(time.Now()).Waiting; n < 15 {
		t.Errorf("it came after all but %d", n)
	}
}

// How many at a time suit a target is found out where that is asked for; what is beyond goes elsewhere, or is refused as by a busy route.
func TestPacing_Concurrency(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	url := raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readMessage(r); err != nil {
				return
			}
			<-release
			_, _ = io.WriteString(c, chatAnswer("m"))
		}
	})
	cfg := pacedRoute(url, newStrict(t, &strict{rate: 1e6}))
	a := cfg.Providers["a"]
	a.Pacing.Concurrency, a.Pacing.MaxConcurrent = "aimd", 3
	cfg.Providers["a"] = a
	g := start(t, cfg)
	c := newPaceClient(t, g)
	var wg sync.WaitGroup
	var mu sync.Mutex
	by := map[string]int{}
	for range 10 {
		wg.Go(func() {
			if resp, _, err := c.ask("sk", "m"); err == nil {
				mu.Lock()
				defer mu.Unlock()
				by[resp.Header.Get("x-llmopt-target")]++
			}
		})
	}
	eventually(t, "those beyond go elsewhere", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return by["b"] == 7
	})
	close(release)
	wg.Wait()
	if by["a"] != 3 {
		t.Errorf("%v", by)
	}

	single := pacedRoute(url)
	p := single.Providers["a"]
	p.Pacing = config.Pacing{Enabled: true, Share: .97, MaxWait: 20 * time.Millisecond, Waiters: 10, Concurrency: "gradient", MinConcurrent: 1, MaxConcurrent: 1}
	single.Providers["a"] = p
	g = start(t, single)
	pace := limit.ConcurrencyOptions{Most: 1, Open: true, Gradient: true}
	c = newPaceClient(t, g)
	c.mustAsk(t, "sk", "m")
	var held pacing.Turn
	eventually(t, "there is room", func() bool {
		var r pacing.Refusal
		held, r = g.onlyPace().Try(time.Now(), &pacing.Terms{Share: 1, Crowds: true, Concurrency: pace}, limit.Need{})
		return r.Retry == 0
	})
	if resp, body := c.mustAsk(t, "sk", "m"); resp.StatusCode != 503 || errorCode(body) != "route_saturated" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	g.onlyPace().End(time.Now(), &held, false, limit.NoMatter, 0, 0)
	if resp, body := c.mustAsk(t, "sk", "m"); resp.StatusCode != 200 {
		t.Errorf("with room again: %d %s", resp.StatusCode, body)
	}
}

// Who has waited in vain falls back on the targets that have room then, not on those that had it when the wait began.
func TestPacing_FallsBackAfterTheWait(t *testing.T) {
	t.Parallel()
	cfg := pacedRoute(newStrict(t, &strict{rate: 1e6}), newStrict(t, &strict{rate: 1e6}), newStrict(t, &strict{rate: 1e6}))
	a, r := cfg.Providers["a"], cfg.Routes["r"]
	a.Pacing.MaxWait, a.Pacing.Concurrency, a.Pacing.MaxConcurrent = 600*time.Millisecond, "aimd", 1
	cfg.Providers["a"] = a
	other := r
	r.Fallback.RateLimit, r.Targets = []string{"s"}, map[string]config.Target{"a": r.Targets["a"]}
	other.Name, other.Match = "s", config.Match{}
	delete(other.Targets, "a")
	cfg.Routes["r"], cfg.Routes["s"] = r, other
	g := start(t, cfg)
	c := newPaceClient(t, g)
	c.mustAsk(t, "sk", "m")
	pace := g.onlyPace()
	var held pacing.Turn
	eventually(t, "there is room", func() bool {
		var refusal pacing.Refusal
		terms := pacing.Terms{Share: 1, Crowds: true, Concurrency: limit.ConcurrencyOptions{Most: 1, Open: true}}
		held, refusal = pace.Try(time.Now(), &terms, limit.Need{})
		return refusal.Retry == 0
	})
	g.p.settings.Load().routes.picks.Route("s").Target("b").PacedUntil(time.Now().Add(300 * time.Millisecond))
	if resp, body := c.mustAsk(t, "sk", "m"); resp.StatusCode != 200 || resp.Header.Get("x-llmopt-target") != "b" {
		t.Errorf("%d by %s: %s", resp.StatusCode, resp.Header.Get("x-llmopt-target"), body)
	}
	pace.End(time.Now(), &held, false, limit.NoMatter, 0, 0)
}

// By how much an attempt is held back beyond what limits of the gateway ask for is waited for its provider's.
func TestPaced_Later(t *testing.T) {
	t.Parallel()
	check := func(own, delay, wantDelay, wantWaited time.Duration) {
		t.Helper()
		p := paced{delay: own, waited: time.Second}
		if p.later(delay); p.delay != wantDelay || p.waited != time.Second+wantWaited {
			t.Errorf("%v after %v: starts in %v, has waited %v", delay, own, p.delay, p.waited)
		}
	}
	check(0, 15, 15, 15)
	check(10, 15, 15, 5)
	check(20, 15, 20, 0)
	check(20, 0, 20, 0)
}

// What was let through behind an attempt that has failed, and is never sent, is had back.
func TestPacing_NeverSent(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig("http://127.0.0.1:1"))
	pace := g.p.paces.Find(time.Now(), 1, [8]byte{}, []byte("m"))
	slow(t, pace, 10)
	now, terms := time.Now().Add(time.Second), pacing.Terms{Share: .97}
	try := func() (pacing.Turn, bool) {
		turn, r := pace.Try(now, &terms, limit.Need{})
		return turn, r.Retry == 0
	}
	last, ok := try()
	for next := last; ok; next, ok = try() {
		last = next
	}
	x := g.p.begin(&fasthttp.RequestHeader{}, &clientConn{})
	x.settled, x.attempt.sent = true, now.Add(-time.Second)
	x.abandon(nil)
	x.pace.of, x.pace.turn = pace, last
	x.dropTurn(now)
	if _, ok := try(); !ok {
		t.Error("it counts as sent")
	}
	g.p.metrics.inFlight.Add(-1)
	g.p.release(x)
}
