package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

const (
	cachedBody = `{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":%q}],"stream":%t}`
	cacheOn    = "[cache]\nenabled = true\nmemory = \"16MiB\"\nrevalidate = 0\n" // one of a hundred hits would be fetched anew
)

// cachedReply is an answer with what the cache says of it.
type cachedReply struct {
	status int
	header http.Header
	text   string
	err    error
}

func (r *cachedReply) cache() string { return r.header.Get("x-llmopt-cache") }

// askAs sends a chat request of a caller, with further headers as name, value.
func askAs(t testing.TB, g *served, caller, body string, headers ...string) *cachedReply {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+caller)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return &cachedReply{header: http.Header{}, err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &cachedReply{resp.StatusCode, resp.Header, string(text), err}
}

// calls is how often a provider was called.
func calls(up *simulated) int64 {
	s := up.Stats()
	return s.Total()
}

// cachedSim is a server with a cache before a simulator.
func cachedSim(t *testing.T, settings, directives string, environ ...string) (g *served, up *simulated, file *settingsFile) {
	t.Helper()
	up = simulate(t, sim.Options{Directives: sim.MustDirectives(directives)})
	file = newSettingsFile(t, settings)
	return serveFile(t, file.path, up.url, environ...), up, file
}

func TestE2E_CacheAnswersAgain(t *testing.T) {
	t.Parallel()
	g, up, _ := cachedSim(t, cacheOn, "ttft=1ms,tokens=20,fault=gzip")
	expect := func(what string, r *cachedReply, cache string, want int64) {
		t.Helper()
		if r.err != nil || r.status != 200 || r.cache() != cache {
			t.Errorf("%s: %d %q %v %s", what, r.status, r.cache(), r.err, r.text)
		}
		if n := calls(up); n != want {
			t.Errorf("%s: %d calls of the provider, want %d", what, n, want)
		}
	}
	stored := func(n float64) { // an answer is stored a moment after it has gone out
		t.Helper()
		g.eventually("stored", func() bool { return g.metric("llmopt_cache_stored_total") == n })
	}
	plain, stream := fmt.Sprintf(cachedBody, "a", false), fmt.Sprintf(cachedBody, "b", true)

	first := askAs(t, g, "ann", plain)
	expect("first", first, "miss", 1)
	stored(1)
	again := askAs(t, g, "ann", `{ "stream":false, "messages":[{"content":"a","role":"user"}],"model":"gpt-4o","temperature":0,"user":"u"}`)
	expect("the same in another spelling", again, "hit", 1)
	if again.text != first.text || again.header.Get("Age") == "" || again.header.Get("x-llmopt-cost-usd") != "0" {
		t.Errorf("a hit: age %q, cost %q, %q", again.header.Get("Age"), again.header.Get("x-llmopt-cost-usd"), again.text)
	}
	expect("another caller", askAs(t, g, "bob", plain), "miss", 2)
	told := askAs(t, g, "ann", fmt.Sprintf(cachedBody, "a", true))
	expect("as a stream", told, "hit", 2)
	if !strings.HasSuffix(told.text, "data: [DONE]\n\n") || !strings.HasPrefix(told.header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("as a stream: %s", told.text)
	}

	streamed := askAs(t, g, "ann", stream)
	expect("a stream", streamed, "miss", 3)
	stored(3)
	second := askAs(t, g, "ann", stream)
	expect("a stream again", second, "hit", 3)
	if second.text != streamed.text {
		t.Errorf("another stream:\n%s\n%s", streamed.text, second.text)
	}
	body := askAs(t, g, "ann", fmt.Sprintf(cachedBody, "b", false))
	expect("a stream as a body", body, "hit", 3)
	if !strings.Contains(body.text, `"finish_reason":"stop"`) || !strings.Contains(body.text, `"chat.completion"`) {
		t.Errorf("a stream as a body: %s", body.text)
	}

	expect("no-store", askAs(t, g, "ann", plain, "Cache-Control", "no-store"), "bypass", 4)
	expect("no-cache", askAs(t, g, "ann", plain, "Cache-Control", "no-cache"), "miss", 5)
	stored(4)
	expect("max-age", askAs(t, g, "ann", plain, "Cache-Control", "max-age=60"), "hit", 5)
	warm := strings.Replace(plain, `"temperature":0`, `"temperature":1`, 1)
	expect("not deterministic", askAs(t, g, "ann", warm), "bypass", 6)
	expect("who takes gzip", askAs(t, g, "ann", fmt.Sprintf(cachedBody, "gzip", true), "Accept-Encoding", "gzip"), "miss", 7)
	stored(5)
	expect("who takes gzip again", askAs(t, g, "ann", fmt.Sprintf(cachedBody, "gzip", false), "Accept-Encoding", "gzip"), "hit", 7)
	if r := askAs(t, g, "ann", fmt.Sprintf(cachedBody, "new", false), "Cache-Control", "only-if-cached"); r.status != 504 || !strings.Contains(r.text, "not_cached") {
		t.Errorf("only-if-cached: %d %s", r.status, r.text)
	}
	expect("only-if-cached", askAs(t, g, "ann", plain, "Cache-Control", "only-if-cached"), "hit", 7)

	for name, want := range map[string]float64{`llmopt_cache_requests_total{route="direct",class="light",result="hit"}`: 7, `llmopt_cache_stored_total{route="direct"}`: 5} {
		g.eventually(name, func() bool { return g.metric(name) == want })
	}
	if g.metric("llmopt_cache_saved_usd_total") <= 0 {
		t.Error("nothing is saved")
	}
}

// Nothing is kept that is not whole, or not what the route keeps.
func TestE2E_CacheKeepsOnlyGoodAnswers(t *testing.T) {
	t.Parallel()
	for fault, streams := range map[string][]bool{
		"500": {false, true}, "429": {false, true}, "close-mid": {false, true}, "reset-mid": {false, true},
		"no-end": {true}, "error-event": {true}, "truncated-chunk": {true}, "error-body": {false},
	} {
		g, up, _ := cachedSim(t, cacheOn, "ttft=1ms,tokens=20,fault="+fault)
		for range 2 {
			for _, stream := range streams {
				before := calls(up)
				if r := askAs(t, g, "ann", fmt.Sprintf(cachedBody, "a", stream)); r.cache() == "hit" || calls(up) == before {
					t.Errorf("%s, stream %t: %q without a call", fault, stream, r.cache())
				}
			}
		}
		g.eventually("none stored of "+fault, func() bool { return g.metric("llmopt_cache_not_stored_total") == float64(2*len(streams)) })
		if n := g.metric("llmopt_cache_stored_total"); n != 0 {
			t.Errorf("%s: %v stored", fault, n)
		}
	}
}

// An answer on disk outlives the process.
func TestE2E_CacheOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + dir, "OPTIMIZER_STORAGE__MIN_FREE=0B"}
	g, up, file := cachedSim(t, cacheOn+"disk = \"128MiB\"\n", "ttft=1ms,tokens=20", environ...)
	body := fmt.Sprintf(cachedBody, "a", true)
	g.eventually("the disk is there", func() bool { return g.metric("llmopt_cache_disk_up") == 1 })
	first := askAs(t, g, "ann", body)
	want := int64(1)
	for try := 0; ; try++ {
		g.eventually("written", func() bool { return g.metric(`llmopt_cache_writes_total{tier="disk"}`) == 1 })
		g.stop()
		g = serveFile(t, file.path, up.url, environ...)
		g.eventually("found on disk", func() bool { return g.metric(`llmopt_cache_entries{tier="disk"}`) == 1 })
		second := askAs(t, g, "ann", body)
		if second.cache() == "miss" && try < 3 { // requests wait for the disk for 50 ms, which a machine that stands still may exceed
			first, want = second, want+1
			continue
		}
		if second.cache() != "hit" || second.text != first.text || calls(up) != want {
			t.Errorf("after a restart: %q, %d calls, %s", second.cache(), calls(up), second.text)
		}
		return
	}
}

// Where no target can serve, an old answer is better than none.
func TestE2E_CacheStandsIn(t *testing.T) {
	t.Parallel()
	g, up, _ := cachedSim(t, cacheOn+"ttl = \"1s\"\nstale_if_error = \"1h\"\n", "ttft=1ms,tokens=20")
	body := fmt.Sprintf(cachedBody, "a", false)
	first := askAs(t, g, "ann", body)
	g.eventually("stored", func() bool { return g.metric("llmopt_cache_stored_total") == 1 })
	<-time.After(1100 * time.Millisecond) // real sockets keep real time
	up.Close()
	r := askAs(t, g, "ann", body)
	if r.status != 200 || r.cache() != "stale" || r.text != first.text {
		t.Errorf("%d %q %s", r.status, r.cache(), r.text)
	}
	if r := askAs(t, g, "bob", body); r.status != 502 {
		t.Errorf("who has no old answer gets %d", r.status)
	}
}

// An operator finds the key of an answer in the access log: the same for all who share it, and none where nothing is kept.
func TestE2E_CacheKeyIsLogged(t *testing.T) {
	t.Parallel()
	g, _, _ := cachedSim(t, cacheOn, "ttft=1ms,tokens=20")
	key := func(caller, text string, headers ...string) string {
		t.Helper()
		r := askAs(t, g, caller, fmt.Sprintf(cachedBody, text, false), headers...)
		return g.lineOf(r.header.Get("x-llmopt-id")).CacheKey
	}
	first := key("ann", "a")
	if raw, err := hex.DecodeString(first); err != nil || len(raw) != 32 {
		t.Errorf("key %q: want 64 hexadecimal digits", first)
	}
	if again := key("ann", "a"); again != first {
		t.Errorf("the same request: %q, want %q", again, first)
	}
	if other := key("bob", "a"); other == first || len(other) != 64 {
		t.Errorf("another caller: %q", other)
	}
	if none := key("ann", "a", "Cache-Control", "no-store"); none != "" {
		t.Errorf("who wants nothing kept: %q", none)
	}
	off, _, _ := cachedSim(t, "", "ttft=1ms,tokens=20")
	r := askAs(t, off, "ann", fmt.Sprintf(cachedBody, "a", false))
	if line := off.lineOf(r.header.Get("x-llmopt-id")); line.CacheKey != "" {
		t.Errorf("without a cache: %q", line.CacheKey)
	}
}
