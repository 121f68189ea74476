package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

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
	if resp.StatusCode != 429 || errorCode(body) != "provider_rate_limited" || time.Since(before) > 5*time.Second {
		t.Errorf("got %d %s after %v", resp.StatusCode, body, time.Since(before))
	}
	var seconds, millis int
	_, err1 := fmt.Sscan(resp.Header.Get("Retry-After"), &seconds)
	_, err2 := fmt.Sscan(resp.Header.Get("Retry-After-Ms"), &millis)
	if err1 != nil || err2 != nil || millis < 20_000 || millis > 33_000 || seconds != (millis+999)/1000 {
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
	if line["outcome"] != "rate_limited" || line["error"] != "provider_rate_limited" || line["attempts"] != 0.0 || line["overhead_us"].(float64) > 5e6 {
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

// What a provider asks for counts from the head of its answer on, however slow the body is that tells what it means.
func TestPacing_SlowRefusal(t *testing.T) {
	t.Parallel()
	url, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", "1") // it is made a tenth longer at most
		w.WriteHeader(http.StatusTooManyRequests)
		_ = http.NewResponseController(w).Flush()
		<-time.After(500 * time.Millisecond)
		_, _ = io.WriteString(w, `{"error":{"message":"Too many requests.","type":"requests","code":"rate_limit_exceeded"}}`)
	})
	g := start(t, testConfig(url))
	if resp, body := newPaceClient(t, g).mustAsk(t, "sk-1", "m"); resp.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if left := g.onlyPace().State(time.Now()).Paused; left > 900*time.Millisecond {
		t.Errorf("paused for %v yet", left)
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
	if err := ask(0); !errors.As(err, &apiErr) || apiErr.StatusCode != 429 || apiErr.Code != "provider_rate_limited" || len(apiErr.Response.Header.Get("Retry-After")) != 1 {
		t.Errorf("got %v", err)
	}
	if err := ask(3); err != nil {
		t.Errorf("with retries: %v", err)
	}
	if _, refused, sent := s.counts(); refused > 0 || sent != 1 {
		t.Errorf("%d were sent, %v refused", sent, refused)
	}
}

// When waiting was in vain the fallbacks for rate limits are tried, without a word from the provider.
func TestPacing_FallsBack(t *testing.T) {
	t.Parallel()
	s := &strict{rate: 1e6}
	cfg := pacedRoute(newStrict(t, s), newStrict(t, &strict{rate: 1e6}))
	a, r := cfg.Providers["a"], cfg.Routes["r"]
	a.Pacing.MaxWait = 20 * time.Millisecond
	cfg.Providers["a"] = a
	b := r.Targets["b"]
	b.Weight = 0
	r.Targets["b"], r.Fallback.RateLimit, r.Attempts = b, []string{"b"}, 1
	cfg.Routes["r"] = r
	g, c := slowedWith(t, cfg, 1)
	s.begin()
	by := map[string]int{}
	for range 20 {
		resp, body := c.mustAsk(t, "sk", "m")
		if resp.StatusCode != 200 || resp.Header.Get("x-llmopt-attempts") != "1" {
			t.Fatalf("%d %s after %s attempts", resp.StatusCode, body, resp.Header.Get("x-llmopt-attempts"))
		}
		by[resp.Header.Get("x-llmopt-target")]++
	}
	if by["b"] < 15 {
		t.Errorf("%v", by)
	}
	if line := g.lines(21)[20]; line["pick"] != "fallback" || line["target"] != "b" {
		t.Errorf("log: %v", line)
	}
}

// Those who follow an answer for which there was no room share that, after one more try: each on its own would ask for room that there is not.
func TestPacing_FollowersShareTheRefusal(t *testing.T) {
	t.Parallel()
	x := newExchange()
	x.retryAfter = 3 * time.Second
	if end := x.endForOthers(&providerLimited, nil); end.alone || !end.again || end.retryAfter != 3*time.Second {
		t.Errorf("%+v", end)
	}
}
