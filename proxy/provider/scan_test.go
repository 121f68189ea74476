package provider

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// facts is a Request in comparable form.
type facts struct {
	model, firstUser, serviceTier string
	maxOutput                     int64
	stream, includeUsage          bool
}

func factsOf(r *Request) facts {
	return facts{string(r.Model), string(r.FirstUser), string(r.ServiceTier), r.MaxOutput, r.Stream, r.IncludeUsage}
}

func TestScan(t *testing.T) {
	t.Parallel()
	check := func(op Operation, body string, want facts) {
		t.Helper()
		r := Scan(op, []byte("/v1/x"), []byte(body))
		if got := factsOf(&r); got != want || !r.Valid {
			t.Errorf("Scan(%v, %s):\n got %+v, valid %v\nwant %+v", op, body, got, r.Valid, want)
		}
	}
	// Every dialect's own fields.
	check(ChatCompletions, `{"model":"gpt-4o","messages":[{"role":"system","content":"s"},{"role":"user","content":"hi \"you\""}],`+
		`"stream":true,"stream_options":{"include_usage":true},"max_tokens":7,"service_tier":"flex"}`,
		facts{"gpt-4o", `"hi \"you\""`, "flex", 7, true, true})
	check(Completions, `{"model":"babbage-002","prompt":["a","b"],"max_tokens":3,"stream":false}`,
		facts{model: "babbage-002", firstUser: `["a","b"]`, maxOutput: 3})
	check(Responses, `{"model":"gpt-5","input":"hello","max_output_tokens":9,"stream":true,"service_tier":"priority"}`,
		facts{"gpt-5", `"hello"`, "priority", 9, true, false})
	check(Responses, `{"input":[{"type":"reasoning"},"x",{"role":"developer","content":"d"},{"content":[{"type":"input_text"}],"role":"user"}]}`,
		facts{firstUser: `[{"type":"input_text"}]`})
	check(Embeddings, `{"model":"text-embedding-3-small","input":"text","stream":true}`, facts{model: "text-embedding-3-small"})
	check(Messages, `{"model":"claude-opus-4-1","max_tokens":1024,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],`+
		`"stream":true,"service_tier":"standard_only"}`,
		facts{"claude-opus-4-1", `[{"type":"text","text":"x"}]`, "standard_only", 1024, true, false})
	check(CountTokens, `{"model":"claude-opus-4-1","messages":[]}`, facts{model: "claude-opus-4-1"})

	// Of two limits the newer field counts, wherever it stands.
	check(ChatCompletions, `{"max_completion_tokens":5,"max_tokens":7}`, facts{maxOutput: 5})
	check(ChatCompletions, `{"max_tokens":7,"max_completion_tokens":5}`, facts{maxOutput: 5})
	check(ChatCompletions, `{"max_tokens":7,"max_completion_tokens":null}`, facts{maxOutput: 7})
	check(Messages, `{"max_completion_tokens":5}`, facts{})
	// Numbers in any spelling.
	check(Messages, `{"max_tokens":1e3}`, facts{maxOutput: 1000})
	check(Messages, `{"max_tokens":12.0}`, facts{maxOutput: 12})
	check(Messages, `{"max_tokens":12.7}`, facts{maxOutput: 12})
	check(Messages, `{"max_tokens":-1}`, facts{})
	check(Messages, `{"max_tokens":"12"}`, facts{})
	check(Messages, `{"max_tokens":9223372036854775807}`, facts{maxOutput: math.MaxInt64})
	check(Messages, `{"max_tokens":99999999999999999999}`, facts{maxOutput: math.MaxInt64})
	check(Messages, `{"max_tokens":1e999}`, facts{maxOutput: math.MaxInt64})

	// Of keys that repeat the last counts, also when its value is of no use.
	check(ChatCompletions, `{"model":"a","stream":true,"model":"b","stream":false}`, facts{model: "b"})
	check(ChatCompletions, `{"model":"a","model":null}`, facts{})
	check(ChatCompletions, `{"stream_options":{"include_usage":true},"stream_options":{}}`, facts{})
	check(ChatCompletions, `{"messages":[{"role":"user","content":1}],"messages":[]}`, facts{})
	check(ChatCompletions, `{"messages":[{"role":"user","role":"system","content":1},{"content":2,"content":3,"role":"user"}]}`,
		facts{firstUser: "3"})

	// Escapes in keys and values.
	check(ChatCompletions, `{"mod\u0065l":"\u0067pt","\u0073tream":true}`, facts{model: "gpt", stream: true})
	check(ChatCompletions, `{"model":"openai\/gpt-4o"}`, facts{model: "openai/gpt-4o"})
	check(ChatCompletions, `{"model":"a\"\\b\ud83d\ude42"}`, facts{model: "a\"\\b🙂"})
	check(ChatCompletions, `{"messages":[{"r\u006fle":"us\u0065r","c\u006fntent":"x"}],"stream_options":{"include\u005fusage":true}}`,
		facts{firstUser: `"x"`, includeUsage: true})
	check(ChatCompletions, `{"model\\":"a","\\model":"b"}`, facts{})

	// Only the top level counts.
	check(ChatCompletions, `{"metadata":{"model":"a","stream":true},"tools":[{"model":"b"}],"note":"\"model\":\"c\""}`, facts{})
	check(ChatCompletions, `{"Model":"a","STREAM":true}`, facts{})

	// Wrong types count as absent.
	check(ChatCompletions, `{"model":5,"stream":"true","messages":{"role":"user"},"stream_options":[],"service_tier":{}}`, facts{})
	check(ChatCompletions, `{"messages":[{"role":["user"],"content":1},[{"role":"user"}],null]}`, facts{})
	check(Completions, `{"prompt":{"a":1}}`, facts{})
	check(Responses, `{"input":null}`, facts{})
	check(ChatCompletions, `{"messages":[{"role":"user"},{"role":"user","content":"second"}]}`, facts{})

	check(ChatCompletions, " \r\n\t{ \"model\" : \"m\" , \"messages\" : [ { \"role\" : \"user\" , \"content\" : [ ] } ] } \n",
		facts{model: "m", firstUser: "[ ]"})
	check(ChatCompletions, `{}`, facts{})
}

func TestScan_ReadsThePath(t *testing.T) {
	t.Parallel()
	check := func(op Operation, path, body string, want facts, valid bool) {
		t.Helper()
		r := Scan(op, []byte(path), []byte(body))
		if got := factsOf(&r); got != want || r.Valid != valid {
			t.Errorf("Scan(%v, %q, %s):\n got %+v, valid %v\nwant %+v, valid %v", op, path, body, got, r.Valid, want, valid)
		}
	}
	const body = `{"contents":[{"role":"model","parts":[1]},{"role":"user","parts":[{"text":"x"}]}],"model":"no","stream":true,` +
		`"generationConfig":{"temperature":1,"maxOutputTokens":64},"serviceTier":"flex"}`
	want := facts{"gemini-2.5-pro", `[{"text":"x"}]`, "flex", 64, false, false}
	check(GenerateContent, "/v1beta/models/gemini-2.5-pro:generateContent", body, want, true)
	check(CountTokens, "/v1beta/models/gemini-2.5-pro:countTokens", body, want, true)
	want.stream = true
	check(GenerateContent, "/v1beta/models/gemini-2.5-pro:streamGenerateContent", body, want, true)
	check(GenerateContent, "/v1beta/models/gemini-2.5-pro%3AstreamGenerateContent", body, want, true)
	check(GenerateContent, "/v1beta/models%2Fgemini-2.5-pro:streamGenerateContent", body, want, true)
	check(GenerateContent, "/v1/projects/p/locations/l/publishers/google/models/gemini-2%2e5-pro:streamGenerateContent", body, want, true)

	check(GenerateContent, "/models/m:generateContent", `{"contents":[{"parts":[7]}],"generation_config":{"max_output_tokens":3}}`,
		facts{model: "m", firstUser: "[7]", maxOutput: 3}, true)
	check(GenerateContent, "/models/m:generateContent", `{"generationConfig":{"maxOutputTokens":3},"generationConfig":null}`,
		facts{model: "m"}, true)
	check(GenerateContent, "/models/m%zz:generateContent", `{}`, facts{model: "m%zz"}, true)

	// What the path says holds without a body.
	check(GenerateContent, "/models/m:streamGenerateContent", "", facts{model: "m", stream: true}, false)
	check(EmbedContent, "/models/m:embedContent", "no json", facts{model: "m"}, false)

	// Azure names the model by its deployment.
	check(ChatCompletions, "/openai/deployments/my%20gpt/chat/completions", `{"stream":true}`, facts{model: "my gpt", stream: true}, true)
	check(ChatCompletions, "/openai/deployments/d/chat/completions", `{"model":"gpt-4o"}`, facts{model: "gpt-4o"}, true)
	check(Messages, "/openai/deployments/d/messages", `{}`, facts{}, true)

	check(Opaque, "/models/m:generateContent", `{"model":"m"}`, facts{}, false)
	check(operationsEnd, "/models/m:generateContent", `{"model":"m"}`, facts{}, false)
}

func TestScan_RefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", " ", "null", "[]", `"model"`, "{", `{"`, `{"model`, `{"model"`, `{"model":`, `{"model":"`, `{"model":"m`, `{"model":"m"`,
		`{"model":"m",`, `{"model":"m",}`, `{,"model":"m"}`, `{"model":"m" "stream":true}`, `{"model" "m"}`, `{model:"m"}`,
		`{"model":"m"}}`, `{"model":"m"} x`, `{"model":"m"}{}`, `{"model":}`, `{"stream":,}`, `{"messages":[}`, `{"messages":[{]}`,
		`{"messages":[{"role":"user"},]}`, `{"messages":[{"role":"user"}`, `{"messages":[{"role":"user","content":"x"}`,
		`{"messages":[{"role":"user"}{}]}`, `{"stream_options":{"include_usage"}}`, `{"stream_options":{"include_usage":true}`,
		`{"a":"\"}`, `{"a\":1}`, "\xef\xbb\xbf{}",
	} {
		for op := ChatCompletions; op < operationsEnd; op++ {
			r := Scan(op, nil, []byte(body))
			if got := factsOf(&r); r.Valid && !strings.Contains(body, "stream_options") && !strings.Contains(body, "messages") ||
				!r.Valid && got != (facts{}) {
				t.Errorf("Scan(%v, %q): got %+v, valid %v", op, body, got, r.Valid)
			}
		}
		if r := Scan(ChatCompletions, nil, []byte(body)); r.Valid {
			t.Errorf("Scan(chat, %q): valid", body)
		}
	}
}

// Every cut of a body is no object, and reading it stays within bounds.
func TestScan_RefusesEveryCut(t *testing.T) {
	t.Parallel()
	for op := ChatCompletions; op < operationsEnd; op++ {
		for _, mix := range []string{"prose", "escapes", "tools"} {
			body := requestOf(op, mix, 600, rand.New(rand.NewPCG(3, 4)))
			for n := range body {
				if r := Scan(op, nil, body[:n:n]); r.Valid {
					t.Fatalf("%v, %s, cut to %d of %d bytes: valid", op, mix, n, len(body))
				}
			}
		}
	}
}

func TestScan_AllocatesNothing(t *testing.T) {
	for op := Opaque; op < operationsEnd; op++ {
		body := requestOf(op, "tools", 4096, rand.New(rand.NewPCG(5, 6)))
		path := []byte("/v1beta/models/gemini-2.5-pro:streamGenerateContent")
		if n := testing.AllocsPerRun(100, func() { Scan(op, path, body) }); n != 0 {
			t.Errorf("%v: %v allocations", op, n)
		}
	}
}

// reference reads body with encoding/json; ok is false if it is no JSON object.
func reference(op Operation, body []byte) (want facts, ok bool) {
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil || doc == nil {
		return facts{}, false
	}
	object := func(raw json.RawMessage) (m map[string]json.RawMessage) {
		_ = json.Unmarshal(raw, &m)
		return m
	}
	str := func(raw json.RawMessage) (s string) {
		_ = json.Unmarshal(raw, &s)
		return s
	}
	number := func(raw json.RawMessage) int64 {
		n := strings.TrimSuffix(strings.TrimRight(string(raw), "0"), ".")
		if !strings.Contains(string(raw), ".") || strings.ContainsAny(n, ".eE") {
			n = string(raw)
		}
		if i, err := strconv.ParseInt(n, 10, 64); err == nil {
			return max(i, 0)
		}
		if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
			return 0
		}
		switch f, _ := strconv.ParseFloat(string(raw), 64); {
		case f >= math.MaxInt64:
			return math.MaxInt64
		case f >= 1:
			return int64(f)
		}
		return 0
	}
	firstUser := func(raw json.RawMessage, content, implied string) string {
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list)
		for _, m := range list {
			m := object(m)
			role, found := m["role"]
			if m != nil && (str(role) == "user" || !found && implied == "user") {
				return string(m[content])
			}
		}
		return ""
	}
	want.model, want.serviceTier = str(doc["model"]), str(doc["service_tier"])
	want.stream = string(doc["stream"]) == "true"
	switch op {
	case ChatCompletions:
		want.maxOutput = number(doc["max_completion_tokens"])
		if want.maxOutput == 0 {
			want.maxOutput = number(doc["max_tokens"])
		}
		want.includeUsage = string(object(doc["stream_options"])["include_usage"]) == "true"
		want.firstUser = firstUser(doc["messages"], "content", "")
	case Responses:
		want.maxOutput = number(doc["max_output_tokens"])
		if input := doc["input"]; len(input) > 0 && input[0] == '"' {
			want.firstUser = string(input)
		} else {
			want.firstUser = firstUser(input, "content", "")
		}
	case GenerateContent: // the fuzzer's bodies use one spelling of each key
		want.model, want.stream = "", false
		want.maxOutput = number(object(doc["generationConfig"])["maxOutputTokens"])
		want.serviceTier = str(doc["serviceTier"])
		want.firstUser = firstUser(doc["contents"], "parts", "user")
	}
	return want, true
}

func seeds(f *testing.F) {
	f.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	for _, mix := range []string{"prose", "escapes", "unicode", "tools"} {
		for _, op := range []Operation{ChatCompletions, Responses, GenerateContent} {
			f.Add(requestOf(op, mix, 300, rng))
		}
	}
	for _, body := range []string{
		`{}`, ` { } `, `{"model":"a","model":"b"}`, `{"mod\u0065l":"x"}`, `{"stream_options":null,"model":null}`,
		`{"stream_options":{"x":{"include_usage":true},"include_usage":false},"stream":true}`,
		`{"stream_options":{},"stream_options":{"include_usage":null}}`, `{"stream_options":{"include\u005fusage":true}}`,
		`{"stream_options":[],"max_tokens":1e2,"max_completion_tokens":0}`, `{"max_output_tokens":1.50,"input":"\"\\"}`,
		`{"messages":[1,{"role":"user","content":{"a":[]}}],"model":"\ud83d\ude42\ud83d"}`,
		`{"contents":[{"role":null},{"parts":[{}]}],"generationConfig":{"maxOutputTokens":5},"serviceTier":"flex"}`,
	} {
		f.Add([]byte(body))
	}
}

// Scan reads of any valid object what encoding/json reads of it.
func FuzzScan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range []Operation{ChatCompletions, Responses, GenerateContent} {
			if op == GenerateContent && (bytes.Contains(body, []byte("_")) || bytes.Contains(body, []byte(`\`))) {
				continue // the reference knows camelCase only
			}
			r := Scan(op, nil, body)
			want, ok := reference(op, body)
			if !ok || !utf8.Valid(body) { // encoding/json replaces invalid UTF-8, Scan keeps it
				continue
			}
			if got := factsOf(&r); got != want || !r.Valid {
				t.Errorf("%v of %q:\n got %+v, valid %v\nwant %+v", op, body, got, r.Valid, want)
			}
		}
	})
}

// Whatever the body is cut at, the members before the cut are read, and nothing is made up.
func TestScanPrefix(t *testing.T) {
	t.Parallel()
	body := []byte(`{"stream":true,"model":"gpt-4o","max_tokens":7,"messages":[{"role":"user","content":"hello"}],"service_tier":"flex"}`)
	model := bytes.Index(body, []byte(`"gpt-4o"`)) + len(`"gpt-4o"`)
	for n := range len(body) {
		r := ScanPrefix(ChatCompletions, nil, body[:n:n])
		if want := n >= model; string(r.Model) != map[bool]string{true: "gpt-4o"}[want] || r.Valid != want {
			t.Errorf("cut at %d: model %q, valid %t", n, r.Model, r.Valid)
		}
		if r.Valid {
			edited := Rewrite(nil, body[:n:n], &r, Edits{Model: "other"})
			if want := bytes.Replace(body[:n:n], []byte("gpt-4o"), []byte("other"), 1); !bytes.Equal(edited, want) {
				t.Errorf("cut at %d: edited to %s", n, edited)
			}
		}
	}
	if r := ScanPrefix(GenerateContent, []byte("/v1beta/models/gemini:streamGenerateContent"), []byte(`{"contents":[`)); string(r.Model) != "gemini" || !r.Stream {
		t.Errorf("model in the path: %+v", r)
	}
}

func FuzzScanPrefix(f *testing.F) {
	f.Add([]byte(`{"model":"a","stream":true,"messages":[`))
	f.Add([]byte(`{"model":"a\\u0062","stream_options":{"include_usage":true},"x":`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		for op := range operationsEnd {
			r := ScanPrefix(op, nil, body)
			_ = Rewrite(nil, body, &r, Edits{Model: "m"})
		}
	})
}
