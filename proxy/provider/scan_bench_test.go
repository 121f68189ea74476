package provider

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// requestOf builds a request body of about size bytes for op. mix says what fills it: prose, code (escaped
// line ends and quotes), escapes (little else), unicode, image (base64 in a content part) or tools (schemas).
func requestOf(op Operation, mix string, size int, rng *rand.Rand) []byte {
	fill := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			switch mix {
			case "code":
				b.WriteString([]string{`\tif err != nil {\n\t\treturn fmt.Errorf(\"open %s: %w\", name, err)\n\t}\n`,
					`// A line of comment that says something.\n`, `\tfor i := range xs {\n\t\ttotal += xs[i]\n\t}\n`}[rng.IntN(3)])
			case "escapes":
				b.WriteString([]string{`if (x == \"y\") {\n\t`, `{\"k\":\"v\\n\"},`, `C:\\dir\\`, `plain words `}[rng.IntN(4)])
			case "unicode":
				b.WriteString([]string{"größer ", "日本語の文 ", "🙂 ", `\u00e9t\u00e9 `}[rng.IntN(4)])
			default:
				b.WriteString([]string{"The quick brown fox ", "jumps over ", "the lazy dog. "}[rng.IntN(3)])
			}
		}
		return b.String()
	}
	tools := func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"type":"function","function":{"name":"tool_%d","description":"Looks up every record that `+
				`matches the query, newest first. Use it before you answer a question about an order.",`+
				`"parameters":{"type":"object","properties":{"id":{"type":"integer","minimum":%d},"name":{"type":"string"}},`+
				`"required":["id","name"]}}}`, i, rng.IntN(100))
		}
		return b.String()
	}
	user := `"` + fill(size*3/4) + `"`
	extra := ""
	switch mix {
	case "image":
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		data := make([]byte, size*3/4)
		for i := range data {
			data[i] = alphabet[rng.IntN(len(alphabet))]
		}
		user = `[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` +
			string(data) + `"}}]`
	case "tools":
		user = `"Use the tools."`
		extra = `,"tools":[` + tools(size*3/4) + `]`
	}
	system := fill(size / 8)
	switch op {
	case Messages:
		return []byte(`{"model":"claude-sonnet-4-5","max_tokens":1024,"system":"` + system +
			`","messages":[{"role":"user","content":` + user + `},{"role":"assistant","content":"` + fill(size/8) +
			`"}]` + extra + `,"stream":true}`)
	case Responses:
		return []byte(`{"model":"gpt-5.1","instructions":"` + system + `","input":[{"role":"user","content":` + user +
			`}],"max_output_tokens":500` + extra + `,"stream":true}`)
	case GenerateContent:
		return []byte(`{"systemInstruction":{"parts":[{"text":"` + system + `"}]},"contents":[{"role":"user","parts":[{"text":` +
			`"` + fill(size*3/4) + `"}]}],"generationConfig":{"maxOutputTokens":500,"temperature":0.5}` + extra + `}`)
	}
	return []byte(`{"model":"gpt-4o-mini","messages":[{"role":"system","content":"` + system +
		`"},{"role":"user","content":` + user + `}],"temperature":0.7,"max_tokens":500` + extra + `,"stream":true}`)
}

func BenchmarkScan(b *testing.B) {
	for _, op := range []Operation{ChatCompletions, Messages, Responses, GenerateContent} {
		for _, size := range []int{1 << 10, 32 << 10} {
			for _, mix := range []string{"prose", "code", "escapes", "unicode", "image", "tools"} {
				if op != ChatCompletions && mix != "prose" && mix != "tools" {
					continue
				}
				rng := rand.New(rand.NewPCG(1, 2))
				var bodies [][]byte
				for range 16 {
					bodies = append(bodies, requestOf(op, mix, size*3/4+rng.IntN(size/2), rng))
				}
				path := []byte("/v1beta/models/gemini-2.5-flash:streamGenerateContent")
				b.Run(fmt.Sprintf("op=%v/size=%dKB/mix=%s", op, size>>10, mix), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						if r := Scan(op, path, bodies[i%len(bodies)]); !r.Valid {
							b.Fatal("the body is not valid")
						}
					}
				})
			}
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	for _, size := range []int{1 << 10, 32 << 10} {
		body := requestOf(ChatCompletions, "prose", size, rand.New(rand.NewPCG(1, 2)))
		r := Scan(ChatCompletions, nil, body)
		var dst []byte
		b.Run(fmt.Sprintf("op=chat/size=%dKB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = Rewrite(dst[:0], body, &r, Edits{Model: "gpt-4o", IncludeUsage: true})
			}
		})
	}
}
