package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	openaioption "github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// limitedSim is a server with limits before a simulator.
func limitedSim(t *testing.T, settings, directives string, environ ...string) (g *served, up *simulated, file *settingsFile) {
	t.Helper()
	up = simulate(t, sim.Options{Directives: sim.MustDirectives(directives)})
	file = newSettingsFile(t, settings)
	return serveFile(t, file.path, up.url, environ...), up, file
}

func limitsOf(t *testing.T, g *served) *controlpb.ListLimitsResponse {
	t.Helper()
	res, err := controlpb.NewAdminClient(http.DefaultClient, g.admin).ListLimits(t.Context(), &controlpb.ListLimitsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func chatText(i int) string {
	return fmt.Sprintf(`{"model":"gpt-4o","max_tokens":20,"messages":[{"role":"user","content":"number %d"}]}`, i)
}

// A caller over its limit gets an error that its SDK knows, and others go on. An SDK that retries comes when it was told to.
func TestE2E_LimitsSDKs(t *testing.T) {
	t.Parallel()
	g, up, _ := limitedSim(t, `
[admission]
max_wait = "0s"
[callers.team_a]
credential = "env:TEAM_A"
[callers.team_b]
header = { "x-team" = "b*" }
[[limits]]
caller = "team_a"
requests_per_minute = 1
[[limits]]
caller = "team_b"
requests_per_second = 2
burst = 1
`, "ttft=1ms,tokens=5", "TEAM_A=ka")
	c := newClients(t, g.url+"/v1", g.url, g.url)
	ctx := t.Context()

	if _, err := c.openai.Chat.Completions.New(ctx, chatWith("gpt-4o", "hello"), openaioption.WithAPIKey("ka")); err != nil {
		t.Fatal(err)
	}
	_, err := c.openai.Chat.Completions.New(ctx, chatWith("gpt-4o", "hello"), openaioption.WithAPIKey("ka"))
	if f := factsOf(err); f.Status != 429 || f.Code != "rate_limit_exceeded" || !strings.HasPrefix(f.Message, "The limit of 1 request per minute for the caller team_a is used up. Try again in ") {
		t.Errorf("openai: %+v", f)
	}
	if line := g.lineOf(c.wire.last().Header.Get("x-llmopt-id")); line.CallerName != "team_a" || line.Limit != "team_a" || line.Error != "rate_limit_exceeded" || line.Outcome != "refused" || line.Attempts != 0 {
		t.Errorf("access log: %+v", line)
	}
	if _, err := c.openai.Chat.Completions.New(ctx, chatWith("gpt-4o", "hello"), openaioption.WithAPIKey("kb")); err != nil {
		t.Errorf("another caller: %v", err)
	}

	// The same limit, whichever dialect: the key is what counts.
	a := c.anthropicWith("ka")
	_, err = a.Messages.New(ctx, messageWith("claude-sonnet-4-5", "hello"))
	if f := factsOf(err); f.Status != 429 || f.Kind != "rate_limit_error" {
		t.Errorf("anthropic: %+v", f)
	}
	_, err = c.geminiWith("ka").Models.GenerateContent(ctx, "gemini-2.0-flash", genai.Text("hello"), nil)
	if f := factsOf(err); f.Status != 429 || f.Kind != "RESOURCE_EXHAUSTED" {
		t.Errorf("gemini: %+v", f)
	}

	before := calls(up)
	start := time.Now()
	for range 3 { // two wait for about half a second each
		if _, err := c.openai.Chat.Completions.New(ctx, chatWith("gpt-4o", "hello"), openaioption.WithHeader("x-team", "b1"), openaioption.WithMaxRetries(2)); err != nil {
			t.Errorf("with retries: %v", err)
		}
	}
	if took := time.Since(start); took < 900*time.Millisecond || took > 5*time.Second || calls(up)-before != 3 {
		t.Errorf("with retries: %v for %d calls", took, calls(up)-before)
	}
	if met, refused := g.metric(`llmopt_limit_met_total{limit="team_b",observed="false"}`), g.metric(`llmopt_limit_refused_total{limit="team_b"}`); met != refused || refused < 2 || refused > 4 {
		t.Errorf("%v met the limit, %v were refused", met, refused)
	}
}

// Those that are over a limit wait for a while, and what they hold comes back however they end.
func TestE2E_LimitsWait(t *testing.T) {
	t.Parallel()
	g, _, _ := limitedSim(t, "[[limits]]\ncaller = \"each\"\nconcurrent = 2\n", "ttft=50ms,tokens=5")
	var wg sync.WaitGroup
	var bad atomic.Int64
	start := time.Now()
	for i := range 8 {
		wg.Go(func() {
			if r := askAs(t, g, "ann", chatText(i)); r.status != 200 {
				bad.Add(1)
				t.Log(r.text)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); bad.Load() != 0 || took < 200*time.Millisecond { // 50 ms each
		t.Errorf("%d of 8 failed, all took %v: more than two at a time", bad.Load(), took)
	}
	// Clients that leave while they wait, or while they are served.
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 6 {
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(
				fmt.Sprintf(`{"model":"gpt-4o@sim:ttft=5s","stream":true,"messages":[{"role":"user","content":"number %d"}]}`, i)))
			req.Header.Set("Authorization", "Bearer ann")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		})
	}
	g.eventually("some wait", func() bool { return g.metric("llmopt_limit_waiting") == 4 })
	cancel()
	wg.Wait()
	g.eventually("nothing is held", func() bool { return g.metric("llmopt_limit_waiting") == 0 && g.metric("llmopt_limit_leases") == 0 })
	if r := askAs(t, g, "ann", chatText(9)); r.status != 200 {
		t.Errorf("afterwards: %d %s", r.status, r.text)
	}
	if n := g.metric("llmopt_limit_leaked_total"); n != 0 {
		t.Errorf("%v leaked", n)
	}
}

// A budget holds against a crowd, what is spent is what exchanges cost to the nano-dollar, whatever faults there are, and it outlives a restart.
func TestE2E_LimitsBudget(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + dir, "OPTIMIZER_STORAGE__MIN_FREE=0B", "OPTIMIZER_SERVER__HASH_KEY=key"}
	settings := func(amount string) string {
		return "[admission]\nmax_wait = \"0s\"\n[[limits]]\nname = \"budget\"\nusd_per_day = \"" + amount + "\"\n"
	}
	g, up, file := limitedSim(t, settings("$1000"), "ttft=1ms,tokens=20", environ...)
	faults := []string{"", ",fault=500", ",fault=close-mid", ",fault=reset-mid", ",fault=429", ",fault=error-body"}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%7)*10*time.Millisecond)
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(
					`{"model":"gpt-4o@sim:tpot=1ms%s","stream":%t,"messages":[{"role":"user","content":"number %d"}]}`, faults[i%len(faults)], i%2 == 0, 100*w+i)))
				req.Header.Set("Authorization", fmt.Sprintf("Bearer caller %d", w))
				if resp, err := http.DefaultClient.Do(req); err == nil {
					_, _ = bytes.NewBuffer(nil).ReadFrom(resp.Body)
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	g.eventually("all have ended", func() bool {
		return g.metric("llmopt_exchanges_in_flight") == 0 && g.metric("llmopt_limit_leases") == 0
	})
	sum := int64(0)
	g.eventually("all lines", func() bool { return float64(len(g.log())) == g.metric("llmopt_exchanges_total") })
	for _, line := range g.log() {
		sum += line.Cost
	}
	const most = 1000_000_000_000
	spent := most - limitsOf(t, g).GetLimits()[0].GetStandings()[0].GetLeft()
	if spent != sum || sum == 0 {
		t.Errorf("spent %d, exchanges cost %d", spent, sum)
	}
	g.stop()

	// As much again, and room for ten more.
	each := int64(20*10_000 + 11*2_500) // output and input of one
	file.replace(settings(fmt.Sprintf("$%.9f", float64(sum+10*each)/1e9)))
	g = serveFile(t, file.path, up.url, environ...)
	g.eventually("restored", func() bool {
		return len(limitsOf(t, g).GetLimits()[0].GetStandings()) > 0 && limitsOf(t, g).GetLimits()[0].GetStandings()[0].GetLeft() == 10*each
	})
	var served, refused atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			switch r := askAs(t, g, "x", chatText(i)); {
			case r.status == 200:
				served.Add(1)
			case r.status == 429 && strings.Contains(r.text, "budget_exceeded") && strings.Contains(r.header.Get("x-llmopt-limit"), "of=micro-usd; per=day") && r.header.Get("x-should-retry") == "false",
				r.status == 429 && strings.Contains(r.text, "budget_exceeded") && r.header.Get("Retry-After") == "1":
				refused.Add(1)
			default:
				t.Errorf("%d %v %s", r.status, r.header, r.text)
			}
		})
	}
	wg.Wait()
	if n := served.Load(); n < 3 || n > 10 || refused.Load() != 200-n {
		t.Errorf("%d served, %d refused", n, refused.Load())
	}
}

// Limits come and go while requests are served; those that stay go on with their counts.
func TestE2E_LimitsReload(t *testing.T) {
	t.Parallel()
	text := func(n int, observe bool) string {
		return fmt.Sprintf("[admission]\nmax_wait = \"0s\"\n[[limits]]\nname = \"a\"\ncaller = \"each\"\nrequests_per_minute = %d\nobserve = %t\n", n, observe)
	}
	g, _, file := limitedSim(t, text(2, false), "ttft=1ms,tokens=5")
	status := func(want ...int) {
		t.Helper()
		for i, n := range want {
			if r := askAs(t, g, "ann", chatText(i)); r.status != n {
				t.Errorf("request %d: %d, want %d: %s", i, r.status, n, r.text)
			}
		}
	}
	reloaded := func(n int, observe bool) {
		t.Helper()
		file.replace(text(n, observe))
		g.eventually("reloaded", func() bool {
			l := limitsOf(t, g).GetLimits()[0]
			return l.GetObserve() == observe && len(l.GetStandings()) > 0 && l.GetStandings()[0].GetMost() == int64(n)
		})
	}
	status(200, 200, 429)
	reloaded(4, false)
	status(200, 200, 429)
	reloaded(4, true)
	status(200, 200)
	if n := g.metric(`llmopt_limit_met_total{limit="a",observed="true"}`); n != 4 {
		t.Errorf("%v have met the limit", n)
	}
	file.replace("")
	g.eventually("without limits", func() bool { return len(limitsOf(t, g).GetLimits()) == 0 })
	status(200)
}

// What the cache answers takes nothing of a limit, nor does what follows another's request.
func TestE2E_LimitsAndCache(t *testing.T) {
	t.Parallel()
	g, up, _ := limitedSim(t, cacheOn+"[admission]\nmax_wait = \"0s\"\n[[limits]]\ncaller = \"each\"\nrequests_per_minute = 2\n", "ttft=1ms,tokens=5")
	first := fmt.Sprintf(cachedBody, "a", false)
	if r := askAs(t, g, "ann", first); r.status != 200 {
		t.Fatal(r.text)
	}
	g.eventually("stored", func() bool { return g.metric("llmopt_cache_stored_total") == 1 })
	for range 5 {
		if r := askAs(t, g, "ann", first); r.cache() != "hit" {
			t.Errorf("%d %q %s", r.status, r.cache(), r.text)
		}
	}
	if r := askAs(t, g, "ann", fmt.Sprintf(cachedBody, "b", false)); r.status != 200 {
		t.Error(r.text)
	}
	if r := askAs(t, g, "ann", fmt.Sprintf(cachedBody, "c", false)); r.status != 429 || calls(up) != 2 {
		t.Errorf("%d, %d calls: %s", r.status, calls(up), r.text)
	}
	if r := askAs(t, g, "ann", first); r.cache() != "hit" { // also over the limit
		t.Errorf("%d %q %s", r.status, r.cache(), r.text)
	}
}

// The command prints how limits stand.
func TestE2E_LimitsCommand(t *testing.T) {
	t.Parallel()
	g, _, _ := limitedSim(t, "[callers.ann]\ncredential = \"env:ANN\"\n[[limits]]\ncaller = \"each\"\nrequests_per_minute = 4\nusd_per_day = \"$2\"\n", "ttft=1ms,tokens=5", "ANN=ka")
	for i := range 3 {
		askAs(t, g, "ka", chatText(i))
	}
	askAs(t, g, "kb", chatText(0))
	g.eventually("nothing is held", func() bool { return g.metric("llmopt_limit_leases") == 0 })
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"limits", "--admin", g.admin}, nil, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[1], "each   ann ") || !strings.Contains(lines[1], "4 requests a minute") || !strings.Contains(lines[1], "75.0%") || !strings.Contains(out.String(), "$2.0000 a day") {
		t.Errorf("printed\n%s", out.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"limits", "--json", "--admin", g.admin}, nil, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	var res struct {
		Limits []struct{ Standings []struct{ Caller string } }
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil || len(res.Limits) != 1 || len(res.Limits[0].Standings) != 4 {
		t.Errorf("%v: %s", err, out.String())
	}
}

// A killed process loses a second of what was spent, not more.
func TestCrash_LimitsBudget(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("ttft=1ms,tokens=20")})
	file := newSettingsFile(t, fmt.Sprintf("[providers.openai]\nbase_url = %q\n[[limits]]\ncaller = \"each\"\nusd_per_month = \"$1\"\n[[limits]]\nname = \"rolling\"\nusd_per_hour = \"$1\"\nrolling = true\n", s.url+"/v1"))
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + t.TempDir(), "OPTIMIZER_STORAGE__MIN_FREE=0", "OPTIMIZER_SERVER__HASH_KEY=secret"}
	left := func(c *child) (out []int64) {
		for _, l := range limitsOf(t, &served{t: t, admin: c.admin}).GetLimits() {
			for _, one := range l.GetStandings() {
				out = append(out, one.GetLeft())
			}
		}
		return out
	}
	crashing := file.start(environ...)
	eventually(t, "the storage is up", 20*time.Second, func() bool { return crashing.metric("llmopt_storage_up") == 1 })
	g := &served{t: t, url: crashing.proxy, admin: crashing.admin}
	for i := range 10 {
		if r := askAs(t, g, "ann", chatText(i)); r.status != http.StatusOK {
			t.Fatal(r.text)
		}
	}
	eventually(t, "settled", 10*time.Second, func() bool { return crashing.metric("llmopt_limit_leases") == 0 })
	before := left(crashing)
	<-time.After(2 * balancesEvery)
	crashing.signal(syscall.SIGKILL)
	if err := crashing.ended(10 * time.Second); err == nil {
		t.Fatal("a killed process ended well")
	}
	next := file.start(environ...)
	eventually(t, "the budgets are as they were", 20*time.Second, func() bool { return reflect.DeepEqual(left(next), before) })
	if len(before) != 2 || before[0] >= 1_000_000_000 || before[0] != before[1] {
		t.Errorf("left before: %v", before)
	}
	next.signal(syscall.SIGTERM)
	if err := next.ended(20 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
