package cache

import (
	"testing"

	"llm-auto-optimizer/proxy/provider"
)

func noHeader(string) []byte { return nil }

// chatQuestion is a question with that body.
func chatQuestion(body string) *Question {
	return &Question{
		Route: "fast", Dialect: provider.OpenAI, Operation: provider.ChatCompletions, Caller: []byte("12345678"),
		Model: []byte("gpt-4o"), Path: []byte("/v1/chat/completions"), Body: []byte(body), Peek: noHeader,
	}
}

func TestReader_SameQuestionSameKey(t *testing.T) {
	t.Parallel()
	const plain = `{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb é \u2028/"}],"temperature":0}`
	var r Reader
	want, v := r.Read(chatQuestion(plain))
	if v.Grade != Deterministic {
		t.Fatalf("verdict: got %v", v)
	}
	same := func(body string) {
		t.Helper()
		if got, _ := r.Read(chatQuestion(body)); got != want {
			t.Errorf("%s: another key", body)
		}
	}
	other := func(body string) {
		t.Helper()
		if got, v := r.Read(chatQuestion(body)); got == want || got == (Key{}) {
			t.Errorf("%s: the same key or none: %v", body, v)
		}
	}
	same(" { \"temperature\" : 0,\n\"messages\":[ {\"content\":\"a\\nb é \\u2028/\", \"role\":\"user\"}], \"model\":\"gpt-4o\"}\r\n")
	same(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\u000ab \u00e9 \u2028\/"}],"temperature":0}`)
	same(`{"mod\u0065l":"gpt-4o","messages":[{"rol\u0065":"\u0075ser","content":"a\nb é \u2028/"}],"temperature":0}`)
	same(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb é \u2028/"}],"temperature":0,"user":"u","metadata":{"a":"b"},"stream":true,` +
		`"stream_options":{"include_usage":true},"safety_identifier":"s","prompt_cache_key":"p","prompt_cache_retention":"24h"}`)
	other(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb é \u2028/"}],"temperature":0.0}`)
	other(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\\nb é \u2028/"}],"temperature":0}`)
	other(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb é \u2028/","user":"u"}],"temperature":0}`)
	other(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb é \u2028/"}],"temperature":0,"service_tier":"flex"}`)
	other(`{"model":"gpt-4o","messages":[{"role":"user","content":"a\nb é \u2028/"}],"temperature":0,"seed":1}`)
}

func TestReader_EveryPartCounts(t *testing.T) {
	t.Parallel()
	var r Reader
	const body = `{"temperature":0}`
	seen := map[Key]string{}
	check := func(name string, change func(q *Question)) {
		t.Helper()
		q := chatQuestion(body)
		change(q)
		key, v := r.Read(q)
		if key == (Key{}) {
			t.Errorf("%s: no key: %v", name, v)
		}
		if before, double := seen[key]; double {
			t.Errorf("%s: the key of %s", name, before)
		}
		seen[key] = name
	}
	check("plain", func(*Question) {})
	check("route", func(q *Question) { q.Route = "slow" })
	check("dialect", func(q *Question) { q.Dialect = provider.Gemini })
	check("operation", func(q *Question) { q.Operation = provider.Completions })
	check("caller", func(q *Question) { q.Caller = []byte("12345679") })
	check("shared", func(q *Question) { q.Shared = true })
	check("model", func(q *Question) { q.Model = []byte("gpt-4") })
	check("own key", func(q *Question) { q.Own = []byte("k") })
	check("model and own key", func(q *Question) { q.Model, q.Own = []byte("gpt-4"), []byte("o") })
	check("path", func(q *Question) { q.Path = []byte("/v2/chat/completions") })
	check("query", func(q *Question) { q.Query = []byte("api-version=1") })
	check("two parameters", func(q *Question) { q.Query = []byte("api-version=1&a=b") })
	for _, header := range keyHeaders {
		check(header, func(q *Question) {
			q.Peek = func(name string) []byte {
				if name == header {
					return []byte("x")
				}
				return nil
			}
		})
	}
}

func TestReader_WhatDoesNotCount(t *testing.T) {
	t.Parallel()
	var r Reader
	check := func(name string, a, b func(q *Question)) {
		t.Helper()
		p, q := chatQuestion(`{"temperature":0}`), chatQuestion(`{"temperature":0}`)
		a(p)
		b(q)
		first, _ := r.Read(p)
		second, _ := r.Read(q)
		if first != second || first == (Key{}) {
			t.Errorf("%s: %v and %v", name, first, second)
		}
	}
	gemini := func(path, query string) func(q *Question) {
		return func(q *Question) {
			q.Dialect, q.Operation, q.Path, q.Query = provider.Gemini, provider.GenerateContent, []byte(path), []byte(query)
			q.Body = []byte(`{"generationConfig":{"temperature":0}}`)
		}
	}
	check("shared leaves the caller out",
		func(q *Question) { q.Shared, q.Caller = true, []byte("x") }, func(q *Question) { q.Shared, q.Caller = true, nil })
	check("Gemini's stream is the same question",
		gemini("/v1beta/models/g:generateContent", "key=a"), gemini("/v1beta/models/g:streamGenerateContent", "alt=sse&key=b"))
	check("also with an encoded colon",
		gemini("/v1beta/models/g%3AgenerateContent", ""), gemini("/v1beta/models/g%3AstreamGenerateContent", "%24alt=sse"))
}

func TestReader_NoKey(t *testing.T) {
	t.Parallel()
	var r Reader
	check := func(want Grade, reason string, change func(q *Question)) {
		t.Helper()
		q := chatQuestion(`{"temperature":0}`)
		change(q)
		if key, v := r.Read(q); v.Grade != want || v.Reason != reason || key != (Key{}) {
			t.Errorf("%s: got %v, %v, want %v, %s", q.Body, key, v, want, reason)
		}
	}
	body := func(s string) func(q *Question) { return func(q *Question) { q.Body = []byte(s) } }
	check(Uncacheable, "caller", func(q *Question) { q.Caller = nil })
	check(Uncacheable, "operation", func(q *Question) { q.Operation = provider.CountTokens })
	check(Uncacheable, "alt", func(q *Question) { q.Query = []byte("alt=proto") })
	check(Uncacheable, "n", body(`{"temperature":0,"n":2}`))
	for _, bad := range []string{
		``, `[]`, `"a"`, `{`, `{}x`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{"a":01}`, `{"a":+1}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":tru}`, `{"a":NaN}`,
		"{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", `{"a":"\x"}`, `{"a":"\u12g4"}`, "\xEF\xBB\xBF{}", `{"a":1,"a":1}`, `{"a":1,"\u0061":2}`,
		`{"user":1,"user":2}`, `{"x":[{"a":{"b":1,"b":2}}]}`, `{"a":"`, `{"a":"\`, `{"a":[1 2]}`, `{'a':1}`, `{"a":1}{}`,
	} {
		check(Unreadable, "body", body(bad))
	}
}

func TestReader_ReadAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var r Reader
	q := chatQuestion(string(promptBody(4 << 10)))
	r.Read(q)
	if n := testing.AllocsPerRun(100, func() { r.Read(q) }); n != 0 {
		t.Errorf("allocations: got %v, want 0", n)
	}
}
