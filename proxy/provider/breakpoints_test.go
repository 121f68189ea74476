package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// marked is a body with its breakpoints, written «here» where a test says what it expects.
func marked(body string, minimum int64, hour bool) string {
	r := Scan(Messages, nil, []byte(body))
	b := FindBreakpoints([]byte(body), minimum, hour)
	return string(Rewrite(nil, []byte(body), &r, Edits{Breakpoints: b}))
}

var breakpointSpelling = strings.NewReplacer(`«`, `[{"type":"text","text":`, `»`, `,"cache_control":{"type":"ephemeral"}}]`, `¦`, `,"cache_control":{"type":"ephemeral"}`)

func TestFindBreakpoints_WhereTheyStand(t *testing.T) {
	t.Parallel()
	check := func(what, want string) {
		t.Helper()
		body := strings.NewReplacer("«", "", "»", "", "¦", "").Replace(want)
		if got := marked(body, 0, false); got != breakpointSpelling.Replace(want) {
			t.Errorf("%s:\ngot  %s\nwant %s", what, got, breakpointSpelling.Replace(want))
		}
	}
	check("one turn: the system prompt alone", `{"model":"m","system":«"be kind"»,"messages":[{"role":"user","content":"hi"}]}`)
	check("a list as system prompt", `{"system":[{"type":"text","text":"a"},{"text":"b","type":"text" ¦}],"messages":[{"role":"user","content":"hi"}]}`)
	check("a second turn: what the first ended with, and the end",
		`{"messages":[{"role":"user","content":«"a"»},{"role":"assistant","content":"b"},{"role":"user","content":«"c"»}],"system":«"s"»}`)
	check("a third turn", `{"messages":[{"content":"a","role":"user"},{"role":"assistant","content":"b"},{"role":"user","content":«"c"»},`+
		`{"role":"assistant","content":"d"},{"role":"user","content":[{"type":"text","text":"e"},{"type":"image","source":{"data":"x"}¦}]}]}`)
	check("tools: the conversation is likely to go on",
		`{"tools":[{"name":"f"},{"name":"g","input_schema":{"type":"object"}¦}],"messages":[{"role":"user","content":«"a"»}],"system":«"s"»}`)
	check("results of tools", `{"tools":[{"name":"f"¦}],"messages":[{"role":"user","content":«"a"»},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},`+
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]¦}]}]}`)
	check("user messages in a row", `{"messages":[{"role":"user","content":"a"},{"role":"user","content":«"b"»},{"role":"assistant","content":"c"},`+
		`{"role":"user","content":"d"},{"role":"user","content":«"e"»}]}`)
	check("the begin of an answer that is given", `{"messages":[{"role":"user","content":«"a"»},{"role":"assistant","content":"b"},{"role":"user","content":«"c"»},{"role":"assistant","content":"{"}]}`)
	check("an order of the operator in between", `{"messages":[{"role":"user","content":«"a"»},{"role":"assistant","content":"b"},{"role":"user","content":«"c"»},{"role":"system","content":"be brief"}]}`)
	check("what may not be marked", `{"tools":[{"name":"f"¦},{"name":"g","defer_loading":true},{}],"system":[{"type":"text","text":"s"¦},{"type":"text","text":""},{"type":"new"}],`+
		`"messages":[{"role":"user","content":[{"type":"text","text":"a"¦},{"type":"thinking","thinking":"t"},{"type":"text","text":""}]}]}`)
	check("nothing to mark in the last message", `{"messages":[{"role":"user","content":«"a"»},{"role":"assistant","content":"b"},{"role":"user","content":""}]}`)
	check("escapes", `{"sys\u0074em":«"\u0073"»,"messages":[{"ro\u006ce":"us\u0065r","content":"a"}]}`)
	check("white space", " {\n\t\"system\" :\r«\"s\"» , \"messages\" : [ { \"role\" : \"user\" , \"content\" : \"a\" } ] } ")
	check("cache_control in a text", `{"system":«"say \"cache_control\" twice"»,"messages":[{"role":"user","content":"hi"}]}`)
	check("no tools after all", `{"tools":[],"system":«"s"»,"messages":[{"role":"user","content":"a"}]}`)
}

func TestFindBreakpoints_LeavesAlone(t *testing.T) {
	t.Parallel()
	for what, body := range map[string]string{
		"a layout of its own":        `{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"a"}]}`,
		"one that is spelled oddly":  `{"system":[{"type":"text","text":"s","cache\u005fcontrol":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"a"}]}`,
		"automatic caching":          `{"cache_control":{"type":"ephemeral"},"system":"s","messages":[{"role":"user","content":"a"}]}`,
		"oddly spelled":              `{"c\u0061che_control":{"type":"ephemeral"},"system":"s","messages":[{"role":"user","content":"a"}]}`,
		"inside a tool's result":     `{"system":"s","messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"r","cache_control":{}}]}]}]}`,
		"a member that repeats":      `{"system":"s","system":"t","messages":[{"role":"user","content":"a"}]}`,
		"messages that are none":     `{"system":"s","messages":"a"}`,
		"a message that is none":     `{"system":"s","messages":["a"]}`,
		"content that is none":       `{"system":"s","messages":[{"role":"user","content":7}]}`,
		"a block that is none":       `{"system":"s","messages":[{"role":"user","content":["a"]}]}`,
		"a system prompt that is no": `{"system":{"type":"text"},"messages":[{"role":"user","content":"a"}]}`,
		"tools that are none":        `{"system":"s","tools":["f"],"messages":[{"role":"user","content":"a"}]}`,
		"a body that ends early":     `{"system":"s","messages":[{"role":"user","content":"a"}]`,
		"a body that goes on":        `{"system":"s","messages":[{"role":"user","content":"a"}]}{}`,
		"a list":                     `["system","s"]`,
		"nothing":                    ``,
		"nothing to mark":            `{"messages":[{"role":"user","content":"a"}]}`,
	} {
		if got := marked(body, 0, false); got != body {
			t.Errorf("%s: %s", what, got)
		}
	}
}

func TestFindBreakpoints_ObeysTheMinimum(t *testing.T) {
	t.Parallel()
	text := func(bytes int) string { return strings.Repeat("x", bytes) }
	body := func(tools, system, message int) string {
		return fmt.Sprintf(`{"tools":[{"name":"f","description":%q}],"system":%q,"messages":[{"role":"user","content":%q}]}`, text(tools), text(system), text(message))
	}
	check := func(what string, body string, minimum int64, want int) {
		t.Helper()
		if b := FindBreakpoints([]byte(body), minimum, false); b.Len() != want {
			t.Errorf("%s: %d marks, want %d", what, b.Len(), want)
		}
	}
	check("all of it is short", body(100, 100, 100), 1024, 0)
	check("long with its messages", body(100, 100, 4200), 1024, 1)
	check("long with its system prompt", body(100, 4200, 100), 1024, 2)
	check("long by tools", body(4200, 100, 100), 1024, 3)
	check("just too short", body(100, 3850, 0), 1024, 0)
	check("too short for the model", body(4200, 100, 100), 4096, 0)
}

func TestFindBreakpoints_AsksForAnHour(t *testing.T) {
	t.Parallel()
	got := marked(`{"system":"s","messages":[{"role":"user","content":"a"}]}`, 0, true)
	if want := `{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":"a"}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRewrite_RenamesTheModelBesideBreakpoints(t *testing.T) {
	t.Parallel()
	check := func(body, want string) {
		t.Helper()
		r := Scan(Messages, nil, []byte(body))
		e := Edits{Model: "new", Breakpoints: FindBreakpoints([]byte(body), 0, false)}
		if got := Rewrite(nil, []byte(body), &r, e); string(got) != breakpointSpelling.Replace(want) {
			t.Errorf("got %s, want %s", got, breakpointSpelling.Replace(want))
		}
	}
	check(`{"model":"m","system":"s","messages":[]}`, `{"model":"new","system":«"s"»,"messages":[]}`)
	check(`{"system":"s","messages":[],"model":"m"}`, `{"system":«"s"»,"messages":[],"model":"new"}`)
	check(`{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"b"}],"model":"m","system":"s"}`,
		`{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":«"b"»}],"model":"new","system":«"s"»}`)
}

func TestMinCachedTokens(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]int64{
		"claude-sonnet-4-5-20250929": 1024, "anthropic/claude-opus-4.6": 4096, "claude-haiku-4-5": 4096, "claude-3-5-haiku-latest": 2048,
		"claude-opus-5": 512, "claude-opus-4-7": 2048, "claude-opus-4-1": 1024, "": 1024, "something": 1024,
	} {
		if got := MinCachedTokens([]byte(model)); got != want {
			t.Errorf("%q: %d, want %d", model, got, want)
		}
	}
}

// conversation is a request of so many turns with tools, in Anthropic's format.
func conversation(turns, size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	words := func() string {
		b := make([]byte, size)
		for i := range b {
			if b[i] = " abcdefghijklmnopqrstuvwxyz"[rng.IntN(27)]; i%80 == 79 {
				b[i] = "\n\""[rng.IntN(2)]
			}
		}
		quoted, _ := json.Marshal(string(b))
		return string(quoted)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `{"model":"claude-sonnet-4-5","max_tokens":100,"system":%s,"tools":[{"name":"f","description":%s,"input_schema":{"type":"object"}}],"messages":[`, words(), words())
	for i := range turns {
		fmt.Fprintf(&b, `{"role":"user","content":%s},{"role":"assistant","content":[{"type":"tool_use","id":"t%d","name":"f","input":{"q":%s}}]},`+
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t%d","content":%s}]},{"role":"assistant","content":[{"type":"text","text":%s}]},`, words(), i, words(), i, words(), words())
	}
	return []byte(b.String() + `{"role":"user","content":` + words() + `}]}`)
}

func TestFindBreakpoints_AllocatesNothing(t *testing.T) {
	body := conversation(5, 1000)
	r := Scan(Messages, nil, body)
	dst := make([]byte, 0, 2*len(body))
	if n := testing.AllocsPerRun(100, func() { Rewrite(dst, body, &r, Edits{Model: "m", Breakpoints: FindBreakpoints(body, 1024, false)}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if b := FindBreakpoints(body, 0, false); b.Len() != 4 {
		t.Errorf("%d marks: the test has not tested", b.Len())
	}
}

func BenchmarkFindBreakpoints(b *testing.B) {
	for _, turns := range []int{1, 10, 50} {
		body := conversation(turns, 1000)
		b.Run(fmt.Sprintf("kb=%d", len(body)/1000), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				FindBreakpoints(body, 1024, false)
			}
		})
	}
}

// What is marked is the same request but for the marks, of which there are at most four, each where the API takes one; who marks twice marks once.
func FuzzFindBreakpoints(f *testing.F) {
	f.Add(conversation(2, 10), false)
	for _, body := range []string{
		`{"system":"s","messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"t"}]},{"role":"user","content":[{"type":"text","text":"b"}]}]}`,
		`{"tools":[{"name":"f","defer_loading":true},{"name":"g"}],"system":[{"type":"text","text":""}],"messages":[{"role":"user","content":[{"type":"redacted_thinking"}]}]}`,
		`{"sys\u0074em":"s","messages":[{"content":"a","role":"user"}],"model":"m"}`,
		`{"system":"s","messages":[{"role":"user","content":"a","content":[{"type":"image","type":"text","text":"b"}]}]}`,
	} {
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, hour bool) { sameButMarked(t, body, hour) })
}

// TestFindBreakpoints_AnyRequest holds requests of any make to what is fuzzed above, which seldom gets that far by itself.
func TestFindBreakpoints_AnyRequest(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	var with [MaxBreakpoints + 1]int
	for range 5000 {
		with[sameButMarked(t, randomRequest(rng), rng.IntN(2) == 0)]++
	}
	for marks, n := range with {
		if n == 0 {
			t.Errorf("no request had %d marks: the test has not tested", marks)
		}
	}
}

// sameButMarked checks that marks change nothing but themselves, and returns their number.
func sameButMarked(t *testing.T, body []byte, hour bool) (marks int) {
	t.Helper()
	places := FindBreakpoints(body, 0, hour)
	r := Scan(Messages, nil, body)
	got := Rewrite(nil, body, &r, Edits{Breakpoints: places})
	if places.Len() == 0 && !bytes.Equal(got, body) {
		t.Fatalf("no marks: %q became %q", body, got)
	}
	if !json.Valid(body) {
		return 0
	}
	if !json.Valid(got) {
		t.Fatalf("%q became %q", body, got)
	}
	if again := FindBreakpoints(got, 0, hour); places.Len() > 0 && again.Len() != 0 {
		t.Fatalf("%q is marked again", got)
	}
	var before, after map[string]any
	if json.Unmarshal(body, &before) != nil || json.Unmarshal(got, &after) != nil {
		return 0
	}
	own, all := strip(t, before), strip(t, after)
	if all != own+places.Len() || places.Len() > MaxBreakpoints || own > 0 && places.Len() > 0 {
		t.Fatalf("%q: %d marks of its own, %d afterwards, want %d more", got, own, all, places.Len())
	}
	if !reflect.DeepEqual(before, after) {
		t.Fatalf("%q became another request: %q", body, got)
	}
	return places.Len()
}

// randomRequest is a request for messages, of blocks of any kind in any order, with odd spellings and odd members here and there.
func randomRequest(rng *rand.Rand) []byte {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	list := func(most int, one func() string) string {
		var all []string
		for range rng.IntN(most + 1) {
			all = append(all, one())
		}
		return "[" + strings.Join(all, pick(",", " , ")) + pick("]", " ]")
	}
	block := func() string {
		if rng.IntN(40) == 0 {
			return `{"type":"text","text":"t","cache_control":{"type":"ephemeral"}}`
		}
		return pick(`{"type":"text","text":"t"}`, `{"text":"\"t\\" , "type":"text" }`, `{"type":"text","text":""}`, `{"type":"thinking","thinking":"t","signature":"s"}`,
			`{"type":"redacted_thinking","data":"d"}`, `{"type":"image","source":{"data":"}]"}}`, `{"type":"tool_use","id":"1","name":"f","input":{}}`, `{"ty\u0070e":"document"}`,
			`{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":""}]}`, `{"type":"new"}`, `{"type":"text","type":"thinking","text":"t"}`, `{}`)
	}
	content := func() string { return pick(`"t"`, `""`, `"\u0022"`, list(3, block), list(3, block), list(3, block)) }
	message := func() string {
		role := `"role":` + pick(`"user"`, `"user"`, `"assistant"`, `"system"`, `"us\u0065r"`, `7`)
		return "{" + pick(role+`,"content":`+content(), `"content":`+content()+","+role, role) + "}"
	}
	tool := func() string {
		return pick(`{"name":"f"}`, `{"name":"g","input_schema":{"type":"object"} }`, `{"name":"h","defer_loading":true}`, `{}`)
	}
	members := []string{`"messages":` + list(6, message), `"model":"m"`}
	for _, more := range []string{`"system":` + pick(`"s"`, list(3, block)), `"tools":` + list(3, tool), `"x":{"system":["}"]}`} {
		if rng.IntN(3) > 0 {
			members = append(members, more)
		}
	}
	rng.Shuffle(len(members), func(i, k int) { members[i], members[k] = members[k], members[i] })
	return []byte("{" + strings.Join(members, pick(",", ",\n ")) + "}")
}

// strip takes the marks off a request, and makes of blocks that are nothing but a text the text. It fails the test where a mark stands on what may have none.
func strip(t *testing.T, request map[string]any) (marks int) {
	t.Helper()
	take := func(block map[string]any) {
		if _, is := block["cache_control"]; !is {
			return
		}
		delete(block, "cache_control")
		marks++
		kind, _ := block["type"].(string)
		if strings.Contains(kind, "thinking") || kind == "text" && block["text"] == "" || block["defer_loading"] != nil {
			t.Fatalf("mark on %v", block)
		}
	}
	content := func(of map[string]any, name string) {
		list, _ := of[name].([]any)
		for _, v := range list {
			if block, is := v.(map[string]any); is {
				take(block)
			}
		}
		if len(list) != 1 {
			return
		}
		if block, is := list[0].(map[string]any); is && len(block) == 2 && block["type"] == "text" {
			if s, is := block["text"].(string); is {
				of[name] = s
			}
		}
	}
	content(request, "system")
	tools, _ := request["tools"].([]any)
	for _, v := range tools {
		if tool, is := v.(map[string]any); is {
			take(tool)
		}
	}
	messages, _ := request["messages"].([]any)
	for _, v := range messages {
		if m, is := v.(map[string]any); is {
			content(m, "content")
		}
	}
	return marks
}
