package provider

import (
	"fmt"
	"strings"
	"testing"
)

// chatFrame is a frame of a chat stream of 296 bytes, the size they have on average.
const chatFrame = `data: {"id":"chatcmpl-BxW5sWQ2Yk7vYyYq0lXJ3TnJ4mKpA","object":"chat.completion.chunk","created":1753357200,` +
	`"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_34a54ae93c","choices":[{"index":0,` +
	`"delta":{"content":" world"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"

const messagesFrame = "event: content_block_delta\n" +
	`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ello, how are you"} }` + "\n\n"

const responsesFrame = "event: response.output_text.delta\n" +
	`data: {"type":"response.output_text.delta","sequence_number":6,"item_id":"msg_68a1b2c3d4e5f60718293a4b5c6d7e8f9a",` +
	`"output_index":0,"content_index":0,"delta":" world","logprobs":[],"obfuscation":"eWkqPRKwpz"}` + "\n\n"

const geminiFrame = `data: {"candidates": [{"content": {"parts": [{"text": " world and all that is in it"}],"role": "model"},"index": 0}],` +
	`"usageMetadata": {"promptTokenCount": 12,"candidatesTokenCount": 27,"totalTokenCount": 39,"promptTokensDetails": ` +
	`[{"modality": "TEXT","tokenCount": 12}]},"modelVersion": "gemini-2.5-flash","responseId": "abcDEF"}` + "\r\n\r\n"

func BenchmarkMeter_Frame(b *testing.B) {
	for _, c := range []struct {
		op    Operation
		frame string
	}{
		{ChatCompletions, chatFrame},
		{Messages, messagesFrame},
		{Responses, responsesFrame},
		{GenerateContent, geminiFrame},
	} {
		for _, perWrite := range []int{1, 8} {
			b.Run(fmt.Sprintf("op=%v/frames=%d", c.op, perWrite), func(b *testing.B) {
				p := []byte(strings.Repeat(c.frame, perWrite))
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				var m Meter
				m.Reset(c.op, EventStream)
				for b.Loop() {
					m.Write(p)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perWrite), "ns/frame")
			})
		}
	}
}

func BenchmarkMeter_Plain(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 32<<10/45)
	code := strings.Repeat(`if x == \"a\" {\n\treturn \"b\"\n}\n`, 32<<10/34)
	floats := strings.Repeat("0.0023064255,-0.009327292,", 32<<10/26)
	tail := `"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}`
	for _, c := range []struct{ name, body string }{
		{"text", `{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"` + text + `"},` + tail},
		{"code", `{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"` + code + `"},` + tail},
		{"floats", `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[` + floats + `0]}],"usage":{"prompt_tokens":9,"total_tokens":9}}`},
	} {
		b.Run("body="+c.name, func(b *testing.B) {
			p := []byte(c.body)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			var m Meter
			for b.Loop() {
				m.Reset(ChatCompletions, Plain)
				m.Write(p[:8<<10])
				m.Write(p[8<<10:])
				m.Close()
				if _, ok := m.Usage(); !ok {
					b.Fatal("no usage")
				}
			}
		})
	}
}
