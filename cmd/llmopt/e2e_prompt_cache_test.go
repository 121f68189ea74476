package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"

	"llm-auto-optimizer/bench/sim"
)

// A system prompt of about 2,000 tokens, and a message of 500.
var (
	longSystem = strings.Repeat("be kind ", 1000)
	longTurn   = strings.Repeat("go on ", 333)
)

// marking is a server with a route that marks prompts, before a simulator whose clock the test moves.
type marking struct {
	*served
	up    *simulated
	file  *settingsFile
	ahead atomic.Int64 // nanoseconds
	sim   string       // x-sim header of requests
}

func markingSettings(more string) string {
	return "[[routes]]\nname = \"agents\"\nmatch = { model = [\"claude-*\"] }\n" + more + "\n[[routes.targets]]\nname = \"one\"\nprovider = \"anthropic\"\n"
}

func newMarking(t *testing.T, settings string) *marking {
	t.Helper()
	m := &marking{}
	m.up = simulate(t, sim.Options{
		Directives: sim.MustDirectives("tokens=20"),
		Now:        func() time.Time { return fixedTime().Add(time.Duration(m.ahead.Load())) },
	})
	m.file = newSettingsFile(t, markingSettings(settings))
	m.served = serveFile(t, m.file.path, m.up.url)
	return m
}

// turn is one message of a conversation.
type turn struct {
	Role    string `json:"role"`
	Content any    `json:"content"`
}

// promptReply is what came of a request for messages.
type promptReply struct {
	status               int
	read, written, input int64
	cost                 int64 // NanoUSD
	id, text, body       string
}

// ask sends a body for messages in a session.
func (m *marking) ask(session, body string) (r promptReply) {
	m.t.Helper()
	req, err := http.NewRequest(http.MethodPost, m.url+"/anthropic/v1/messages", strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header = http.Header{"X-Api-Key": {"k"}, "Anthropic-Version": {"2023-06-01"}, "X-Llmopt-Session": {session}}
	if m.sim != "" {
		req.Header.Set("X-Sim", m.sim)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	var said struct {
		Content []struct{ Text string }
		Usage   struct {
			Read    int64 `json:"cache_read_input_tokens"`
			Written int64 `json:"cache_creation_input_tokens"`
			Input   int64 `json:"input_tokens"`
		}
	}
	_ = json.Unmarshal(text, &said)
	usd, _ := strconv.ParseFloat(resp.Header.Get("x-llmopt-cost-usd"), 64)
	r = promptReply{status: resp.StatusCode, read: said.Usage.Read, written: said.Usage.Written, input: said.Usage.Input, cost: int64(math.Round(usd * 1e9)),
		id: resp.Header.Get("x-llmopt-id"), body: string(text)}
	if len(said.Content) > 0 {
		r.text = said.Content[0].Text
	}
	return r
}

// say asks for the next turn of a conversation.
func (m *marking) say(session string, turns []turn) ([]turn, promptReply) {
	m.t.Helper()
	turns = append(turns, turn{"user", fmt.Sprintf("%s %s %d", longTurn, session, len(turns))})
	messages, err := json.Marshal(turns)
	if err != nil {
		m.t.Fatal(err)
	}
	r := m.ask(session, fmt.Sprintf(`{"model":"claude-sonnet-4-5","max_tokens":100,"system":%q,"messages":%s}`, longSystem, messages))
	if r.status != 200 || r.cost == 0 {
		m.t.Fatalf("%d %s", r.status, r.body)
	}
	return append(turns, turn{"assistant", r.text}), r
}

// session finds one that is marked, or one that is not. The prompt cache is empty afterwards.
func (m *marking) session(marked bool) string {
	m.t.Helper()
	for i := range 2000 {
		name := fmt.Sprintf("session %d", i)
		if body := m.got(name, plainPrompt); (body != plainPrompt) == marked {
			return name
		}
	}
	m.t.Fatal("no such session")
	return ""
}

// plainPrompt is one that is long enough to be marked.
var plainPrompt = fmt.Sprintf(`{ "model":"claude-sonnet-4-5", "max_tokens":1.0e2,"system":%q,"messages":[{"role":"user","content":"h\u00e9"}],"new":[] }`, longSystem)

// got is the body that reaches the provider.
func (m *marking) got(session, body string) string {
	m.t.Helper()
	m.sim = "echo=true"
	defer func() { m.sim = "" }()
	var e sim.Echo
	if err := json.Unmarshal([]byte(m.ask(session, body).body), &e); err != nil {
		m.t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(e.BodyBase64)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// breakpoints is what the access log says of an exchange; -1: nothing.
func (m *marking) breakpoints(id string) int {
	m.t.Helper()
	m.lineOf(id)
	for _, line := range m.stdout.lines()[1:] {
		l := struct {
			ID          string
			Breakpoints *int
		}{}
		if json.Unmarshal([]byte(line), &l) == nil && l.ID == id && l.Breakpoints != nil {
			return *l.Breakpoints
		}
	}
	return -1
}

func TestE2E_PromptCacheMakesConversationsCheaper(t *testing.T) {
	t.Parallel()
	m := newMarking(t, `prompt_cache = "5m"`)
	marked, control := m.session(true), m.session(false)
	var turns, plain []turn
	var cost, plainCost, known, tokens int64
	for i := range 4 {
		var r, c promptReply
		plain, c = m.say(control, plain)
		if c.read+c.written != 0 || m.breakpoints(c.id) != 0 {
			t.Errorf("control, turn %d: read %d, written %d, %d breakpoints", i+1, c.read, c.written, m.breakpoints(c.id))
		}
		turns, r = m.say(marked, turns)
		// What has been written is read by the next turn, whole, and what is new is written.
		if r.read != known || r.written == 0 || i > 0 && r.input > 100 {
			t.Errorf("turn %d: read %d of %d, written %d, input %d", i+1, r.read, known, r.written, r.input)
		}
		if i > 0 && r.cost*3 > c.cost*2 {
			t.Errorf("turn %d: cost %d, unmarked %d", i+1, r.cost, c.cost)
		}
		known = r.read + r.written
		if want := min(1+2*i, 3); m.breakpoints(r.id) != want {
			t.Errorf("turn %d: %d breakpoints, want %d", i+1, m.breakpoints(r.id), want)
		}
		cost, plainCost, tokens = cost+r.cost, plainCost+c.cost, tokens+r.read
	}
	if cost*3 > plainCost*2 {
		t.Errorf("cost %d, unmarked %d", cost, plainCost)
	}
	t.Logf("four turns: $%.6f, unmarked $%.6f", float64(cost)/1e9, float64(plainCost)/1e9)

	const series = `llmopt_prompt_cache_%s{route="agents",arm="%s"%s}`
	counted := func(name, arm, more string) float64 { return m.metric(fmt.Sprintf(series, name, arm, more)) }
	m.eventually("all is counted", func() bool {
		return counted("requests_total", "marked", "") == 4 && counted("requests_total", "control", "") == 4
	})
	if got := counted("tokens_total", "marked", `,type="read"`); got != float64(tokens) {
		t.Errorf("%.0f tokens read, want %d", got, tokens)
	}
	if got := counted("tokens_total", "control", `,type="read"`) + counted("tokens_total", "control", `,type="write"`); got != 0 {
		t.Errorf("control: %.0f tokens cached", got)
	}
	// Both had the same conversation but for the session's name in it, so the saving is the difference of the costs.
	if got, want := counted("saved_usd", "marked", ""), float64(plainCost-cost)/1e9; math.Abs(got-want) > want/20 || counted("saved_usd", "control", "") != 0 {
		t.Errorf("saved %v, want about %v; control %v", got, want, counted("saved_usd", "control", ""))
	}

	m.ahead.Add(int64(6 * time.Minute))
	if _, r := m.say(marked, turns); r.read != 0 || r.written < known {
		t.Errorf("after six minutes: read %d, written %d", r.read, r.written)
	}
}

func TestE2E_PromptCacheForAnHour(t *testing.T) {
	t.Parallel()
	m := newMarking(t, `prompt_cache = "1h"`)
	session := m.session(true)
	turns, first := m.say(session, nil)
	m.ahead.Add(int64(50 * time.Minute))
	if _, r := m.say(session, turns); r.read != first.written || r.read == 0 {
		t.Errorf("read %d, want %d", r.read, first.written)
	}
}

func TestE2E_PromptCacheChangesNoOtherByte(t *testing.T) {
	t.Parallel()
	m := newMarking(t, `prompt_cache = "5m"`)
	session := m.session(true)
	const mark = `,"cache_control":{"type":"ephemeral"}}`
	system := fmt.Sprintf("%q", longSystem)
	if got, want := m.got(session, plainPrompt), strings.Replace(plainPrompt, system, `[{"type":"text","text":`+system+mark+"]", 1); got != want {
		t.Errorf("marked: %.200s…, want %.200s…", got, want)
	}
	for what, body := range map[string]string{
		"a layout of its own": strings.Replace(plainPrompt, `"h\u00e9"`, `[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]`, 1),
		"automatic caching":   strings.Replace(plainPrompt, "{", `{"cache_control":{"type":"ephemeral"},`, 1),
		"a short prompt":      `{"model":"claude-sonnet-4-5","max_tokens":9,"system":"be kind","messages":[{"role":"user","content":"hi"}]}`,
		"too short a prompt":  strings.Replace(plainPrompt, "sonnet", "haiku", 1),
		"no JSON":             plainPrompt[:len(plainPrompt)-1],
	} {
		if got := m.got(session, body); got != body {
			t.Errorf("%s: %.300s", what, got)
		}
	}
	off := plainPrompt
	m.file.replace(markingSettings(""))
	m.eventually("switched off", func() bool { return m.got(session, off) == off })
	m.file.replace(markingSettings(`prompt_cache = "1h"`))
	m.eventually("switched on", func() bool { return strings.Contains(m.got(session, off), `"ttl":"1h"`) })
}

// What an agent does in one turn may be more than the provider looks back over.
func TestE2E_PromptCacheReachesOverLongTurns(t *testing.T) {
	t.Parallel()
	m := newMarking(t, `prompt_cache = "5m"`)
	session := m.session(true)
	turns := []turn{{"user", longTurn}}
	var known int64
	for i := range 3 {
		messages, _ := json.Marshal(turns)
		r := m.ask(session, fmt.Sprintf(`{"model":"claude-sonnet-4-5","max_tokens":100,"system":%q,"tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":%s}`, longSystem, messages))
		if r.status != 200 || r.read != known || r.written == 0 {
			t.Errorf("turn %d: %d, read %d, want %d, written %d", i+1, r.status, r.read, known, r.written)
		}
		known = r.read + r.written
		var said, done []any
		for k := range 15 {
			id := fmt.Sprintf("call-%d-%d", i, k)
			said = append(said, map[string]any{"type": "text", "text": "next"}, map[string]any{"type": "tool_use", "id": id, "name": "f", "input": map[string]any{}})
			done = append(done, map[string]any{"type": "tool_result", "tool_use_id": id, "content": "done"})
		}
		turns = append(turns, turn{"assistant", said}, turn{"user", done})
	}
}

func TestE2E_PromptCacheGoesOnWithoutMarksThatAreRefused(t *testing.T) {
	t.Parallel()
	m := newMarking(t, `prompt_cache = "5m"`)
	session := m.session(true)
	m.up.Reset()
	m.sim = "fault=no-cache-control"
	for i := range 5 {
		before := calls(m.up)
		if _, r := m.say(session, nil); r.read+r.written != 0 {
			t.Errorf("read %d, written %d", r.read, r.written)
		}
		want := int64(2)
		if i >= 3 { // it is not asked any more
			want = 1
		}
		if n := calls(m.up) - before; n != want {
			t.Errorf("request %d: %d calls, want %d", i+1, n, want)
		}
	}
	if n := m.metric("llmopt_prompt_cache_refused_total"); n != 3 {
		t.Errorf("%.0f refused, want 3", n)
	}
	m.eventually("the log's line", func() bool { return strings.Contains(m.stderr.String(), "target refuses cache_control") })
}

// The official SDK, over streams.
func TestE2E_PromptCacheWithTheSDK(t *testing.T) {
	t.Parallel()
	m := newMarking(t, `prompt_cache = "5m"`)
	c := newClients(t, m.url+"/openai", m.url+"/anthropic", m.url+"/gemini")
	params := messageWith("claude-sonnet-4-5", longTurn)
	params.System = []anthropic.TextBlockParam{{Text: longSystem}}
	var known, marked int64
	for i := range 3 {
		answer, ok := c.accumulated(params).(anthropic.Message)
		if !ok || len(answer.Content) == 0 {
			t.Fatalf("turn %d: %s", i+1, show(answer))
		}
		if answer.Usage.CacheReadInputTokens != known {
			t.Errorf("turn %d: read %d, want %d", i+1, answer.Usage.CacheReadInputTokens, known)
		}
		known = answer.Usage.CacheReadInputTokens + answer.Usage.CacheCreationInputTokens
		marked += known
		params.Messages = append(params.Messages, answer.ToParam(), anthropic.NewUserMessage(anthropic.NewTextBlock(longTurn)))
	}
	m.eventually("all is counted", func() bool { return m.metric("llmopt_prompt_cache_requests_total") == 3 })
	if control := m.metric(`llmopt_prompt_cache_requests_total{route="agents",arm="control"}`); (marked == 0) != (control == 3) {
		t.Errorf("%d tokens cached, %.0f of 3 requests in the control", marked, control)
	}
}
