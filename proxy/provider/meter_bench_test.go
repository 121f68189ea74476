package provider

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// chatFrame is a frame of a chat stream of about 300 bytes, the size they have on average.
const chatFrame = `data: {"id":"chatcmpl-BxW5sWQ2Yk7vYyYq0lXJ3TnJ4mKpA","object":"chat.completion.chunk","created":1753357200,` +
	`"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_34a54ae93c","choices":[{"index":0,` +
	`"delta":{"content":" world"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"

// Frames of the other streams: TEXT, NUMBER and NOISE stand for what differs from one frame to the next.
const (
	chatNoisyFrame = `data: {"id":"chatcmpl-BxW5sWQ2Yk7vYyYq0lXJ3TnJ4mKpA","object":"chat.completion.chunk","created":1753357200,` +
		`"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_34a54ae93c","choices":[{"index":0,` +
		`"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"NOISE"}` + "\n\n"
	messagesFrame = "event: content_block_delta\n" +
		`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"} }` + "\n\n"
	responsesFrame = "event: response.output_text.delta\n" +
		`data: {"type":"response.output_text.delta","sequence_number":NUMBER,"item_id":"msg_68a1b2c3d4e5f60718293a4b5c6d7e8f9a",` +
		`"output_index":0,"content_index":0,"delta":"TEXT","logprobs":[],"obfuscation":"NOISE"}` + "\n\n"
	geminiFrame = `data: {"candidates": [{"content": {"parts": [{"text": "TEXT and all that is in it"}],"role": "model"},"index": 0}],` +
		`"usageMetadata": {"promptTokenCount": 12,"candidatesTokenCount": NUMBER,"totalTokenCount": NUMBER,"promptTokensDetails": ` +
		`[{"modality": "TEXT","tokenCount": 12}]},"modelVersion": "gemini-2.5-flash","responseId": "abcDEF"}` + "\r\n\r\n"
)

// frames are n frames of a stream that differ as those of a model do.
func frames(frame string, n int) []byte {
	words := []string{"the", " quick", " brown", ",", " fox", "\\n\\n", " jumps", " over", " \\\"lazy\\\"", " dog", ".", " größe"}
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for i := range n {
		text := words[r.IntN(len(words))]
		b.WriteString(strings.NewReplacer(
			`"modality": "TEXT"`, `"modality": "TEXT"`, "TEXT", text,
			"NUMBER", strconv.Itoa(10+i),
			"NOISE", "aZ0bY1cX2dW3"[:12-min(len(text), 11)],
		).Replace(frame))
	}
	return []byte(b.String())
}

func BenchmarkMeter_Frame(b *testing.B) {
	const n = 1 << 10
	for _, c := range []struct {
		name  string
		op    Operation
		frame string
	}{
		{"chat", ChatCompletions, strings.Replace(chatFrame, " world", "TEXT", 1)},
		{"chat-obfuscated", ChatCompletions, chatNoisyFrame},
		{"messages", Messages, messagesFrame},
		{"responses", Responses, responsesFrame},
		{"gemini", GenerateContent, geminiFrame},
	} {
		stream := frames(c.frame, n)
		for _, size := range []int{300, 8 << 10} { // one frame at a time, as they come, and a full read
			b.Run(fmt.Sprintf("stream=%s/write=%d", c.name, size), func(b *testing.B) {
				all := pieces(stream, size)
				if size == 300 {
					all = bytes.SplitAfter(stream, []byte("\n\n"))
				}
				b.SetBytes(int64(len(stream)))
				b.ReportAllocs()
				var m Meter
				for b.Loop() {
					m.Reset(c.op, EventStream)
					for _, p := range all {
						m.Write(p)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/frame")
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
