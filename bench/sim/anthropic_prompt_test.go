package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

const mark = `"cache_control":{"type":"ephemeral"}`

// asker sends messages to a simulator and reads what their usage says of the cache.
type asker struct {
	t *testing.T
	s *simulator
}

// ask sends the members of a body besides model and max_tokens.
func (a *asker) ask(members string) (read, written int64) {
	a.t.Helper()
	resp, body := a.s.do("POST", "/v1/messages", `{"model":"claude-sonnet-4-5","max_tokens":9,`+members+`}`, "anthropic-version: 2023-06-01")
	if resp.StatusCode != 200 {
		a.t.Fatalf("%d %s", resp.StatusCode, body)
	}
	u := gjson.Get(body, "usage")
	return u.Get("cache_read_input_tokens").Int(), u.Get("cache_creation_input_tokens").Int()
}

// texts are n blocks of a message, the ones with these numbers marked.
func texts(n int, marked ...int) string {
	var list []string
	for i := range n {
		suffix := ""
		for _, m := range marked {
			if m == i {
				suffix = "," + mark
			}
		}
		list = append(list, fmt.Sprintf(`{"type":"text","text":"block %d %s"%s}`, i, strings.Repeat("word ", 1000), suffix))
	}
	return `"messages":[{"role":"user","content":[` + strings.Join(list, ",") + `]}]`
}

func TestPromptCache_IsSearchedTwentyBlocksBack(t *testing.T) {
	t.Parallel()
	a := &asker{t, start(t, Options{})}
	_, first := a.ask(texts(10, 9))
	if first == 0 {
		t.Fatal("nothing was written")
	}
	if read, _ := a.ask(texts(29, 28)); read != first {
		t.Errorf("nineteen blocks on: read %d, want %d", read, first)
	}
	b := &asker{t, start(t, Options{})}
	b.ask(texts(10, 9))
	if read, _ := b.ask(texts(30, 29)); read != 0 {
		t.Errorf("twenty blocks on: read %d, want 0", read)
	}
	if read, _ := b.ask(texts(50, 29, 49)); read == 0 {
		t.Error("a second mark begins a search of its own")
	}
}

func TestPromptCache_RunsOfCallsCountAsOneBlock(t *testing.T) {
	t.Parallel()
	a := &asker{t, start(t, Options{})}
	long := strings.Repeat("word ", 2000)
	turn := func(n int, marked string) string {
		var calls, results []string
		for i := range n {
			calls = append(calls, fmt.Sprintf(`{"type":"tool_use","id":"%d","name":"f","input":{}}`, i))
			results = append(results, fmt.Sprintf(`{"type":"tool_result","tool_use_id":"%d","content":"r"}`, i))
		}
		last := len(results) - 1
		results[last] = strings.TrimSuffix(results[last], "}") + marked + "}"
		return `,{"role":"assistant","content":[` + strings.Join(calls, ",") + `]},{"role":"user","content":[` + strings.Join(results, ",") + `]}`
	}
	first := `{"role":"user","content":[{"type":"text","text":"` + long + `"%s}]}`
	_, written := a.ask(`"messages":[` + fmt.Sprintf(first, ","+mark) + `]`)
	if read, _ := a.ask(`"messages":[` + fmt.Sprintf(first, "") + turn(40, ","+mark) + `]`); read != written || read == 0 {
		t.Errorf("read %d, want the %d written before", read, written)
	}
}

func TestPromptCache_ForgetsAndKeepsByLifetime(t *testing.T) {
	t.Parallel()
	now := fixed()
	a := &asker{t, start(t, Options{Now: func() time.Time { return now }})}
	a.ask(texts(1, 0))
	now = now.Add(4 * time.Minute)
	if read, _ := a.ask(texts(1, 0)); read == 0 {
		t.Error("within the lifetime: nothing read")
	}
	now = now.Add(4 * time.Minute)
	if read, _ := a.ask(texts(1, 0)); read == 0 {
		t.Error("reading has not prolonged the lifetime")
	}
	now = now.Add(6 * time.Minute)
	if read, written := a.ask(texts(1, 0)); read != 0 || written == 0 {
		t.Errorf("after the lifetime: read %d, written %d", read, written)
	}
}

func TestPromptCache_TakesAStringForItsBlock(t *testing.T) {
	t.Parallel()
	a := &asker{t, start(t, Options{})}
	long := strings.Repeat("be kind ", 1000)
	_, written := a.ask(`"system":[{"type":"text","text":"` + long + `",` + mark + `}],"messages":[{"role":"user","content":[{"type":"text","text":"one",` + mark + `}]}]`)
	read, _ := a.ask(`"system":"` + long + `","messages":[{"role":"user","content":"one"},{"role":"assistant","content":"yes"},` +
		`{"role":"user","content":[{"type":"text","text":"two",` + mark + `}]}]`)
	if read != written || read == 0 {
		t.Errorf("read %d, want the %d written before", read, written)
	}
}

func TestPromptCache_LeavesShortPrefixesOut(t *testing.T) {
	t.Parallel()
	a := &asker{t, start(t, Options{})}
	short := `"system":[{"type":"text","text":"short",` + mark + `}],`
	if read, written := a.ask(short + `"messages":[{"role":"user","content":"hi"}]`); read+written != 0 {
		t.Errorf("a short prompt: read %d, written %d", read, written)
	}
	a.ask(short + texts(1, 0))
	if read, _ := a.ask(short + `"messages":[{"role":"user","content":"else ` + strings.Repeat("word ", 1000) + `"}]`); read != 0 {
		t.Errorf("%d tokens of a prefix below the minimum were read", read)
	}
}

func TestPromptCache_RefusesMarksWhereTheyMayNotBe(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(members, holds string) {
		t.Helper()
		resp, got := s.do("POST", "/v1/messages", `{"model":"c","max_tokens":9,`+members+`}`, "anthropic-version: 2023-06-01")
		if resp.StatusCode != 400 || !strings.Contains(got, holds) {
			t.Errorf("%s: %d %s, want 400 with %q", members, resp.StatusCode, got, holds)
		}
	}
	content := func(blocks string) string { return `"messages":[{"role":"user","content":[` + blocks + `]}]` }
	text := `{"type":"text","text":"t",` + mark + `}`
	check(content(strings.TrimSuffix(strings.Repeat(text+",", 5), ",")), "A maximum of 4 blocks with cache_control may be provided. Found 5.")
	check(content(`{"type":"tool_result","tool_use_id":"a","content":[`+text+`],`+mark+`},`+text+`,`+text+`,`+text), "Found 5.")
	check(content(`{"type":"thinking","thinking":"t","signature":"s",`+mark+`}`), "messages.0.content.0.thinking.cache_control: Extra inputs are not permitted")
	check(content(`{"type":"text","text":"",`+mark+`}`), "cache_control cannot be set for empty text blocks")
	check(content(`{"type":"text","text":"t","cache_control":{"type":"lasting"}}`), "Input should be 'ephemeral'")
	check(content(`{"type":"text","text":"t","cache_control":{"type":"ephemeral","ttl":"2h"}}`), "'5m' or '1h'")
	check(content(text+`,{"type":"text","text":"t","cache_control":{"type":"ephemeral","ttl":"1h"}}`), "must not come after")
	check(`"tools":[{"name":"f","input_schema":{},"defer_loading":true,`+mark+`}],`+content(text), "tools.0.cache_control")
}

func TestPromptCache_MarksDoNotChangeTheAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	said := func(content string) string {
		t.Helper()
		_, got := s.do("POST", "/v1/messages", `{"model":"c","max_tokens":99,"messages":[{"role":"user","content":`+content+`}]}`, "anthropic-version: 2023-06-01")
		return gjson.Get(got, "content.0.text").Str
	}
	plain := said(`"hello"`)
	if marked := said(`[{"type":"text","text":"hello",` + mark + `}]`); marked != plain || plain == "" {
		t.Errorf("%q, marked %q", plain, marked)
	}
}
