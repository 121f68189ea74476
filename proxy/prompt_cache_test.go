package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/ledger"
)

// promptRoutes is a configuration with a route that marks prompts, over targets at these providers.
func promptRoutes(lifetime string, upstreams ...string) *config.Config {
	c := testConfig(upstreams[0])
	r := config.Route{
		Name: "r", Match: config.Match{Model: []string{"claude-*"}}, PromptCache: lifetime, Attempts: len(upstreams), RetryOn: []string{"5xx"}, RetryBudget: 1,
		Classes: config.Classes{LightInput: 1000, MediumInput: 8000, LightOutput: 500, MediumOutput: 2000}, Targets: map[string]config.Target{},
	}
	for i, url := range upstreams {
		p := c.Providers["anthropic"]
		p.Name, p.BaseURL, p.PricedAs = fmt.Sprintf("p%d", i), url, "anthropic"
		c.Providers[p.Name] = p
		name := fmt.Sprintf("t%d", i)
		r.Targets[name] = config.Target{Name: name, Provider: p.Name, Weight: 1, Priority: i}
	}
	c.Routes = map[string]config.Route{"r": r}
	return c
}

// promptBody is a request that is long enough to be marked, in the second turn of a conversation.
func promptBody(session int) string {
	return fmt.Sprintf(`{"model":"claude-sonnet-4-5","max_tokens":9,"system":%q,"messages":[{"role":"user","content":"conversation %d"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}`,
		strings.Repeat("be kind ", 1000), session)
}

// answerWith is a message whose usage has read and written so much of the cache.
func answerWith(read, written int) string {
	body := fmt.Sprintf(`{"type":"message","model":"claude-sonnet-4-5","content":[],"stop_reason":"end_turn","usage":{"input_tokens":100,"cache_read_input_tokens":%d,`+
		`"cache_creation_input_tokens":%d,"output_tokens":1}}`, read, written)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func countMarks(m *message) int { return bytes.Count(m.body, []byte(`"cache_control"`)) }

func TestPromptCache_MarksEachAttempt(t *testing.T) {
	t.Parallel()
	first := fixed(t, "HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")
	second, got := mirror(t)
	g := start(t, promptRoutes("5m", first, second))
	counts := map[int]int{}
	const n = 200
	for i := range n {
		resp, _ := g.send(post("/v1/messages", promptBody(i)))
		if resp.StatusCode != 200 || resp.Header.Get("x-llmopt-target") != "t1" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		counts[countMarks(<-got)]++
	}
	// 5 % of the sessions are the control: 10 of 200, and by chance hardly more than 30.
	if counts[3]+counts[0] != n || counts[0] > 30 {
		t.Errorf("requests by marks: %v", counts)
	}
	for _, l := range g.lines(n) {
		if b := l["breakpoints"]; b != 3. && b != 0. {
			t.Errorf("log: breakpoints %v", b)
		}
	}
}

func TestPromptCache_IsSuspendedWhereItCosts(t *testing.T) {
	t.Parallel()
	g := start(t, promptRoutes("5m", fixed(t, answerWith(0, 2000))))
	r := g.p.settings.Load().routes.list[0].prompts
	marked, sent := &r.counts.arms[promptMarked], int64(0)
	ask := func(i int) {
		t.Helper()
		sent++
		g.send(post("/v1/messages", promptBody(i)))
		eventually(t, "counted, and judged", func() bool {
			r.effect.mu.Lock()
			judged := r.effect.exchanges
			r.effect.mu.Unlock()
			return marked.attempts.Load()+r.counts.arms[promptControl].attempts.Load() == sent && (int64(judged) == marked.attempts.Load() || r.effect.suspended(time.Now()))
		})
	}
	for i := 0; marked.attempts.Load() < effectExchanges-1; i++ {
		ask(i)
	}
	r.effect.mu.Lock()
	r.effect.began = time.Now().Add(-time.Hour)
	r.effect.mu.Unlock()
	for i := 1000; !r.effect.suspended(time.Now()); i++ {
		if i == 1100 {
			t.Fatal("not suspended")
		}
		ask(i)
	}
	// $3.75 in place of $3 a million tokens.
	if n, saved := marked.attempts.Load(), marked.savedNanoUSD.Load(); saved != -n*2000*750 {
		t.Errorf("%d exchanges have saved %d", n, saved)
	}
	before := marked.attempts.Load()
	for i := range 20 {
		g.send(post("/v1/messages", promptBody(i)))
	}
	var metrics bytes.Buffer
	g.p.metrics.set.WritePrometheus(&metrics)
	if marked.attempts.Load() != before || !strings.Contains(metrics.String(), `llmopt_prompt_cache_suspended{route="r"} 1`) {
		t.Errorf("it goes on: %s", metrics.String())
	}

	// Another lifetime is another try. The counts go on.
	commit, err := g.p.Prepare(promptRoutes("1h", "http://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	commit()
	if now := g.p.settings.Load().routes.list[0].prompts; now.effect.suspended(time.Now()) || now.counts != r.counts {
		t.Error("after a reload: suspended, or without its counts")
	}
}

// A configuration that is prepared and not put in force leaves a suspension and its metric as they are.
func TestPromptCache_OnlyPreparedChangesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, promptRoutes("5m", "http://127.0.0.1:1"))
	inForce := func() *promptRoute { return g.p.settings.Load().routes.list[0].prompts }
	inForce().effect.until.Store(time.Now().Add(time.Hour).UnixNano())
	check := func(after string, suspended int) {
		t.Helper()
		var metrics bytes.Buffer
		g.p.metrics.set.WritePrometheus(&metrics)
		if want := fmt.Sprintf(`llmopt_prompt_cache_suspended{route="r"} %d`, suspended); !strings.Contains(metrics.String(), want) {
			t.Errorf("after %s: no %s", after, want)
		}
	}
	prepare := func(c *config.Config) (commit func()) {
		t.Helper()
		commit, err := g.p.Prepare(c)
		if err != nil {
			t.Fatal(err)
		}
		return commit
	}
	check("the start", 1)
	before := inForce()
	prepare(promptRoutes("1h", "http://127.0.0.1:1"))
	check("another lifetime", 1)
	prepare(promptRoutes("off", "http://127.0.0.1:1"))
	check("none", 1)
	prepare(promptRoutes("5m", "http://127.0.0.1:2"))() // the route is another, its lifetime is the same
	if inForce() != before {
		t.Error("another reload has forgotten the suspension")
	}
	check("another provider", 1)
	prepare(testConfig("http://127.0.0.1:2"))()
	check("no route", 0)
	prepare(promptRoutes("5m", "http://127.0.0.1:2"))()
	if now := inForce(); now.effect.suspended(time.Now()) || now.counts != before.counts {
		t.Error("back again: suspended, or without its counts")
	}
}

func TestPromptCache_CountsWhatReadingSaves(t *testing.T) {
	t.Parallel()
	g := start(t, promptRoutes("5m", fixed(t, answerWith(10_000, 400))))
	sums := &g.p.settings.Load().routes.list[0].prompts.counts.arms
	for i := range 20 {
		g.send(post("/v1/messages", promptBody(i)))
	}
	m, c := &sums[promptMarked], &sums[promptControl]
	eventually(t, "counted", func() bool { return m.attempts.Load()+c.attempts.Load() == 20 })
	for _, s := range []*promptSums{m, c} {
		// Reading costs $0.30 and writing $3.75 in place of $3 a million tokens.
		if n := s.attempts.Load(); s.savedNanoUSD.Load() != n*(10_000*2700-400*750) || s.read.Load() != n*10_000 || s.written.Load() != n*400 || s.input.Load() != n*100 {
			t.Errorf("%d attempts: saved %d, read %d, written %d, input %d", n, s.savedNanoUSD.Load(), s.read.Load(), s.written.Load(), s.input.Load())
		}
	}
	var sum ledger.Sums
	eventually(t, "charged", func() bool {
		g.p.ledger.Collect(time.Now(), func(_ int64, _ ledger.Key, s *ledger.Sums) { sum = *s }) // of the one account
		return sum.Marked+sum.Unmarked == 20
	})
	if sum.Marked != m.attempts.Load() || sum.MarkedNanoUSD != m.savedNanoUSD.Load() || sum.UnmarkedNanoUSD != c.savedNanoUSD.Load() || sum.Attempts != 20 {
		t.Errorf("ledger: %+v", sum)
	}
}

func TestPromptCache_OffLeavesBodiesAlone(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	for _, lifetime := range []string{"", "off"} {
		g := start(t, promptRoutes(lifetime, url))
		g.send(post("/v1/messages", promptBody(1)))
		if m := <-got; string(m.body) != promptBody(1) {
			t.Errorf("%q: %s", lifetime, m.body)
		}
	}
	g := start(t, promptRoutes("5m", url)) // of requests without a route nothing is marked
	body := strings.Replace(promptBody(1), "claude-", "other-", 1)
	g.send(post("/v1/messages", body))
	if m := <-got; string(m.body) != body {
		t.Errorf("without a route: %s", m.body)
	}
	g.send(post("/v1/messages/count_tokens", promptBody(1)))
	if m := <-got; string(m.body) != promptBody(1) {
		t.Errorf("counting tokens: %s", m.body)
	}
}
