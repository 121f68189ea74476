package cache

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"llm-auto-optimizer/proxy/provider"
)

// spoken is an answer as the vendors tell it, in all forms.
type spoken struct {
	op                           provider.Operation
	body, stream, usageless, arr string
}

var words = []string{"the ", "Rhône ", "\n", "\"rises\" ", "in\\", "\u2028", "🏔", " of ", "</b>", "\t", "it"}

type speaker struct{ *rand.Rand }

func (r speaker) text() (all string, pieces []string) {
	for range 1 + r.IntN(6) {
		p := words[r.IntN(len(words))] + words[r.IntN(len(words))]
		all += p
		pieces = append(pieces, p)
	}
	return all, pieces
}

func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// cut splits a text at characters.
func (r speaker) cut(s string) (pieces []string) {
	runes := []rune(s)
	for len(runes) > 0 {
		n := min(1+r.IntN(7), len(runes))
		pieces = append(pieces, string(runes[:n]))
		runes = runes[n:]
	}
	return pieces
}

func (r speaker) arguments() string {
	text, _ := r.text()
	return fmt.Sprintf(`{"city": %s, "days": %d, "near": [1.50, null, {}]}`, quote(text), r.IntN(9))
}

// chat is an answer to a chat: some choices, each a text or tool calls.
func (r speaker) chat() spoken {
	head := fmt.Sprintf(`"id":"chatcmpl-%d","object":"%%s","created":1753357200,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp_1"`, r.IntN(99))
	usage := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":30,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":1}}`, 10+r.IntN(9), 1+r.IntN(9))
	var bodies []string
	var events []string // without usage
	event := func(choices string) {
		events = append(events, "{"+fmt.Sprintf(head, "chat.completion.chunk")+`,"choices":[`+choices+`]%s}`)
	}
	n := 1 + r.IntN(3)
	ends := make([]string, n)
	for i := range n {
		delta := func(d string) {
			event(fmt.Sprintf(`{"index":%d,"delta":%s,"logprobs":null,"finish_reason":null}`, i, strings.ReplaceAll(d, "%", "%%")))
		}
		var message string
		if r.IntN(2) == 0 {
			ends[i] = "stop"
			all, pieces := r.text()
			delta(`{"role":"assistant","content":"","refusal":null}`)
			thought := ""
			if r.IntN(3) == 0 {
				t, ps := r.text()
				thought = `"reasoning_content":` + quote(t) + `,`
				for _, p := range ps {
					delta(`{"reasoning_content":` + quote(p) + `}`)
				}
			}
			for _, p := range pieces {
				delta(`{"content":` + quote(p) + `}`)
			}
			message = `{"role":"assistant","content":` + quote(all) + `,` + thought + `"refusal":null,"annotations":[]}`
		} else {
			ends[i] = "tool_calls"
			delta(`{"role":"assistant","content":null,"refusal":null}`)
			var calls []string
			for j := range 1 + r.IntN(2) {
				args := r.arguments()
				id := fmt.Sprintf("call_%d_%d", i, j)
				delta(fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":%q,"type":"function","function":{"name":"f","arguments":""}}]}`, j, id))
				for _, p := range r.cut(args) {
					delta(fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}`, j, quote(p)))
				}
				calls = append(calls, `{"id":"`+id+`","type":"function","function":{"name":"f","arguments":`+quote(args)+`}}`)
			}
			message = `{"role":"assistant","content":null,"tool_calls":[` + strings.Join(calls, ",") + `],"refusal":null,"annotations":[]}`
		}
		bodies = append(bodies, fmt.Sprintf(`{"index":%d,"message":%s,"logprobs":null,"finish_reason":%q}`, i, message, ends[i]))
	}
	for i, end := range ends {
		event(fmt.Sprintf(`{"index":%d,"delta":{},"logprobs":null,"finish_reason":%q}`, i, end))
	}
	return openAISpoken(provider.ChatCompletions, fmt.Sprintf(head, "chat.completion"), fmt.Sprintf(head, "chat.completion.chunk"), bodies, events, usage)
}

// openAISpoken frames chunks, each with a place for its usage.
func openAISpoken(op provider.Operation, head, chunkHead string, bodies, events []string, usage string) spoken {
	s := spoken{op: op, body: "{" + head + `,"choices":[` + strings.Join(bodies, ",") + `],"usage":` + usage + "}"}
	for _, ev := range events {
		s.stream += "data: " + fmt.Sprintf(ev, `,"usage":null,"obfuscation":"xyz"`) + "\n\n"
		s.usageless += "data: " + fmt.Sprintf(ev, `,"obfuscation":"xyz"`) + "\n\n"
	}
	s.stream += "data: {" + chunkHead + `,"choices":[],"usage":` + usage + "}\n\ndata: [DONE]\n\n"
	s.usageless += "data: [DONE]\n\n"
	return s
}

func (r speaker) completions() spoken {
	const head = `"id":"cmpl-1","object":"text_completion","created":1753357200,"model":"gpt-3.5-turbo-instruct"`
	var bodies, events []string
	event := func(i int, text, end string) {
		events = append(events, "{"+head+`,"choices":[`+strings.ReplaceAll(fmt.Sprintf(`{"text":%s,"index":%d,"logprobs":null,"finish_reason":%s}`, quote(text), i, end), "%", "%%")+`]%s}`)
	}
	for i := range 1 + r.IntN(3) {
		all, pieces := r.text()
		for _, p := range pieces {
			event(i, p, "null")
		}
		event(i, "", `"stop"`)
		bodies = append(bodies, fmt.Sprintf(`{"text":%s,"index":%d,"logprobs":null,"finish_reason":"stop"}`, quote(all), i))
	}
	return openAISpoken(provider.Completions, head, head, bodies, events, fmt.Sprintf(`{"prompt_tokens":5,"completion_tokens":%d,"total_tokens":9}`, r.IntN(9)))
}

// responses tells the stream by its first and last events: all that is in between the last one repeats.
func (r speaker) responses() spoken {
	var items []string
	if r.IntN(2) == 0 {
		all, _ := r.text()
		items = append(items, `{"id":"rs_1","type":"reasoning","encrypted_content":"gAAA","summary":[{"type":"summary_text","text":`+quote(all)+`}]}`)
	}
	if r.IntN(2) == 0 {
		items = append(items, `{"id":"fc_1","type":"function_call","status":"completed","arguments":`+quote(r.arguments())+`,"call_id":"call_1","name":"f"}`,
			`{"id":"ct_1","type":"custom_tool_call","status":"completed","input":`+quote(r.arguments())+`,"call_id":"call_2","name":"g"}`)
	} else {
		all, _ := r.text()
		items = append(items, `{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[{"type":"url_citation","url":"u"}],"logprobs":[],"text":`+quote(all)+
			`},{"type":"refusal","refusal":"no"}],"role":"assistant"}`)
	}
	response := func(status, output, usage string) string {
		return `{"id":"resp_1","object":"response","created_at":1,"status":"` + status + `","error":null,"incomplete_details":null,"model":"gpt-5","output":[` + output +
			`],"tools":[],"usage":` + usage + `,"metadata":{"a":"b"}}`
	}
	body := response("completed", strings.Join(items, ","), fmt.Sprintf(`{"input_tokens":9,"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":20}`, 1+r.IntN(9)))
	s := spoken{op: provider.Responses, body: body}
	s.stream = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":" + response("in_progress", "", "null") + "}\n\n" +
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":1,\"response\":" + body + "}\n\n"
	return s
}

func (r speaker) messages() spoken {
	var blocks []string
	var events []string
	event := func(kind, rest string) {
		events = append(events, "event: "+kind+"\ndata: {\"type\":\""+kind+`"`+rest+"   }\n\n")
	}
	block := func(whole, start string, deltas ...string) {
		i := len(blocks)
		blocks = append(blocks, whole)
		event("content_block_start", fmt.Sprintf(`,"index":%d,"content_block":%s`, i, start))
		if i == 0 {
			event("ping", "")
		}
		for _, d := range deltas {
			event("content_block_delta", fmt.Sprintf(`,"index":%d,"delta":%s`, i, d))
		}
		event("content_block_stop", fmt.Sprintf(`,"index":%d`, i))
	}
	input, output, thinking := 1+r.IntN(99), 2+r.IntN(99), ""
	start := fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":3,"cache_read_input_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":0},"output_tokens":%%d%%s,"service_tier":"standard"}`, input)
	if r.IntN(2) == 0 {
		thinking = `,"output_tokens_details":{"thinking_tokens":1}`
		all, pieces := r.text()
		var deltas []string
		for _, p := range pieces {
			deltas = append(deltas, `{"type":"thinking_delta","thinking":`+quote(p)+`}`)
		}
		block(`{"type":"thinking","thinking":`+quote(all)+`,"signature":"c2ln"}`, `{"type":"thinking","thinking":"","signature":""}`,
			append(deltas, `{"type":"signature_delta","signature":"c2ln"}`)...)
		block(`{"type":"redacted_thinking","data":"abc"}`, `{"type":"redacted_thinking","data":"abc"}`)
	}
	end := "end_turn"
	all, pieces := r.text()
	var deltas []string
	for _, p := range pieces {
		deltas = append(deltas, `{"type":"text_delta","text":`+quote(p)+`}`)
	}
	if r.IntN(3) == 0 {
		deltas = append(deltas, `{"type":"citations_delta","citation":{"type":"char_location","cited_text":"a"}}`)
		block(`{"type":"text","citations":[{"type":"char_location","cited_text":"a"}],"text":`+quote(all)+`}`, `{"type":"text","citations":[],"text":""}`, deltas...)
	} else {
		block(`{"type":"text","text":`+quote(all)+`}`, `{"type":"text","text":""}`, deltas...)
	}
	for i := range r.IntN(3) {
		end = "tool_use"
		args := r.arguments()
		if i == 1 {
			args = "{}"
		}
		deltas := []string{`{"type":"input_json_delta","partial_json":""}`}
		if i != 1 {
			for _, p := range r.cut(args) {
				deltas = append(deltas, `{"type":"input_json_delta","partial_json":`+quote(p)+`}`)
			}
		}
		tool := fmt.Sprintf(`{"type":"tool_use","id":"toolu_%d","name":"f","input":%%s,"caller":{"type":"direct"}}`, i)
		block(fmt.Sprintf(tool, args), fmt.Sprintf(tool, "{}"), deltas...)
	}
	message := func(content, reason, usage string) string {
		return `{"model":"claude","id":"msg_1","type":"message","role":"assistant","content":[` + content + `],"stop_reason":` + reason + `,"stop_sequence":null,"stop_details":null,"usage":` + usage + `}`
	}
	s := spoken{op: provider.Messages, body: message(strings.Join(blocks, ","), quote(end), fmt.Sprintf(start, output, thinking))}
	middle := strings.Join(events, "")
	events = nil
	event("message_start", `,"message":`+message("", "null", fmt.Sprintf(start, 1, "")))
	s.stream = events[0] + middle
	events = nil
	event("message_delta", fmt.Sprintf(`,"delta":{"stop_reason":%s,"stop_sequence":null,"stop_details":null},"usage":{"input_tokens":%d,"cache_creation_input_tokens":3,"cache_read_input_tokens":2,"output_tokens":%d%s}`,
		quote(end), input, output, thinking))
	event("message_stop", "")
	s.stream += strings.Join(events, "")
	return s
}

func (r speaker) gemini() spoken {
	var parts []string
	var chunks []string
	total := 1 + r.IntN(99)
	response := func(parts, end string, n int) string {
		return `{"candidates": [{"content": {"parts": [` + parts + `],"role": "model"}` + end + `,"index": 0}],"usageMetadata": {"promptTokenCount": 7,"candidatesTokenCount": ` +
			fmt.Sprint(n) + `,"totalTokenCount": ` + fmt.Sprint(7+n) + `},"modelVersion": "g","responseId": "r1"}`
	}
	tell := func(thought string) {
		all, pieces := r.text()
		parts = append(parts, `{"text": `+quote(all)+thought+`}`)
		for _, p := range pieces {
			chunks = append(chunks, `{"text": `+quote(p)+thought+`}`)
		}
	}
	if r.IntN(2) == 0 {
		tell(`,"thought": true`)
	}
	tell("")
	if r.IntN(2) == 0 {
		call := `{"functionCall": {"name": "f","args": ` + r.arguments() + `},"thoughtSignature": "c2ln"}`
		parts, chunks = append(parts, call), append(chunks, call)
	}
	const end = `,"finishReason": "STOP"`
	s := spoken{op: provider.GenerateContent, body: response(strings.Join(parts, ","), end, total), arr: "["}
	for i, c := range chunks {
		one := response(c, "", 1)
		if i == len(chunks)-1 {
			one = response(c, end, total)
		}
		s.stream += "data: " + one + "\r\n\r\n"
		if i > 0 {
			s.arr += ",\r\n"
		}
		s.arr += strings.ReplaceAll(one, ": {", ": {\n  ")
	}
	s.arr += "]"
	return s
}
