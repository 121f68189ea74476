package cache

import (
	"math/rand/v2"
	"strings"
	"testing"

	"llm-auto-optimizer/proxy/provider"
)

// In whatever form an answer is stored, it says the same, and two that were made apart do not.
func TestComparer_KnowsAnswersInEveryForm(t *testing.T) {
	t.Parallel()
	for name, speak := range speakers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := speaker{rand.New(rand.NewPCG(3, 4))}
			var c Comparer
			differ, last := 0, (*Entry)(nil)
			const rounds = 200
			for range rounds {
				s := speak(r)
				plain := &Entry{Operation: s.op, Format: provider.Plain, Answer: []byte(s.body)}
				forms := []*Entry{plain, {Operation: s.op, Format: provider.EventStream, Asked: true, Answer: []byte(s.stream)}}
				if s.usageless != "" {
					forms = append(forms, &Entry{Operation: s.op, Format: provider.EventStream, Answer: []byte(s.usageless)})
				}
				if s.arr != "" {
					forms = append(forms, &Entry{Operation: s.op, Format: provider.JSONArray, Answer: []byte(s.arr)})
				}
				for _, e := range forms {
					if same, known := c.Same(plain, e); !same || !known {
						t.Fatalf("same %t, known %t:\n%s\n%s", same, known, plain.Answer, e.Answer)
					}
				}
				if last != nil {
					if same, known := c.Same(last, plain); known && !same {
						differ++
					}
				}
				last = plain
				c.Release()
			}
			if differ < rounds*9/10 {
				t.Errorf("%d of %d others differ", differ, rounds)
			}
		})
	}
}

func TestComparer_WhatCounts(t *testing.T) {
	t.Parallel()
	var c Comparer
	check := func(op provider.Operation, answer, from, to string, want bool) {
		t.Helper()
		other := strings.ReplaceAll(answer, from, to)
		if other == answer {
			t.Fatalf("%s has no %s", answer, from)
		}
		a, b := &Entry{Operation: op, Format: provider.Plain, Answer: []byte(answer)}, &Entry{Operation: op, Format: provider.Plain, Answer: []byte(other)}
		if same, known := c.Same(a, b); same != want || !known {
			t.Errorf("%s as %s: same %t, known %t", from, to, same, known)
		}
	}
	chat := `{"id":"c1","created":1,"model":"m-1","system_fingerprint":"f","choices":[{"index":0,"message":{"role":"assistant","content":"caf\u00e9","reasoning_content":"hm",` +
		`"tool_calls":[{"id":"t1","type":"function","function":{"name":"find","arguments":"{\"id\":1}"}}]},"finish_reason":"stop"}],"usage":{"total_tokens":3}}`
	for _, same := range [][2]string{
		{`"c1"`, `"c2"`}, {`"created":1`, `"created":2`}, {`"m-1"`, `"m-2"`}, {`"f"`, `"g"`}, {`"hm"`, `"so"`}, {`"t1"`, `"t2"`}, {`"total_tokens":3`, `"total_tokens":4`},
		{`caf\u00e9`, `café`},
	} {
		check(provider.ChatCompletions, chat, same[0], same[1], true)
	}
	for _, other := range [][2]string{{`caf\u00e9`, `cafe`}, {`"find"`, `"seek"`}, {`\"id\":1`, `\"id\":2`}, {`"stop"`, `"length"`}} {
		check(provider.ChatCompletions, chat, other[0], other[1], false)
	}
	message := `{"id":"m","content":[{"type":"thinking","thinking":"a","signature":"s"},{"type":"text","text":"b"},{"type":"tool_use","id":"t","name":"n","input":{"id":"u","v":1}}],"stop_reason":"tool_use"}`
	check(provider.Messages, message, `"a"`, `"x"`, true)
	check(provider.Messages, message, `"id":"t"`, `"id":"x"`, true)
	check(provider.Messages, message, `"b"`, `"x"`, false)
	check(provider.Messages, message, `{"id":"u","v":1}`, `{"v": 1, "id":"u"}`, true)
	check(provider.Messages, message, `"id":"u"`, `"id":"x"`, false)
	gemini := `{"candidates":[{"content":{"parts":[{"text":"h","thought":true},{"text":"ab"},{"functionCall":{"id":"i","name":"n","args":{"a":1}}}]},"finishReason":"STOP"}],"responseId":"r"}`
	check(provider.GenerateContent, gemini, `"h"`, `"x"`, true)
	check(provider.GenerateContent, gemini, `{"text":"ab"}`, `{"text":"a"},{"text":"b"}`, true)
	check(provider.GenerateContent, gemini, `"id":"i"`, `"id":"x"`, true)
	check(provider.GenerateContent, gemini, `"a":1`, `"a":2`, false)
	check(provider.GenerateContent, gemini, `"STOP"`, `"SAFETY"`, false)
	vectors := `{"data":[{"index":0,"embedding":[0.5,-0.25]}],"usage":{"total_tokens":2}}`
	check(provider.Embeddings, vectors, `0.5`, `0.5000004`, true)
	check(provider.Embeddings, vectors, `0.5`, `0.500004`, false)
	check(provider.Embeddings, vectors, `[0.5,-0.25]`, `"AAAAPwAAgL4="`, true)
	check(provider.Embeddings, vectors, `[0.5,-0.25]`, `[0.5,-0.25,0]`, false)
	check(provider.EmbedContent, `{"embedding":{"values":[1,2]}}`, `2`, `3`, false)
}

func TestComparer_WhatItCannotRead(t *testing.T) {
	t.Parallel()
	var c Comparer
	good := &Entry{Operation: provider.ChatCompletions, Format: provider.Plain, Answer: []byte(`{"choices":[]}`)}
	for _, bad := range []*Entry{
		{Operation: provider.Completions, Format: provider.Plain, Answer: good.Answer},
		{Operation: provider.ChatCompletions, Format: provider.Plain, Answer: []byte(`{`)},
		{Operation: provider.ChatCompletions, Format: provider.Plain, Answer: []byte(`{}`)},
		{Operation: provider.ChatCompletions, Format: provider.EventStream, Answer: []byte("data: x\n\n")},
	} {
		if same, known := c.Same(good, bad); same || known {
			t.Errorf("%s: same %t, known %t", bad.Answer, same, known)
		}
	}
	number := &Entry{Operation: provider.Embeddings, Format: provider.Plain, Answer: []byte(`{"data":[{"embedding":["a"]}]}`)}
	if _, known := c.Same(number, number); known {
		t.Error("a vector of texts is known")
	}
}
