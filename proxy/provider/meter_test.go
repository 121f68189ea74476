package provider

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// events builds an event stream of data lines.
func events(data ...string) []byte {
	var b strings.Builder
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return []byte(b.String())
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	check := func(op Operation, stream bool, contentType string, want Format) {
		t.Helper()
		if got := FormatOf(op, stream, []byte(contentType)); got != want {
			t.Errorf("FormatOf(%v, %t, %q): got %d, want %d", op, stream, contentType, got, want)
		}
	}
	check(ChatCompletions, true, "text/event-stream", EventStream)
	check(ChatCompletions, true, "Text/Event-Stream; charset=utf-8", EventStream)
	check(ChatCompletions, false, "text/event-stream", EventStream) // what is sent counts, not what was asked for
	check(ChatCompletions, true, "application/json", Plain)         // an error, most likely
	check(ChatCompletions, false, "application/json; charset=utf-8", Plain)
	check(ChatCompletions, false, "application/problem+json", Plain)
	check(ChatCompletions, true, "", EventStream)
	check(ChatCompletions, true, "text/plain", EventStream)
	check(ChatCompletions, false, "text/plain", Plain)
	check(GenerateContent, true, "application/json; charset=UTF-8", JSONArray)
	check(GenerateContent, true, "text/event-stream", EventStream)
	check(GenerateContent, false, "application/json", Plain)
	check(ChatCompletions, false, "text/html", Ignored)
	check(ChatCompletions, false, "audio/mpeg", Ignored)
	check(Opaque, true, "text/event-stream", Ignored)
	check(operationsEnd, false, "application/json", Ignored)
}

// Frames that open or accompany a stream are no content, however they look.
func TestMeter_Content(t *testing.T) {
	t.Parallel()
	check := func(op Operation, frame string, want bool) {
		t.Helper()
		var m Meter
		if got := read(&m, op, EventStream, events(frame)).Content; got != want {
			t.Errorf("%v %s: got %t, want %t", op, frame, got, want)
		}
	}
	chat := func(delta string) string {
		return `{"id":"a","object":"chat.completion.chunk","choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":null}]}`
	}
	check(ChatCompletions, chat(`{"role":"assistant","content":""}`), false)
	check(ChatCompletions, chat(`{"role":"assistant","content":null,"refusal":null,"tool_calls":null}`), false)
	check(ChatCompletions, chat(`{"role":"assistant","content":"","tool_calls":[],"annotations":[]}`), false)
	check(ChatCompletions, chat(`{}`), false)
	check(ChatCompletions, chat(`{"content":"x"}`), true)
	check(ChatCompletions, chat(`{"content":" "}`), true)
	check(ChatCompletions, chat(`{"refusal":"no"}`), true)
	check(ChatCompletions, chat(`{"reasoning_content":"hm"}`), true)
	check(ChatCompletions, chat(`{"reasoning":"hm"}`), true)
	check(ChatCompletions, chat(`{"reasoning_details":[{"type":"reasoning.encrypted","data":"gAAA"}]}`), true)
	check(ChatCompletions, chat(`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}`), true)
	check(ChatCompletions, chat(`{"audio":{"id":"audio_1","transcript":"Hi"}}`), true)
	check(ChatCompletions, chat(`{"audio":{"data":"UklG"}}`), true)
	check(ChatCompletions, `{"choices":[{"index":0,"delta":{"content":""},"logprobs":{"content":[{"token":"x"}]}}]}`, false)
	check(ChatCompletions, `{"choices":[],"prompt_filter_results":[{"content":"x","delta":{"content":"x"}}]}`, false)
	check(Completions, `{"choices":[{"text":"","index":0,"finish_reason":"stop"}]}`, false)
	check(Completions, `{"choices":[{"text":"x","index":0}]}`, true)
	check(Messages, `{"type":"message_start","message":{"role":"assistant","content":[],"usage":{"input_tokens":1}}}`, false)
	check(Messages, `{"type":"ping"}`, false)
	check(Messages, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, false)
	check(Messages, `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`, false)
	check(Messages, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`, true)
	check(Messages, `{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"Emw"}}`, true)
	check(Messages, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}`, false)
	check(Messages, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`, true)
	check(Messages, `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Eq"}}`, true)
	check(Messages, `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}`, false)
	check(Responses, `{"type":"response.created","response":{"id":"r","output":[],"instructions":"Be brief"}}`, false)
	check(Responses, `{"type":"response.output_item.added","item":{"id":"m","type":"message","content":[]}}`, false)
	check(Responses, `{"type":"response.output_text.delta","delta":"x"}`, true)
	check(Responses, `{"type":"response.function_call_arguments.delta","delta":"{"}`, true)
	check(Responses, `{"type":"response.image_generation_call.partial_image","partial_image_b64":"iVBO"}`, true)
	check(GenerateContent, `{"candidates":[{"content":{"role":"model"},"index":0}],"modelVersion":"g"}`, false)
	check(GenerateContent, `{"candidates":[{"content":{"parts":[{"text":"","thought":true}],"role":"model"}}]}`, false)
	check(GenerateContent, `{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"iVBO"}}]}}]}`, true)
	check(GenerateContent, `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]}}]}`, true)
	check(GenerateContent, `{"candidates":[{"content":{"parts":[]},"finishReason":"STOP","safetyRatings":[{"category":"x"}]}]}`, false)
}

// Usage counts in its own place only, whatever the content holds.
func TestMeter_UsageElsewhereIsNoUsage(t *testing.T) {
	t.Parallel()
	check := func(op Operation, f Format, body string) {
		t.Helper()
		var m Meter
		if got := read(&m, op, f, []byte(body)); got.Usage != nil {
			t.Errorf("%v %s: got %v", op, body, got)
		}
	}
	const u = `{"prompt_tokens":1,"input_tokens":1,"promptTokenCount":1,"total_tokens":1}`
	check(ChatCompletions, Plain, `{"choices":[{"message":{"usage":`+u+`,"content":"\"usage\":`+u+`"}}],"x":{"usage":`+u+`}}`)
	check(ChatCompletions, Plain, `{"usage":null}`)
	check(ChatCompletions, Plain, `{"usage":"`+`x`+`","key":"usage"}`)
	check(ChatCompletions, Plain, `["usage",`+u+`]`)
	check(ChatCompletions, Plain, `{"a":["usage",{"usage":`+u+`}]}`)
	check(ChatCompletions, Plain, `{"usage":[`+u+`]}`)
	check(ChatCompletions, Plain, `{"usage":{"prompt_tokens":1`) // cut
	check(ChatCompletions, EventStream, "data: {\"choices\":[{\"delta\":{\"usage\":"+u+"}}]}\n\n: {\"usage\":"+u+"}\n\nid: {\"usage\":"+u+"}\n\n")
	check(Responses, Plain, `{"output":[{"usage":`+u+`,"arguments":{"usage":`+u+`}}],"metadata":{"usage":`+u+`}}`)
	check(Responses, EventStream, "data: {\"type\":\"response.x\",\"item\":{\"usage\":"+u+"},\"response\":{\"output\":[{\"usage\":"+u+"}]}}\n\n")
	check(Messages, Plain, `{"content":[{"type":"tool_use","input":{"usage":`+u+`,"message":{"usage":`+u+`}}}]}`)
	check(Messages, EventStream, "data: {\"type\":\"x\",\"content_block\":{\"usage\":"+u+"},\"message\":{\"content\":[{\"usage\":"+u+"}]}}\n\n")
	check(GenerateContent, Plain, `{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"usageMetadata":`+u+`}}}]},"usageMetadata":`+u+`}]}`)
}

func TestMeter_Failed(t *testing.T) {
	t.Parallel()
	check := func(op Operation, f Format, body, want string) {
		t.Helper()
		var m Meter
		if got := read(&m, op, f, []byte(body)).Failed; got != want {
			t.Errorf("%v %s: got %q, want %q", op, body, got, want)
		}
	}
	check(ChatCompletions, Plain, `{"error":null}`, "")
	check(ChatCompletions, Plain, `{"error":{}}`, "")
	check(ChatCompletions, Plain, `{"choices":[{"message":{"error":{"code":"server_error"}}}]}`, "")
	check(ChatCompletions, Plain, `{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}`, "rate_limit_exceeded")
	check(ChatCompletions, Plain, `{"error":{"message":"m","type":"server_error","code":null}}`, "server_error")
	check(ChatCompletions, Plain, `{"error":{"message":"m","code":429,"metadata":{"code":"server_error"}}}`, "429")
	check(ChatCompletions, Plain, `{"error":{"message":"m","code":"made_up_by_this_server"}}`, OtherKind)
	check(ChatCompletions, Plain, `{"error":"unknown"}`, OtherKind)
	check(ChatCompletions, Plain, `{"error":{"type":"server_error","x":"`+strings.Repeat("x", maxCapture)+`"}}`, OtherKind)
	check(ChatCompletions, EventStream, "event: error\ndata: {\"error\":{\"code\":\"server_error\"}}\n\n", "server_error")
	check(ChatCompletions, EventStream, "event: error\ndata: out of memory\n\n", OtherKind)
	check(ChatCompletions, EventStream, "data: {\"choices\":[],\"error\":null}\n\n", "")
	check(ChatCompletions, EventStream, "data: {\"choices\":[{\"error\":{\"code\":502}}]}\n\n", "502")
	check(ChatCompletions, EventStream, "data: {\"code\":400,\"object\":\"error\"}\n\n", "400")
	check(ChatCompletions, EventStream, "data: {\"code\":400}\n\ndata: {\"object\":\"error\"}\n\n", OtherKind)
	check(ChatCompletions, EventStream, "data: {\"choices\":[]}\n\n{\"error\":{\n\"code\":\"server_error\"}}", "server_error")
	check(GenerateContent, EventStream, "data: {}\r\n\r\n{\r\n \"error\": {\r\n  \"status\": \"INTERNAL\"\r\n }\r\n}\r\n\r\n", "INTERNAL")
	check(Responses, EventStream, "data: {\"type\":\"error\",\"error\":{\"code\":\"insufficient_quota\"}}\n\n", "insufficient_quota")
	check(Responses, EventStream, "data: {\"code\":\"server_error\",\"type\":\"error\"}\n\n", "server_error")
	check(Messages, EventStream, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}\n\n", "api_error")
	check(GenerateContent, Plain, `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]`, "RESOURCE_EXHAUSTED")
	check(GenerateContent, JSONArray, `{"error":{"code":500,"status":"NEWSTATUS"}}`, "500")
	check(EmbedContent, Plain, `{"error":{"status":"PERMISSION_DENIED"}}`, "PERMISSION_DENIED")
}

func TestMeter_CompleteWhenEveryChoiceEnded(t *testing.T) {
	t.Parallel()
	choice := func(index int, finish string) string {
		return fmt.Sprintf(`{"choices":[{"finish_reason":%s,"delta":{"content":"x"},"index":%d}]}`, finish, index)
	}
	check := func(want bool, frames ...string) {
		t.Helper()
		var m Meter
		if got := read(&m, ChatCompletions, EventStream, events(frames...)).Complete; got != want {
			t.Errorf("%s: got %t, want %t", frames, got, want)
		}
	}
	check(false, choice(0, "null"))
	check(true, choice(0, `"stop"`))
	check(true, choice(0, "null"), choice(0, `"length"`))
	check(false, choice(0, "null"), choice(1, "null"), choice(0, `"stop"`))
	check(true, choice(0, "null"), choice(1, "null"), choice(0, `"stop"`), choice(1, `"stop"`))
	check(true, choice(0, "null"), choice(1, "null"), "[DONE]")
	check(true, choice(1<<40, `"stop"`))
	check(false, `{"choices":[]}`)
	check(false)
}

// A stream that was cut has stated its input, and of its output a lower bound only.
func TestMeter_UsageFinal(t *testing.T) {
	t.Parallel()
	var m Meter
	m.Reset(Messages, EventStream)
	m.Write(events(`{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}`))
	if u, ok := m.Usage(); !ok || u != (Usage{Input: 9, Output: 1}) || m.UsageFinal() {
		t.Errorf("after message_start: got %+v, %t, final %t", u, ok, m.UsageFinal())
	}
	m.Write(events(`{"type":"message_delta","delta":{},"usage":{"output_tokens":5}}`, `{"type":"message_stop"}`))
	if u, ok := m.Usage(); !ok || u != (Usage{Input: 9, Output: 5}) || !m.UsageFinal() {
		t.Errorf("at the end: got %+v, %t, final %t", u, ok, m.UsageFinal())
	}
	m.Reset(CountTokens, Plain)
	if u, ok := m.Usage(); !ok || u != (Usage{}) || !m.UsageFinal() {
		t.Errorf("counting tokens: got %+v, %t, final %t", u, ok, m.UsageFinal())
	}
}

func TestMeter_IgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	var m Meter
	if got := readingOf(&m); got.String() != (reading{Complete: true}).String() {
		t.Errorf("zero value: got %v", got)
	}
	body := []byte(`{"usage":{"prompt_tokens":1},"error":{"code":"server_error"}}`)
	for _, op := range []Operation{Opaque, operationsEnd, ChatCompletions} {
		if got := read(&m, op, Ignored, body); got.String() != (reading{Complete: true, Content: true}).String() {
			t.Errorf("%v: got %v", op, got)
		}
	}
	if got := read(&m, Opaque, Plain, body); got.Usage != nil || got.Failed != "" {
		t.Errorf("opaque: got %v", got)
	}
}

// Events longer than the scanner keeps are read in parts, and mean the same.
func TestMeter_LongEvents(t *testing.T) {
	t.Parallel()
	image := strings.Repeat("iVBORw0KGgo", 300<<10/11)
	stream := events(
		`{"type":"response.image_generation_call.partial_image","partial_image_b64":"`+image+`"}`,
		`{"type":"response.completed","response":{"model":"m","output":[{"type":"image_generation_call","result":"`+image+
			`"},{"content":[{"text":"x\"usage\":{}"}]}],"usage":{"input_tokens":5,"output_tokens":7}}}`)
	want := reading{Usage: &Usage{Input: 5, Output: 7}, Final: true, Content: true, Complete: true, Model: "m"}
	var m Meter
	for _, size := range []int{len(stream), 8 << 10, 1 << 10, 13} {
		if got := read(&m, Responses, EventStream, pieces(stream, size)...); got.String() != want.String() {
			t.Errorf("in pieces of %d: got %v, want %v", size, got, want)
		}
	}
}

// Usage may stand behind megabytes, which are not kept.
func TestMeter_LongPlainBodyIsNotKept(t *testing.T) {
	t.Parallel()
	body := []byte(`{"data":[{"embedding":[` + strings.Repeat("0.0023064255,", 1<<20/13) + `0]},{"b64_json":"` + strings.Repeat("A", 4<<20) +
		`"}],"usage":{"total_tokens":17}}`)
	var m Meter
	if got := read(&m, Embeddings, Plain, pieces(body, 8<<10)...); got.Usage == nil || got.Usage.Input != 17 {
		t.Errorf("got %v", got)
	}
	if kept := cap(m.walk.raw) + cap(m.memory.head) + cap(m.memory.tail); kept > maxCapture {
		t.Errorf("keeps %d bytes", kept)
	}
	huge := []byte(`{"usage":{"x":"` + strings.Repeat("x", 2*maxCapture) + `","total_tokens":17},"model":"m"}`)
	for _, size := range []int{len(huge), 1 << 10} {
		if got := read(&m, Embeddings, Plain, pieces(huge, size)...); got.Usage != nil || got.Model != "m" {
			t.Errorf("usage object of %d bytes in pieces of %d: got %v", len(huge), size, got)
		}
	}
}

func TestMeter_DoesNotAllocate(t *testing.T) {
	for _, g := range goldens(t) {
		var m Meter
		run := func() {
			m.Reset(g.op, g.format)
			for p := g.body; len(p) > 0; {
				n := min(len(p), 1000)
				m.Write(p[:n])
				p = p[n:]
			}
			m.Close()
			m.Usage()
		}
		run() // grows the buffers
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", g.name, n)
		}
	}
}

// FuzzMeter holds that the reading of an answer depends neither on how it is split nor on what came before in a
// pooled Meter, nor on whether frames that repeat are skipped.
func FuzzMeter(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(uint8(g.op), uint8(g.format), uint16(7), g.body)
	}
	f.Add(uint8(ChatCompletions), uint8(EventStream), uint16(1), bytes.Repeat(events(`{"choices":[{"delta":{"content":"\\\""}}]}`), 3))
	f.Fuzz(func(t *testing.T, op, format uint8, size uint16, body []byte) {
		if len(body) > 1<<14 {
			return
		}
		o, fo := Operation(op)%operationsEnd, Format(format)%(JSONArray+1)
		var fresh, pooled Meter
		want := read(&fresh, o, fo, body)
		read(&pooled, Messages, EventStream, body[:len(body)/2])
		if got := read(&pooled, o, fo, pieces(body, int(size)+1)...); got.String() != want.String() {
			t.Fatalf("in pieces of %d: got  %v\nwant %v", int(size)+1, got, want)
		}
		pooled.Reset(o, fo)
		pooled.memory.misses = maxMisses
		pooled.Write(body)
		pooled.Close()
		if got := readingOf(&pooled); got.String() != want.String() {
			t.Fatalf("reading every frame: got  %v\nwant %v", got, want)
		}
		if want.Usage != nil {
			for _, n := range []int64{want.Usage.Input, want.Usage.Output, want.Usage.CacheRead, want.Usage.CacheWrite5m, want.Usage.CacheWrite1h,
				want.Usage.AudioInput, want.Usage.ImageInput, want.Usage.AudioOutput, want.Usage.ImageOutput, want.Usage.WebSearches, want.Usage.InputTotal()} {
				if n < 0 {
					t.Fatalf("negative count: %v", want)
				}
			}
			if want.Usage.Reasoning < 0 || want.Usage.Reasoning > want.Usage.OutputTotal() {
				t.Fatalf("reasoning is no subset of the output: %v", want)
			}
		}
	})
}
