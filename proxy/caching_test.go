package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// mapCache is a cache that forgets nothing.
type mapCache struct {
	mu    sync.Mutex
	items map[[32]byte]CacheItem
}

func (c *mapCache) Get(_ time.Time, key [32]byte) (value []byte, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	item, found := c.items[key]
	return item.Value, found
}

func (c *mapCache) Put(_ time.Time, key [32]byte, item *CacheItem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[[32]byte]CacheItem{}
	}
	c.items[key] = *item
}

// cachingConfig keeps all answers.
func cachingConfig(upstream string) *config.Config {
	c := testConfig(upstream)
	c.Cache.CacheRules = config.CacheRules{Enabled: true, TTL: time.Hour, Store: "all", MaxEntry: 1 << 20}
	return c
}

// cachedCases are requests whose answers can be kept: they state their usage.
func cachedCases() []benchCase {
	cases := benchCases()
	last := &cases[len(cases)-1]
	const usage = `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":200,"completion_tokens":10,"total_tokens":210}}`
	last.answer = strings.Replace(last.answer, chunk(chatDone), chunk("data: "+usage+"\n\n")+chunk(chatDone), 1)
	return cases
}

// cachedClient asks what is in the cache.
func cachedClient(tb testing.TB, bc benchCase) *benchClient {
	cache := &mapCache{}
	client := newBenchClientOf(tb, bc, cachingConfig(prepared(tb, []byte(bc.answer))), cache)
	client.exchange()
	for until := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) { // an answer is stored a moment after it has gone out
		cache.mu.Lock()
		n := len(cache.items)
		cache.mu.Unlock()
		if n == 1 {
			return client
		}
		if time.Now().After(until) {
			tb.Fatal("the answer is not stored")
		}
	}
}

// BenchmarkExchange_Hit takes exchanges that the cache answers. Compare with BenchmarkExchange, where a provider does.
func BenchmarkExchange_Hit(b *testing.B) {
	for _, bc := range cachedCases() {
		b.Run(bc.name, func(b *testing.B) {
			client := cachedClient(b, bc)
			b.ReportAllocs()
			for b.Loop() {
				client.exchange()
			}
		})
	}
}

// BenchmarkExchange_Miss looks an answer up in vain each time, asks the provider, and does not keep what it says.
func BenchmarkExchange_Miss(b *testing.B) {
	for _, bc := range cachedCases() {
		b.Run(bc.name, func(b *testing.B) {
			c := cachingConfig(prepared(b, []byte(bc.answer)))
			c.Cache.Finish = []string{"never"}
			client := newBenchClientOf(b, bc, c, &mapCache{})
			client.exchange()
			b.ReportAllocs()
			for b.Loop() {
				client.exchange()
			}
		})
	}
}

// A hit allocates what any exchange may, and a few small things for its headers.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestCache_HitAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	const most = maxAllocs + 2
	for _, bc := range cachedCases() {
		client := cachedClient(t, bc)
		for range 100 {
			client.exchange()
		}
		if got := testing.AllocsPerRun(300, client.exchange); got > most {
			t.Errorf("%s: %.1f allocations per hit, want at most %d", bc.name, got, most)
		}
	}
}

// Many at once, of many callers: nobody ever gets an answer that another caller's request brought.
func TestCache_NobodyGetsAnothersAnswer(t *testing.T) {
	t.Parallel()
	up := echoingChat(t)
	g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 60 {
				body := fmt.Sprintf(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"question %d"}],"stream":%t}`, i%10, i%2 == 0)
				want := fmt.Sprintf("caller-%d question %d", caller, i%10)
				if got := chatText(t, g.addr, fmt.Sprintf("caller-%d", caller), body); got != want {
					t.Errorf("caller %d got %q, want %q", caller, got, want)
				}
			}
		})
	}
	wg.Wait()
	if hits := g.p.books.book(directRoute).results[cacheHit].Load(); hits == 0 {
		t.Error("no hit at all")
	}
}

// echoingChat is a provider whose answers say who asked what.
func echoingChat(t *testing.T) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Stream   bool
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
			return
		}
		said, _ := json.Marshal(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + " " + q.Messages[0].Content) // a string has always a form in JSON
		const usage = `"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}`
		const head = `{"id":"chatcmpl-1","created":1700000000,"model":"gpt-4o-mini","object":`
		if !q.Stream {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, head+`"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],%s}`, said, usage)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: "+head+`"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":%s},"finish_reason":null}]}`+"\n\n", said)
		fmt.Fprint(w, "data: "+head+`"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n")
		fmt.Fprint(w, "data: "+head+`"chat.completion.chunk","choices":[],`+usage+"}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// chatText is the text of a chat answer, streamed or not.
func chatText(t *testing.T, addr, caller, body string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+caller)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	type part struct{ Content string }
	var text strings.Builder
	for line := range strings.Lines(string(b)) {
		var a struct {
			Choices []struct{ Message, Delta part }
		}
		line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
		if line == "" || line == "[DONE]" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Errorf("%v: %s", err, b)
		}
		for _, c := range a.Choices {
			text.WriteString(c.Message.Content + c.Delta.Content)
		}
	}
	return text.String()
}
