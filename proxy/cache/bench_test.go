package cache

import (
	"fmt"
	"strings"
	"testing"
)

// promptBody is a chat request of about n bytes: a system prompt, turns with escapes and letters beyond ASCII, and a tool.
func promptBody(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"gpt-4o","temperature":0,"tools":[{"type":"function","function":{"name":"weather","parameters":` +
		`{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}}}],"messages":[{"role":"system","content":"Be brief."}`)
	const turn = `,{"role":"user","content":"Where does the \"Rhône\" rise,\nand how long is it? Answer in one line, please, with the source of what you say."}`
	for b.Len() < n-len(turn) {
		b.WriteString(turn)
	}
	b.WriteString(`],"max_tokens":100,"user":"u-1"}`)
	return []byte(b.String())
}

func BenchmarkReader_Read(b *testing.B) {
	for _, n := range []int{1 << 10, 32 << 10, 256 << 10} {
		q := chatQuestion(string(promptBody(n)))
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			var r Reader
			b.ReportAllocs()
			b.SetBytes(int64(len(q.Body)))
			for b.Loop() {
				if _, v := r.Read(q); v.Grade != Deterministic {
					b.Fatal(v)
				}
			}
		})
	}
}
