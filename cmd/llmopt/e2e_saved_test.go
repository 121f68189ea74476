package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// program is what somebody's program asks with the official SDKs, and all that it gets.
func (c *clients) program() (said []any) {
	t := c.t
	streamed, plain := chatWith("gpt-4o", "say it again"), chatWith("gpt-4o", "Grüße, 世界 👋")
	streamed.Temperature, plain.Temperature = openai.Float(0), openai.Float(0)
	streamed.StreamOptions.IncludeUsage = openai.Bool(true)
	said = append(said, c.chatStream(streamed), c.chat(plain))

	response := responses.ResponseNewParams{
		Model: "gpt-4o", Temperature: openai.Float(0), Store: openai.Bool(false), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("respond")},
	}
	said = append(said, c.responseStream(response), either(c.openai.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("embed")},
	})))

	message := messageWith("claude-sonnet-4-5", "speak")
	message.Temperature = anthropic.Float(0)
	said = append(said, c.accumulated(message), c.generate("gemini-2.5-flash", genai.Text("generate"), &genai.GenerateContentConfig{Temperature: genai.Ptr[float32](0)}))
	for _, answer := range said {
		if err, failed := answer.(error); failed {
			t.Fatalf("the program fails: %v", err)
		}
	}
	return said
}

// programCalls is how many requests that makes.
const programCalls = 6

// savings are what the caches have saved, as the command says it.
type savings struct {
	saved
	Optimizer json.RawMessage `json:"saved_usd"`
}

func savingsOf(g *served, args ...string) (s savings) {
	g.t.Helper()
	text := g.cli(0, append([]string{"savings", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		g.t.Fatalf("%v in %s", err, text)
	}
	return s
}

// A program is run twice: the second run is served from the cache, also after the gateway was killed, and what that has saved is told, to the nano-dollar.
func TestE2E_SavedByTheCache(t *testing.T) {
	t.Parallel()
	up := simulate(t, sim.Options{Directives: sim.MustDirectives("ttft=2ms,tokens=20")})
	file := newSettingsFile(t, cacheOn+"disk = \"128MiB\"\n"+fmt.Sprintf(
		"[providers.openai]\nbase_url = \"%[1]s/v1\"\n[providers.anthropic]\nbase_url = %[1]q\n[providers.gemini]\nbase_url = %[1]q\n", up.url))
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + filepath.Join(t.TempDir(), "state"), "OPTIMIZER_STORAGE__MIN_FREE=0B"}
	start := func() (*child, *served, *clients) {
		c := file.start(environ...)
		eventually(t, "the disk is there", 20*time.Second, func() bool { return c.metric("llmopt_cache_disk_up") == 1 && c.metric("llmopt_storage_up") == 1 })
		return c, &served{t: t, url: c.proxy, admin: c.admin}, newClients(t, c.proxy+"/openai/v1", c.proxy+"/anthropic", c.proxy+"/gemini")
	}
	c, g, sdks := start()
	first := sdks.program()
	if n := calls(up); n != programCalls {
		t.Fatalf("the first run makes %d calls, want %d", n, programCalls)
	}
	eventually(t, "all is on disk", 20*time.Second, func() bool { return c.metric(`llmopt_cache_writes_total{tier="disk"}`) == programCalls })
	cost := int64(math.Round(c.metric("llmopt_cost_usd_total") * 1e9))

	second := sdks.program()
	same(t, "second", second, first)
	eventually(t, "all is counted", 20*time.Second, func() bool { return savingsOf(g).Cache.Answers == programCalls })
	after := savingsOf(g).Cache
	if calls(up) != programCalls || after.Saved != cost || cost == 0 || after.Worth != cost || after.Sooner <= 0 {
		t.Errorf("%d calls, which cost %d; saved %+v", calls(up), cost, after)
	}
	c.signal(syscall.SIGKILL)
	_ = c.ended(10 * time.Second)

	c, g, sdks = start()
	eventually(t, "all is known", 20*time.Second, func() bool { return c.metric(`llmopt_cache_entries{tier="disk"}`) == programCalls })
	if again := savingsOf(g); again.Cache.Saved != after.Saved || again.Cache.Answers != after.Answers || again.Cache.Sooner != after.Sooner || len(again.Optimizer) == 0 {
		t.Errorf("after the crash: %+v, was %+v", again, after)
	}
	same(t, "after the crash", sdks.program(), first)
	eventually(t, "all is counted", 20*time.Second, func() bool { return savingsOf(g).Cache.Answers == 2*programCalls })
	last := savingsOf(g).Cache
	if calls(up) != programCalls || last.Saved != 2*cost || len(last.Routes) != 1 || last.Routes[0].cacheAmounts != last.cacheAmounts {
		t.Errorf("%d calls, which cost %d; saved %+v, then %+v", calls(up), cost, after, last)
	}
	want(t, "as text", g.cli(0, "savings"), `(?s)no route has had an exchange yet\n\n`+
		`the cache of answers, since \d{4}-\d\d-\d\d \d\d:00: saved (<\$0\.0001|\$0\.\d{4}) and \S+ of waiting; no part of what the optimizer saves\n`+
		fmt.Sprintf(`  route +answers +worth +fetched anew +saved +time saved\n  direct +%d +\S+ +\$0 +\S+ +\S+\n$`, last.Answers))
	if now := savingsOf(g, "--since", "1h"); now.Cache.Saved == 0 {
		t.Errorf("in the last hour: %+v", now)
	}
	c.signal(syscall.SIGTERM)
	if err := c.ended(20 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v; %s", err, c.stderr)
	}
}

// same complains where two runs of a program have got different answers.
func same(t *testing.T, what string, got, want []any) {
	t.Helper()
	for i := range want {
		if a, b := show(got[i]), show(want[i]); a != b {
			t.Errorf("%s run, answer %d: %s", what, i, difference(a, b))
		}
	}
}

// What was fetched in the background is set against what it has brought, and marked prompts have their own line, with storage and without.
func TestE2E_SavedLessWhatWasSpent(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "state")} {
		up := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=20")})
		settings := markingSettings("prompt_cache = \"5m\"") + "\n" + cacheOn + "store = \"all\"\nttl = \"1s\"\nstale_while_revalidate = \"1h\"\n"
		g := serveFile(t, newSettingsFile(t, settings).path, up.url, "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__MIN_FREE=0B")
		body := fmt.Sprintf(cachedBody, "a", false)
		if r := askAs(t, g, "ann", body); r.cache() != "miss" {
			t.Fatalf("%d %s", r.status, r.cache())
		}
		g.eventually("stored", func() bool { return g.metric("llmopt_cache_stored_total") == 1 })
		<-time.After(1100 * time.Millisecond) // real sockets keep real time
		if r := askAs(t, g, "ann", body); r.cache() != "updating" {
			t.Errorf("past its time: %s", r.cache())
		}
		g.eventually("fetched anew", func() bool {
			return g.metric(`llmopt_cache_requests_total{route="direct",class="light",result="refresh"}`) == 1
		})
		m := &marking{served: g, up: up}
		var turns []turn
		for range 4 {
			turns, _ = m.say("a session", turns)
		}
		g.eventually("marks are counted", func() bool { return savingsOf(g).Prompts.Marked+savingsOf(g).Prompts.Unmarked == 4 })
		s := savingsOf(g)
		if k := s.Cache; k.Answers != 1 || k.Worth <= 0 || k.Refresh <= 0 || k.Saved != k.Worth-k.Refresh || k.From == nil || len(k.Routes) != 1 {
			t.Errorf("with %q: cache %+v", dir, k)
		}
		if p := s.Prompts; p.Marked > 0 && p.Saved <= 0 || len(p.Routes) != 1 || p.Routes[0].Route != "agents" || p.Routes[0].promptAmounts != p.promptAmounts || s.Missing != "" {
			t.Errorf("with %q: prompts %+v, %s", dir, p, s.Missing)
		}
		if text := g.cli(0, "savings"); !strings.Contains(text, "\nmarked prompts, since ") || strings.Contains(text, "not all known") {
			t.Errorf("with %q: %s", dir, text)
		}
	}
}
