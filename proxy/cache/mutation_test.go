package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"llm-auto-optimizer/proxy/provider"
)

// questioner makes requests of every operation, and changes them.
type questioner struct{ speaker }

func (r questioner) pick(values ...any) any { return values[r.IntN(len(values))] }

func (r questioner) words() string {
	text, _ := r.text()
	return text
}

func number(format string, args ...any) json.Number { return json.Number(fmt.Sprintf(format, args...)) }

func (r questioner) schema() map[string]any {
	return map[string]any{
		"type": "object", "required": []any{"city"},
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer", "maximum": number("%d", r.IntN(9))}},
	}
}

// options adds some of what the operations share to a body.
func (r questioner) options(body map[string]any, names ...string) map[string]any {
	for _, name := range names {
		if r.IntN(2) > 0 {
			continue
		}
		switch name {
		case "user", "seed", "max_tokens":
			body[name] = r.pick(number("%d", 1+r.IntN(999)), number("%d.0", 1+r.IntN(9)))
		case "metadata", "labels":
			body[name] = map[string]any{"team": r.words()}
		case "stop":
			body[name] = r.pick(r.words(), []any{r.words(), r.words()})
		case "stream":
			body[name] = r.pick(true, false)
		default:
			body[name] = r.pick(r.words(), nil, number("0.%d", 1+r.IntN(9)), true)
		}
	}
	return body
}

func (r questioner) turns(name string, of func(role, text string) any) (out []any) {
	for i := range 1 + 2*r.IntN(3) {
		out = append(out, of([]string{"user", name}[i%2], r.words()))
	}
	return out
}

// bodies make a body of each operation.
var bodies = map[provider.Operation]func(r questioner) map[string]any{
	provider.ChatCompletions: func(r questioner) map[string]any {
		body := map[string]any{"model": "m", "temperature": number("0"), "messages": r.turns("assistant", func(role, text string) any {
			if r.IntN(3) == 0 {
				return map[string]any{"role": role, "content": []any{map[string]any{"type": "text", "text": text}, map[string]any{"type": "image_url", "image_url": map[string]any{"url": r.words()}}}}
			}
			return map[string]any{"role": role, "content": text}
		})}
		if r.IntN(2) == 0 {
			body["tools"] = []any{map[string]any{"type": "function", "function": map[string]any{"name": "f", "parameters": r.schema()}}}
		}
		return r.options(body, "user", "seed", "metadata", "stop", "stream", "max_tokens", "top_p", "safety_identifier", "logit_bias")
	},
	provider.Completions: func(r questioner) map[string]any {
		return r.options(map[string]any{"model": "m", "temperature": number("0"), "prompt": r.pick(r.words(), []any{r.words()})}, "user", "seed", "stop", "stream", "suffix")
	},
	provider.Responses: func(r questioner) map[string]any {
		body := map[string]any{"model": "m", "temperature": number("0"), "input": r.turns("assistant", func(role, text string) any { return map[string]any{"role": role, "content": text} })}
		return r.options(body, "user", "metadata", "stream", "instructions", "max_output_tokens", "prompt_cache_key")
	},
	provider.Messages: func(r questioner) map[string]any {
		body := map[string]any{"model": "m", "temperature": number("0"), "max_tokens": number("100"), "messages": r.turns("assistant", func(role, text string) any {
			return map[string]any{"role": role, "content": []any{map[string]any{"type": "text", "text": text}}}
		})}
		if r.IntN(2) == 0 {
			body["tools"] = []any{map[string]any{"name": "f", "input_schema": r.schema()}}
		}
		return r.options(body, "metadata", "stream", "system", "stop_sequences", "top_k")
	},
	provider.GenerateContent: func(r questioner) map[string]any {
		return r.options(map[string]any{
			"generationConfig": r.options(map[string]any{"temperature": number("0")}, "seed", "max_tokens", "topP"),
			"contents": r.turns("model", func(role, text string) any {
				return map[string]any{"role": role, "parts": []any{map[string]any{"text": text}}}
			}),
		}, "labels", "cachedContent")
	},
	provider.Embeddings: func(r questioner) map[string]any {
		return r.options(map[string]any{"model": "m", "input": r.pick(r.words(), []any{r.words(), r.words()}, []any{number("%d", r.IntN(99)), number("17")})}, "user", "dimensions")
	},
}

// unheard are the members of each operation that do not change its answer, stated apart from the reader's own table.
var unheard = map[provider.Operation]map[string]bool{
	provider.ChatCompletions: {"stream": true, "user": true, "metadata": true, "safety_identifier": true},
	provider.Completions:     {"stream": true, "user": true},
	provider.Responses:       {"stream": true},
	provider.Messages:        {"stream": true, "metadata": true},
	provider.GenerateContent: {"labels": true},
	provider.Embeddings:      {"user": true},
}

// meaning is what a body asks, in a form of its own.
func meaning(op provider.Operation, body map[string]any) string {
	heard := maps.Clone(body)
	maps.DeleteFunc(heard, func(name string, _ any) bool { return unheard[op][name] })
	return op.String() + quote(heard) // which sorts members
}

// mutate changes one thing somewhere in a value.
func (r questioner) mutate(v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		if len(names) == 0 || r.IntN(8) == 0 {
			v[r.words()] = r.pick(nil, true, "x", number("1"))
			return v
		}
		name := names[r.IntN(len(names))]
		switch r.IntN(10) {
		case 0:
			delete(v, name)
		case 1:
			v[name+"_"] = v[name]
			delete(v, name)
		default:
			v[name] = r.mutate(v[name])
		}
		return v
	case []any:
		i := r.IntN(len(v) + 1)
		if i == len(v) {
			return append(v, r.pick("x", nil, number("2")))
		}
		switch r.IntN(6) {
		case 0:
			return slices.Delete(v, i, i+1)
		case 1:
			v[0], v[i] = v[i], v[0]
		default:
			v[i] = r.mutate(v[i])
		}
		return v
	case string:
		runes := []rune(v)
		switch at := r.IntN(len(runes) + 1); {
		case at == len(runes):
			return v + string(rune('a'+r.IntN(26)))
		case r.IntN(2) == 0:
			return string(slices.Delete(runes, at, at+1))
		default:
			runes[at]++
			return string(runes)
		}
	case json.Number:
		return r.pick(number("%d", r.IntN(99)), number("%d.%d", r.IntN(3), r.IntN(99)), number("-%d", r.IntN(99)), number("1e%d", r.IntN(9)), string(v))
	case bool:
		return !v
	}
	return r.pick("", false, number("0"), map[string]any{}, []any{})
}

// No two requests that ask something else share a key, and all that ask the same have one, however they are spelled: of thousands of generated requests of
// every operation, and of what becomes of them when something is changed.
func TestReader_KeysAreOfMeanings(t *testing.T) {
	t.Parallel()
	rounds := 1000
	if testing.Short() || raceEnabled {
		rounds = 100
	}
	for op, make := range bodies {
		t.Run(op.String(), func(t *testing.T) {
			t.Parallel()
			r := questioner{speaker{rand.New(rand.NewPCG(uint64(op), 7))}}
			var reader Reader
			keys, meanings := map[string]Key{}, map[Key]string{}
			changed := 0
			read := func(body map[string]any) (what string) {
				var doc bytes.Buffer
				respell(&doc, body, r.Rand)
				q := chatQuestion(doc.String())
				q.Operation, q.Model, q.Path = op, []byte("m"), []byte("/p")
				key, v := reader.Read(q)
				if v.Grade < Variable {
					if key != (Key{}) {
						t.Fatalf("a key of what is %+v: %s", v, doc.Bytes())
					}
					return ""
				}
				what = meaning(op, body)
				if known, asked := keys[what]; asked && known != key {
					t.Fatalf("two keys of\n%s\nthe last spelled %s", what, doc.Bytes())
				}
				if other, taken := meanings[key]; taken && other != what {
					t.Fatalf("one key of\n%s\nand\n%s", what, other)
				}
				keys[what], meanings[key] = key, what
				return what
			}
			for range rounds {
				body := make(r)
				before := read(body)
				read(body)
				for range 4 {
					body, _ = r.mutate(body).(map[string]any)
					after := read(body)
					if before != after {
						changed++
					}
					before = after
				}
			}
			if len(keys) < 2*rounds || changed < 2*rounds {
				t.Errorf("the test has not tested: %d keys, %d changes of meaning in %d rounds", len(keys), changed, rounds)
			}
		})
	}
}
