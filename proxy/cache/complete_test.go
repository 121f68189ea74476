package cache

import (
	"math/rand/v2"
	"strings"
	"testing"

	"llm-auto-optimizer/proxy/provider"
)

func TestChecker_Complete(t *testing.T) {
	t.Parallel()
	var c Checker
	check := func(op provider.Operation, f provider.Format, body string, want Refusal) {
		t.Helper()
		if got := c.Complete(&Answer{op, f, 200, []byte(body), true}, &Settings{}); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
	const chat, plain, stream = provider.ChatCompletions, provider.Plain, provider.EventStream
	choice := func(end string) string { return `{"choices":[{"index":0,"message":{},"finish_reason":` + end + `}]}` }
	check(chat, plain, choice(`"stop"`), Stored)
	check(chat, plain, choice(`"tool_calls"`), Stored)
	check(chat, plain, choice(`"length"`), BadFinish)
	check(chat, plain, choice(`"content_filter"`), BadFinish)
	check(chat, plain, choice(`null`), Cut)
	check(chat, plain, choice(`"stop"`)[1:], Malformed)
	check(chat, plain, `{"error":{"message":"m"}}`, Failed)
	check(chat, plain, `{"choices":[]}`, BadFinish)
	check(chat, provider.Ignored, choice(`"stop"`), Malformed)
	check(chat, stream, "data: "+choice(`"stop"`)+"\n\n", Cut)
	check(chat, stream, "data: "+choice(`"stop"`)+"\n\ndata: [DONE]\n\n", Stored)
	check(chat, stream, "data: "+choice(`null`)+"\n\ndata: [DONE]\n\n", Cut)
	check(chat, stream, "data: "+choice(`"length"`)+"\n\ndata: [DONE]\n\n", BadFinish)
	check(chat, stream, "data: "+choice(`"stop"`)+"\n\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n", Failed)
	check(chat, stream, "data: "+choice(`"stop"`)+"\n\ndata: [DONE]\n\ndata: {}\n\n", Malformed)
	check(chat, stream, "data: "+choice(`"stop"`)+"\n\ndata: [DONE]", Cut)
	check(provider.Embeddings, plain, `{"data":[{"embedding":[1]}]}`, Stored)
	check(provider.Embeddings, plain, `{"data":[]}`, Malformed)
	check(provider.EmbedContent, plain, `{"embedding":{"values":[1]}}`, Stored)
	check(provider.CountTokens, plain, `{}`, NotCacheable)
	check(provider.Responses, plain, `{"status":"completed","output":[]}`, Stored)
	check(provider.Responses, plain, `{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}`, BadFinish)
	check(provider.Responses, stream, "event: response.failed\ndata: {\"type\":\"response.failed\"}\n\n", Failed)
	check(provider.Messages, plain, `{"type":"message","content":[],"stop_reason":"max_tokens"}`, BadFinish)
	check(provider.Messages, stream, "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n", Failed)
	check(provider.GenerateContent, plain, `{"candidates":[{"finishReason":"MAX_TOKENS"}]}`, BadFinish)
	check(provider.GenerateContent, plain, `{"promptFeedback":{"blockReason":"SAFETY"}}`, BadFinish)
	check(provider.GenerateContent, stream, "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n{\"error\":{\"code\":500}}\r\n\r\n", Cut)
	good := []byte(choice(`"stop"`))
	for want, a := range map[Refusal]Answer{
		BadStatus: {chat, plain, 201, good, true}, NoUsage: {chat, plain, 200, good, false},
		TooLarge: {chat, plain, 200, []byte(strings.Repeat(" ", DefaultMaxEntry+1)), true},
	} {
		if got := c.Complete(&a, &Settings{}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestChecker_CutStreams cuts the generated streams at every byte: none but the whole is complete.
func TestChecker_CutStreams(t *testing.T) {
	t.Parallel()
	for name, speak := range speakers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := speaker{rand.New(rand.NewPCG(5, 6))}
			var c Checker
			for range 3 {
				s := speak(r)
				for f, answer := range map[provider.Format]string{provider.Plain: s.body, provider.EventStream: s.stream, provider.JSONArray: s.arr} {
					whole := strings.TrimRight(answer, "\r\n")
					for n := range whole {
						if got := c.Complete(&Answer{s.op, f, 200, []byte(answer[:n]), true}, &Settings{}); got == Stored {
							t.Fatalf("format %d: complete at %d of %d bytes: %s", f, n, len(answer), answer[:n])
						}
					}
					if got := c.Complete(&Answer{s.op, f, 200, []byte(answer), true}, &Settings{}); got != Stored && answer != "" {
						t.Fatalf("format %d: %s: %s", f, got, answer)
					}
				}
			}
		})
	}
}
