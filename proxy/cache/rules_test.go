package cache

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/provider"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	check := func(op provider.Operation, body string, want Grade, reason string) {
		t.Helper()
		if v := Judge(op, []byte("m"), []byte(body)); v != (Verdict{want, reason}) {
			t.Errorf("%v %s: got %v, want %v %s", op, body, v, want, reason)
		}
	}
	const chat, text, responses = provider.ChatCompletions, provider.Completions, provider.Responses
	const messages, gemini = provider.Messages, provider.GenerateContent
	check(chat, `{"temperature":0}`, Deterministic, "")
	check(chat, `{"temperature":-0.0e5,"n":1,"store":false,"tools":[{"type":"function"},{"type":"custom"}],"modalities":["text"]}`, Deterministic, "")
	check(chat, `{"temperature":0.1}`, Variable, "temperature")
	check(chat, `{"temperature":"0"}`, Variable, "temperature")
	check(chat, `{}`, Variable, "temperature")
	check(chat, `{"temperature":0,"n":2}`, Uncacheable, "n")
	check(chat, `{"n":1.5}`, Uncacheable, "n")
	check(chat, `{"store":true,"temperature":0}`, Uncacheable, "store")
	check(chat, `{"web_search_options":{},"temperature":0}`, Variable, "web_search_options")
	check(chat, `{"temperature":0,"tools":[{"type":"web_search"}]}`, Variable, "tools")
	check(chat, `{"temperature":0,"modalities":["text","audio"]}`, Variable, "modalities")
	check(chat, `{"temperature":0,"audio":{"voice":"a"}}`, Variable, "audio")
	check(chat, `{"temperature":0,"audio":null,"n":null,"tools":null}`, Deterministic, "")
	check(text, `{"temperature":0,"best_of":3}`, Uncacheable, "best_of")
	check(responses, `{"temperature":0,"input":"hello"}`, Deterministic, "")
	check(responses, `{"temperature":0,"store":true}`, Uncacheable, "store")
	check(responses, `{"temperature":0,"background":true}`, Uncacheable, "background")
	check(responses, `{"temperature":0,"previous_response_id":"r"}`, Uncacheable, "previous_response_id")
	check(responses, `{"temperature":0,"conversation":{"id":"c"}}`, Uncacheable, "conversation")
	check(responses, `{"temperature":0,"input":[{"type":"item_reference","id":"x"}]}`, Uncacheable, "input")
	check(responses, `{"temperature":0,"tools":[{"type":"file_search"}]}`, Variable, "tools")
	check(responses, `{"temperature":0,"prompt":{"id":"p"}}`, Variable, "prompt")
	check(messages, `{"temperature":0,"tools":[{"name":"f"},{"type":"custom"},{"type":"bash_20250124"}],"mcp_servers":[]}`, Deterministic, "")
	check(messages, `{"temperature":0,"tools":[{"type":"web_search_20250305"}]}`, Variable, "tools")
	check(messages, `{"temperature":0,"container":"c"}`, Uncacheable, "container")
	check(messages, `{"temperature":0,"mcp_servers":[{}]}`, Variable, "mcp_servers")
	check(gemini, `{"generationConfig":{"temperature":0,"candidateCount":1}}`, Deterministic, "")
	check(gemini, `{"generation_config":{"temperature":0}}`, Deterministic, "")
	check(gemini, `{"temperature":0}`, Variable, "temperature")
	check(gemini, `{"generationConfig":{"temperature":0,"candidateCount":2}}`, Uncacheable, "candidateCount")
	check(gemini, `{"generationConfig":{"temperature":0,"responseModalities":["AUDIO"]}}`, Variable, "responseModalities")
	check(gemini, `{"generationConfig":{"temperature":0},"tools":[{"functionDeclarations":[]}]}`, Deterministic, "")
	check(gemini, `{"tools":[{"googleSearch":{}}],"generationConfig":{"temperature":0}}`, Variable, "tools")
	check(provider.Embeddings, `{"input":"a"}`, Deterministic, "")
	check(provider.EmbedContent, `{}`, Deterministic, "")
	check(provider.CountTokens, `{}`, Uncacheable, "operation")
	check(chat, `[]`, Unreadable, "body")
	if v := Judge(chat, []byte("sonar-pro"), []byte(`{"temperature":0}`)); v.Grade != Variable {
		t.Errorf("a model that searches: got %v", v)
	}
	for _, v := range []Verdict{{Grade: Deterministic}, {Grade: Variable}, {Grade: Uncacheable}, {Grade: Unreadable}} {
		if v.Storable(&Settings{}) != (v.Grade == Deterministic) || v.Storable(&Settings{Store: StoreAll}) != (v.Grade >= Variable) {
			t.Errorf("storable: wrong for %v", v)
		}
	}
}

func TestParseDirectives(t *testing.T) {
	t.Parallel()
	check := func(list string, want Directives) {
		t.Helper()
		if got := ParseDirectives([]byte(list)); got != want {
			t.Errorf("%q: got %+v, want %+v", list, got, want)
		}
	}
	check("", Directives{})
	check("no-cache", Directives{NoCache: true})
	check(" No-Store ,ONLY-IF-CACHED", Directives{NoStore: true, OnlyIfCached: true})
	check("max-age=60", Directives{HasMaxAge: true, MaxAge: time.Minute})
	check(`max-age="60", max-age=5`, Directives{HasMaxAge: true, MaxAge: 5 * time.Second})
	check("max-age=0", Directives{HasMaxAge: true})
	check("max-age=99999999999999999999999", Directives{HasMaxAge: true, MaxAge: maxSeconds * time.Second})
	check("max-age, max-age=, max-age=-1, max-age=1.5, max-age=x", Directives{})
	check(`x="no-store, no-cache", foo`, Directives{})
	check(`x="a\", no-store", no-cache`, Directives{NoCache: true})
}

func TestParseTTL(t *testing.T) {
	t.Parallel()
	check := func(s string, want time.Duration, ok bool) {
		t.Helper()
		if got, is := ParseTTL([]byte(s)); is != ok || ok && got != want {
			t.Errorf("%q: got %v, %v", s, got, is)
		}
	}
	check("90", 90*time.Second, true)
	check("2h", 2*time.Hour, true)
	check("0", 0, false)
	check("-1s", 0, false)
	check("soon", 0, false)
	check("", 0, false)
}

func TestStateAt(t *testing.T) {
	t.Parallel()
	created := time.Unix(1000, 0)
	s := Settings{TTL: time.Hour, WhileNew: time.Minute, OnError: 10 * time.Minute}
	check := func(after time.Duration, s Settings, d Directives, want State) {
		t.Helper()
		if got := StateAt(created, created.Add(time.Hour), created.Add(after), s.TTL, &s, &d); got != want {
			t.Errorf("after %v with %+v: got %v, want %v", after, d, got, want)
		}
	}
	check(0, s, Directives{}, Fresh)
	check(-time.Hour, s, Directives{}, Fresh)
	check(time.Hour-1, s, Directives{}, Fresh)
	check(time.Hour, s, Directives{}, Stale)
	check(time.Hour+time.Minute, s, Directives{}, OnError)
	check(time.Hour+10*time.Minute, s, Directives{}, Expired)
	check(time.Hour, Settings{TTL: time.Hour}, Directives{}, Expired)
	check(time.Minute, s, Directives{NoCache: true}, Expired)
	check(time.Minute, s, Directives{HasMaxAge: true, MaxAge: time.Minute}, Fresh)
	check(time.Minute+1, s, Directives{HasMaxAge: true, MaxAge: time.Minute}, Expired)
	check(30*time.Minute, Settings{TTL: time.Minute}, Directives{}, Expired) // shortened since
	check(0, Settings{}, Directives{}, Expired)
}

func TestJittered(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	sum, n := 0., 10000
	for range n {
		var key Key
		for i := range 8 {
			key[i] = byte(r.Uint32())
		}
		got := Jittered(&key, time.Hour)
		if got > time.Hour || got < 54*time.Minute || got != Jittered(&key, time.Hour) {
			t.Fatalf("key %v: got %v", key, got)
		}
		sum += got.Hours()
	}
	if mean := sum / float64(n); math.Abs(mean-.95) > .002 {
		t.Errorf("mean: got %v, want 0.95", mean)
	}
}

// TestEarlyRefresh compares the share of early refreshes with the formula: P[-delta beta ln U >= gap] = exp(-gap/(delta beta)).
func TestEarlyRefresh(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	now := time.Unix(1000, 0)
	for _, gap := range []time.Duration{0, time.Second, 3 * time.Second} {
		const n = 100000
		count := 0
		for range n {
			if EarlyRefresh(now, now.Add(gap), 2*time.Second, .5, 1-r.Float64()) {
				count++
			}
		}
		if got, want := float64(count)/n, math.Exp(-gap.Seconds()); math.Abs(got-want) > .01 {
			t.Errorf("gap %v: got %v, want %v", gap, got, want)
		}
	}
	for _, draw := range []float64{0, -1, 2, math.NaN(), math.Inf(1)} {
		if EarlyRefresh(now, now.Add(time.Hour), time.Second, 1, draw) {
			t.Errorf("draw %v refreshes an hour early", draw)
		}
	}
	if EarlyRefresh(now, now, time.Second, 0, 1) {
		t.Error("beta 0 refreshes")
	}
}

// A route's shortened time to live holds for what is stored already; what a request has set holds as far as the route allows it.
func TestEntry_ShortenedTTL(t *testing.T) {
	t.Parallel()
	created := time.Unix(1000, 0)
	s := Settings{TTL: time.Minute, TTLHeader: true, MaxTTL: 24 * time.Hour}
	for own, want := range map[bool]State{false: Expired, true: Fresh} {
		e := Entry{Dialect: provider.OpenAI, Operation: provider.ChatCompletions, Created: created, Expires: created.Add(time.Hour), OwnTTL: own}
		var decoded Entry
		if err := Decode(&decoded, nil, e.Append(nil)); err != nil || decoded.OwnTTL != own {
			t.Fatal(err, decoded.OwnTTL)
		}
		if got := decoded.State(created.Add(10*time.Minute), &s, &Directives{}); got != want {
			t.Errorf("own %t: %v, want %v", own, got, want)
		}
	}
}

func TestAppendHeaders(t *testing.T) {
	t.Parallel()
	head := map[string]string{"content-language": "a\r\nset-cookie: b"}
	for _, name := range []string{"set-cookie", "x-request-id", "x-ratelimit-remaining-requests", "request-id", "date", "openai-organization", "openai-version"} {
		head[name] = "v"
	}
	block := AppendHeaders(nil, func(name string) []byte {
		if value, ok := head[name]; ok {
			return []byte(value)
		}
		return nil
	})
	if string(block) != "openai-version: v\r\n" {
		t.Errorf("got %q", block)
	}
}
