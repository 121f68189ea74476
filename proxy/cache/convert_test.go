package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"llm-auto-optimizer/proxy/provider"
)

// speakers make the answers that are converted.
var speakers = map[string]func(speaker) spoken{
	"chat": speaker.chat, "completions": speaker.completions, "responses": speaker.responses, "messages": speaker.messages, "gemini": speaker.gemini,
}

// told is what a document means, numbers as they are spelled.
func told(t *testing.T, raw string) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

func metered(op provider.Operation, f provider.Format, answer string) provider.Usage {
	var m provider.Meter
	return usageOf(&m, op, f, []byte(answer))
}

// TestConverter_Exact tells generated answers of every dialect in every other form: a stream as the body that the vendor would have sent, a body
// as a stream that tells that body, with the same usage, and complete to whoever checks it.
func TestConverter_Exact(t *testing.T) {
	t.Parallel()
	for name, speak := range speakers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := speaker{rand.New(rand.NewPCG(1, 2))}
			var c Converter
			var check Checker
			convert := func(op provider.Operation, answer string, from, to Form) string {
				t.Helper()
				e := &Entry{Operation: op, Format: from.Format, Asked: from.IncludeUsage, Answer: []byte(answer)}
				got, err := c.Append(nil, e, to)
				if err != nil {
					t.Fatalf("%v to %v: %v\n%s", from, to, err, answer)
				}
				usage := to.Format == provider.Plain || to.IncludeUsage || op != provider.ChatCompletions && op != provider.Completions
				if usage && metered(op, to.Format, string(got)) != metered(op, from.Format, answer) {
					t.Fatalf("%v to %v: other usage\n%s\n%s", from, to, answer, got)
				}
				refusal := check.Complete(&Answer{Operation: op, Format: to.Format, Status: 200, Body: got, Usage: true}, &Settings{})
				if refusal != Stored {
					t.Fatalf("%v to %v: %s\n%s", from, to, refusal, got)
				}
				return string(got)
			}
			plain, stream := Form{Format: provider.Plain}, Form{Format: provider.EventStream, IncludeUsage: true}
			array := Form{Format: provider.JSONArray}
			rounds := 1000
			if raceEnabled {
				rounds = 100 // the same answers, slower
			}
			for range rounds {
				s := speak(r)
				want := told(t, s.body)
				same := func(what, got string) {
					t.Helper()
					if !reflect.DeepEqual(told(t, got), want) {
						t.Fatalf("%s: got\n%s\nwant\n%s", what, got, s.body)
					}
				}
				same("stream as body", convert(s.op, s.stream, stream, plain))
				same("body as stream as body", convert(s.op, convert(s.op, s.body, plain, stream), stream, plain))
				if s.usageless != "" {
					if got := convert(s.op, s.stream, stream, Form{Format: provider.EventStream}); got != s.usageless {
						t.Fatalf("without usage: got\n%s\nwant\n%s", got, s.usageless)
					}
					bare := convert(s.op, s.body, plain, Form{Format: provider.EventStream})
					if bytes.Contains([]byte(bare), []byte(`"usage"`)) {
						t.Fatalf("usage that nobody asked for: %s", bare)
					}
				}
				if s.arr != "" {
					same("array as body", convert(s.op, s.arr, array, plain))
					same("stream as array as body", convert(s.op, convert(s.op, s.stream, stream, array), array, plain))
					same("array as stream as body", convert(s.op, convert(s.op, s.arr, array, stream), stream, plain))
					same("body as array as body", convert(s.op, convert(s.op, s.body, plain, array), array, plain))
				}
				if got := convert(s.op, s.stream, stream, stream); got != s.stream {
					t.Fatalf("a stream is not given as it is")
				}
			}
		})
	}
}

func TestConverter_Refuses(t *testing.T) {
	t.Parallel()
	var c Converter
	check := func(op provider.Operation, from, to provider.Format, answer string) {
		t.Helper()
		e := &Entry{Operation: op, Format: from, Answer: []byte(answer)}
		if got, err := c.Append([]byte("kept"), e, Form{Format: to}); !errors.Is(err, ErrNotConvertible) || string(got) != "kept" {
			t.Errorf("%s: got %s, %v", answer, got, err)
		}
	}
	const plain, stream = provider.Plain, provider.EventStream
	chat := func(choice string) string {
		return `{"id":"c","object":"chat.completion","choices":[` + choice + `],"usage":{"prompt_tokens":1}}`
	}
	check(provider.ChatCompletions, plain, stream, chat(`{"index":0,"message":{"content":"a"},"logprobs":{"content":[]},"finish_reason":"stop"}`))
	check(provider.ChatCompletions, plain, stream, chat(`{"index":0,"message":{"content":[{"type":"text"}]},"finish_reason":"stop"}`))
	check(provider.ChatCompletions, plain, stream, chat(`{"index":0,"message":{"content":null,"audio":{"id":"a"}},"finish_reason":"stop"}`))
	check(provider.ChatCompletions, plain, stream, chat(``))
	check(provider.ChatCompletions, plain, stream, `{"object":"chat.completion","choices":[{"message":{"content":"a`)
	chunk := func(rest string) string { return `data: {"id":"c","object":"chat.completion.chunk"` + rest + "}\n\n" }
	const end = "data: [DONE]\n\n"
	check(provider.ChatCompletions, stream, plain, chunk(`,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]`)) // cut
	check(provider.ChatCompletions, stream, plain, chunk(`,"choices":[{"index":0,"delta":{},"logprobs":{"content":[]}}]`)+end)
	check(provider.ChatCompletions, stream, plain, chunk(`,"x":1,"choices":[{"index":0,"delta":{}}]`)+chunk(`,"x":2,"choices":[]`)+end)
	check(provider.ChatCompletions, stream, plain, end)
	check(provider.Responses, plain, stream, `{"status":"completed","output":[{"id":"w","type":"web_search_call"}]}`)
	check(provider.Responses, plain, stream, `{"status":"failed","output":[]}`)
	check(provider.Responses, stream, plain, "data: {\"type\":\"response.created\",\"response\":{}}\n\n")
	check(provider.Messages, plain, stream, `{"type":"message","content":[{"type":"hologram"}],"usage":{}}`)
	check(provider.Messages, stream, plain, "data: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{}}}\n\ndata: {\"type\":\"novelty\"}\n\n")
	check(provider.Embeddings, plain, stream, `{"data":[]}`)
	check(provider.GenerateContent, stream, plain, "data: {\"candidates\":[{\"logprobsResult\":{}}]}\r\n\r\n")
}

// FuzzConverter checks that no answer, however broken, makes the converter panic or say what is no answer.
func FuzzConverter(f *testing.F) {
	r := speaker{rand.New(rand.NewPCG(3, 4))}
	for _, speak := range speakers {
		s := speak(r)
		f.Add(uint8(s.op), uint8(provider.Plain), uint8(provider.EventStream), s.body)
		f.Add(uint8(s.op), uint8(provider.EventStream), uint8(provider.Plain), s.stream)
		f.Add(uint8(s.op), uint8(provider.JSONArray), uint8(provider.Plain), s.arr)
	}
	f.Fuzz(func(t *testing.T, op, from, to uint8, answer string) {
		var c Converter
		e := &Entry{Operation: provider.Operation(op), Format: provider.Format(from), Asked: true, Answer: []byte(answer)}
		got, err := c.Append(nil, e, Form{Format: provider.Format(to)})
		if err == nil && from != to && provider.Format(to) == provider.Plain && !json.Valid(got) {
			t.Fatalf("no JSON: %s", got)
		}
		if string(e.Answer) != answer {
			t.Fatal("the stored answer was changed")
		}
	})
}
