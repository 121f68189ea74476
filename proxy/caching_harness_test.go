package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
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

func (c *mapCache) Put(_ time.Time, key [32]byte, item *CacheItem) (taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[[32]byte]CacheItem{}
	}
	c.items[key] = *item
	return true
}

// cachingConfig keeps all answers.
func cachingConfig(upstream string) *config.Config {
	c := testConfig(upstream)
	c.Cache.CacheRules = config.CacheRules{Enabled: true, TTL: time.Hour, Store: "all", Coalesce: true, MaxEntry: 1 << 20}
	return c
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

// counted is a provider that counts its calls.
func counted(t *testing.T, serve http.HandlerFunc) (url string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		serve(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

// askCached sends a chat request and returns what the cache says of the answer.
func askCached(t *testing.T, addr, query, body string, headers ...string) (status int, result, text string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/chat/completions"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("x-llmopt-cache"), string(b)
}

func (c *mapCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.items)
}

// young tells whether any entry is younger than that.
func (c *mapCache) young(than time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, item := range c.items {
		var e cache.Entry
		if cache.Decode(&e, (*cache.Key)(&key), item.Value) != nil || e.Age(time.Now()) < than {
			return true
		}
	}
	return false
}

func (c *mapCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.items)
}
