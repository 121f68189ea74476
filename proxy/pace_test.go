package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
)

// onlyPace is the one pace that the proxy knows.
func (g *gateway) onlyPace() (one *pacing.Pace) {
	g.t.Helper()
	n := 0
	g.p.paces.Each(func(p *pacing.Pace) { one, n = p, n+1 })
	if n != 1 {
		g.t.Fatalf("%d paces", n)
	}
	return one
}

// What a provider asks for by Retry-After is kept to, for that key and model alone, and clients are told when to come again.
func TestPacing_RetryAfter(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1000, retryAfter: "30"}
	g := start(t, testConfig(newStrict(t, s)))
	c := newPaceClient(t, g)
	s.to(0)
	if resp, body := c.mustAsk(t, "sk-1", "m"); resp.StatusCode != 429 || errorCode(body) != "rate_limit_exceeded" {
		t.Fatalf("the provider's own: %d %s", resp.StatusCode, body)
	}
	s.to(1000)
	s.begin()
	before := time.Now()
	resp, body := c.mustAsk(t, "sk-1", "m")
	if resp.StatusCode != 429 || errorCode(body) != "provider_rate_limited" || time.Since(before) > time.Second {
		t.Errorf("got %d %s after %v", resp.StatusCode, body, time.Since(before))
	}
	var seconds, millis int
	_, err1 := fmt.Sscan(resp.Header.Get("Retry-After"), &seconds)
	_, err2 := fmt.Sscan(resp.Header.Get("Retry-After-Ms"), &millis)
	if err1 != nil || err2 != nil || millis < 28_000 || millis > 33_000 || seconds != (millis+999)/1000 {
		t.Errorf("come again in %d s, %d ms", seconds, millis)
	}
	if _, _, sent := s.counts(); sent != 0 {
		t.Errorf("%d were sent", sent)
	}
	for _, other := range [][2]string{{"sk-2", "m"}, {"sk-1", "n"}} {
		time.Sleep(2 * time.Millisecond) // the bucket fills
		if resp, body := c.mustAsk(t, other[0], other[1]); resp.StatusCode != 200 {
			t.Errorf("%v: %d %s", other, resp.StatusCode, body)
		}
	}
	line := g.lines(4)[1]
	if line["outcome"] != "rate_limited" || line["error"] != "provider_rate_limited" || line["attempts"] != 0.0 || line["overhead_us"].(float64) > 100_000 {
		t.Errorf("log: %v", line)
	}
	for _, want := range []string{
		`llmopt_pacing_refused_total{provider="openai",model="m"} 1`, `llmopt_pacing_limited_total{provider="openai",model="m"} 1`, `llmopt_pacing_keys{state="paused"} 1`,
		`llmopt_pacing_keys{state="free"} 2`,
	} {
		if !strings.Contains(g.metricsText(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// A 429 that is about money has nothing to do with how fast requests come: it goes through each time.
func TestPacing_Unpaid(t *testing.T) {
	t.Parallel()
	s := &strict{unpaid: true}
	g := start(t, testConfig(newStrict(t, s)))
	c := newPaceClient(t, g)
	for range 20 {
		if resp, body := c.mustAsk(t, "sk-1", "m"); resp.StatusCode != 429 || errorCode(body) != "insufficient_quota" {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	if st := g.onlyPace().State(time.Now()); st.Rate != 0 {
		t.Errorf("slowed down to %v", st.Rate)
	}
}

// Switched off, what a provider refuses is refused, and nothing else is.
func TestPacing_Off(t *testing.T) {
	t.Parallel()
	s := &strict{retryAfter: "30"}
	cfg := testConfig(newStrict(t, s))
	p := cfg.Providers["openai"]
	p.Pacing.Enabled = false
	cfg.Providers["openai"] = p
	c := newPaceClient(t, start(t, cfg))
	for range 5 {
		if _, body := c.mustAsk(t, "sk-1", "m"); errorCode(body) != "rate_limit_exceeded" {
			t.Fatalf("%s", body)
		}
	}
	if _, _, sent := s.counts(); sent != 5 {
		t.Errorf("%d were sent", sent)
	}
}

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
	slow(g.onlyPace(), rate)
	return g, c
}

// slow tells a pace of refusals until it is as slow as that.
func slow(p *pacing.Pace, rate float64) {
	terms := pacing.Terms{Share: .97}
	at := time.Now().Add(-10 * time.Minute)
	for n := 0; n == 0 || p.State(at).Rate > rate; n++ {
		at = at.Add(1100 * time.Millisecond)
		turn, r := p.Try(at, &terms, pacing.Size{})
		for ; r.Retry > 0; turn, r = p.Try(at, &terms, pacing.Size{}) {
			at = at.Add(r.Retry)
		}
		p.Answered(at, &turn, limit.Limited, nil, 0, 0)
		p.End(at, &turn, true, limit.NoMatter, 0, 0)
	}
}

// Clients that leave while they wait leave nothing behind, and the others get their turns.
func TestPacing_ClientLeaves(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1e6}
	g, c := slowed(t, s, 20)
	pace, before := g.onlyPace(), runtime.NumGoroutine()
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
	eventually(t, "their goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+20 })
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
	g, c := slowed(t, s, 20)
	cfg := pacedRoute(strings.TrimSuffix(g.p.settings.Load().providers["a"].config.BaseURL, "/v1"))
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
	r := cfg.Routes["r"]
	r.Attempts = 2
	cfg.Routes["r"] = r
	commit, err := g.p.Prepare(cfg)
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

// A shutdown does not wait for those that wait.
func TestPacing_Shutdown(t *testing.T) {
	t.Parallel()
	cfg := pacedRoute(newStrict(t, &strict{rate: 1e6}))
	a := cfg.Providers["a"]
	a.Pacing.MaxWait = 20 * time.Second
	cfg.Providers["a"] = a
	g, c := slowedWith(t, cfg, .11)
	got := make(chan string, 1)
	go func() {
		_, body, err := c.ask("sk", "m")
		got <- fmt.Sprint(errorCode(body), err)
	}()
	go func() { _, _, _ = c.ask("sk", "m") }()
	pace := g.onlyPace()
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 0 })
	before := time.Now()
	g.stop()
	if took := time.Since(before); took > 5*time.Second {
		t.Errorf("shutting down took %v", took)
	}
	<-got
}

// The vendor's SDK raises its own error of that kind, and comes again as it is told.
func TestPacing_SDK(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1000, retryAfter: "1"}
	g := start(t, testConfig(newStrict(t, s)))
	ask := func(retries int) error {
		client := openai.NewClient(option.WithBaseURL("http://"+g.addr+"/v1"), option.WithAPIKey("sk-1"), option.WithMaxRetries(retries))
		_, err := client.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}})
		return err
	}
	s.to(0)
	s.mu.Lock()
	s.retryAfter = "3"
	s.mu.Unlock()
	if err := ask(0); err == nil {
		t.Fatal("no error")
	}
	s.to(1000)
	s.begin()
	var apiErr *openai.Error
	if err := ask(0); !errors.As(err, &apiErr) || apiErr.StatusCode != 429 || apiErr.Code != "provider_rate_limited" || apiErr.Response.Header.Get("Retry-After") != "4" && apiErr.Response.Header.Get("Retry-After") != "3" {
		t.Errorf("got %v", err)
	}
	if err := ask(3); err != nil {
		t.Errorf("with retries: %v", err)
	}
	if _, refused, sent := s.counts(); refused > 0 || sent != 1 {
		t.Errorf("%d were sent, %v refused", sent, refused)
	}
}

// Callers take turns: one that asks for much does not keep another waiting.
func TestPacing_Fair(t *testing.T) {
	t.Parallel()
	g, c := slowed(t, &strict{rate: 1e6}, 50)
	pace := g.onlyPace()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 60 {
		wg.Go(func() { _, _, _ = c.ask("sk-many", "m") })
	}
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 40 })
	before := time.Now()
	if resp, body := c.mustAsk(t, "sk-few", "m"); resp.StatusCode != 200 || time.Since(before) > 500*time.Millisecond {
		t.Errorf("%d %s after %v", resp.StatusCode, body, time.Since(before))
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
	held, r := g.onlyPace().Try(time.Now(), &pacing.Terms{Share: 1, Crowds: true, Concurrency: pace}, pacing.Size{})
	if r.Retry > 0 {
		t.Fatal("no room")
	}
	if resp, body := c.mustAsk(t, "sk", "m"); resp.StatusCode != 503 || errorCode(body) != "route_saturated" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	g.onlyPace().End(time.Now(), &held, false, limit.NoMatter, 0, 0)
	if resp, body := c.mustAsk(t, "sk", "m"); resp.StatusCode != 200 {
		t.Errorf("with room again: %d %s", resp.StatusCode, body)
	}
}
