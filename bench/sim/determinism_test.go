package sim

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// everyCall is a request of every kind whose answer can be compared.
var everyCall = []struct{ method, path, body string }{
	{"POST", chatPath, plainChat},
	{"POST", chatPath, streamChat},
	{"POST", "/v1/completions", `{"model":"m","prompt":"hi"}`},
	{"POST", "/v1/completions", `{"model":"m","prompt":"hi","stream":true}`},
	{"POST", "/v1/responses", `{"model":"gpt-5","input":"hi","reasoning":{"effort":"low","summary":"auto"}}`},
	{"POST", "/v1/responses", `{"model":"gpt-5","input":"hi","stream":true}`},
	{"POST", "/v1/embeddings", `{"model":"m","input":["a","b"]}`},
	{"GET", "/v1/models", ""},
	{"POST", "/v1/moderations", `{"input":"a"}`},
	{"POST", "/v1/images/generations", `{"prompt":"a"}`},
	{"POST", "/v1/audio/speech", `{"model":"m","input":"a"}`},
	{"POST", "/v1/batches", `{"input_file_id":"f","endpoint":"/v1/x","completion_window":"24h"}`},
	{"POST", "/v1/messages", `{"model":"c","max_tokens":99,"messages":[{"role":"user","content":"hi"}]}`},
	{"POST", "/v1/messages", `{"model":"c","max_tokens":99,"stream":true,"messages":[{"role":"user","content":"hi"}]}`},
	{"POST", "/v1/messages/count_tokens", `{"model":"c","messages":[{"role":"user","content":"hi"}]}`},
	{"POST", "/v1beta/models/gemini-2.5-pro:generateContent", `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent", `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"POST", "/v1beta/models/e:embedContent", `{"content":{"parts":[{"text":"hi"}]}}`},
	{"POST", "/v1beta/models/e:batchEmbedContents", `{"requests":[{"content":{"parts":[{"text":"hi"}]}}]}`},
	{"POST", "/openai/deployments/gpt-4o/chat/completions?api-version=1", `{"messages":[{"role":"user","content":"hi"}]}`},
}

func TestAnswers_AreFunctionsOfTheRequest(t *testing.T) {
	t.Parallel()
	options := Options{Now: fixed, Directives: MustDirectives("ids=stable")}
	a, b := start(t, options), start(t, options)
	options.Seed = 1
	other := start(t, options)
	for _, call := range everyCall {
		ask := func(s *simulator) string {
			var headers []string
			if strings.Contains(call.path, "/messages") {
				headers = []string{"anthropic-version: 2023-06-01"}
			}
			raw, err := s.raw(call.method, call.path, call.body, headers...)
			if err != nil || !strings.HasPrefix(raw, "HTTP/1.1 200 OK\r\n") {
				t.Fatalf("%s: %.300q, %v", call.path, raw, err)
			}
			return raw
		}
		first := ask(a)
		if again := ask(a); again != first {
			t.Errorf("%s answers otherwise the second time:\n%.600s\n%.600s", call.path, first, again)
		}
		if twin := ask(b); twin != first {
			t.Errorf("%s answers otherwise on a second server", call.path)
		}
		if call.method == "POST" && !strings.Contains(call.path, "count_tokens") && ask(other) == first {
			t.Errorf("%s answers the same with another seed", call.path)
		}
	}
}

func TestAnswers_DoNotDependOnWhatAProxyMayEdit(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed, Directives: MustDirectives("ids=stable")})
	_, want := s.do("POST", chatPath, `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	_, got := s.do("POST", chatPath, `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`)
	var kept strings.Builder
	nulls, usage := 0, 0
	for event := range strings.SplitAfterSeq(got, "\n\n") {
		switch {
		case strings.Contains(event, `"choices":[],"usage":{`):
			usage++
		default:
			nulls += strings.Count(event, `,"usage":null`)
			kept.WriteString(strings.Replace(event, `,"usage":null`, "", 1))
		}
	}
	if kept.String() != want {
		t.Errorf("without its traces the answer with usage is %q, want %q", kept.String(), want)
	}
	if events := strings.Count(want, "data: {"); nulls != events || usage != 1 {
		t.Errorf("%d of %d events have a null usage, %d have one", nulls, events, usage)
	}
}

func TestAnswers_IDsAreUniqueUnlessOrdered(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	_, a := s.do("POST", chatPath, plainChat)
	_, b := s.do("POST", chatPath, plainChat)
	if a == b {
		t.Error("two answers have the same id")
	}
}

// Answers that change do so each time that they have stayed long enough, each prompt's at its own moment; those that don't are left alone.
func TestAnswers_ChangeWithTheTime(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64
	s := start(t, Options{Now: func() time.Time { return fixed().Add(time.Duration(passed.Load())) }, Directives: MustDirectives("ids=stable")})
	text := func(at time.Duration, body string, headers ...string) string {
		t.Helper()
		passed.Store(int64(at))
		_, answer := s.do("POST", chatPath, body, headers...)
		_, said, _ := strings.Cut(answer, `"message":`)
		return said
	}
	const other = `{"model":"m","messages":[{"role":"user","content":"and this?"}]}`
	const change = "x-sim: change=20s"
	moments := map[int]bool{}
	for _, body := range []string{plainChat, other} {
		seen, last := map[string]bool{}, ""
		for at := range 60 {
			if now := text(time.Duration(at)*time.Second, body, change); now != last {
				if at > 0 {
					moments[at%20] = true
				}
				if seen[now] {
					t.Errorf("after %d s it says again: %s", at, now)
				}
				seen[now], last = true, now
			}
		}
		if len(seen) != 4 {
			t.Errorf("in a minute it said %d things: %v", len(seen), seen)
		}
		if text(0, body) != text(time.Hour, body) {
			t.Error("it changes by itself")
		}
	}
	if len(moments) != 2 {
		t.Errorf("two prompts change at %v of twenty seconds, want a moment for each", moments)
	}
	for tokens := range 1000 { // the version that is told is the one of the answer
		now := fixed().Add(time.Duration(tokens) * time.Second)
		if Version(now.Add(20*time.Second), 20*time.Second, tokens) != Version(now, 20*time.Second, tokens)+1 {
			t.Fatalf("%d tokens: no next version after its time", tokens)
		}
	}
	if _, err := ParseDirectives("change=often"); err == nil {
		t.Error("took no duration")
	}
}
