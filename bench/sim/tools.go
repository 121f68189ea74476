package sim

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// tool is a function the request offers.
type tool struct {
	name       string
	parameters gjson.Result // JSON schema
}

// callTools decides which tools are called. Without a forced choice a model calls tools when it is asked by a user and
// answers in text when it has just been given results, so that the usual loop of an agent ends.
func (x *exchange) callTools(tools []tool, forced string, none, answered bool) []call {
	if len(tools) == 0 || none || answered && forced == "" {
		return nil
	}
	n := x.d.calls.or(1)
	calls := make([]call, 0, n)
	for i := range n {
		t := tools[i%len(tools)]
		for _, candidate := range tools {
			if candidate.name == forced {
				t = candidate
			}
		}
		calls = append(calls, call{name: t.name, arguments: string(appendExample(nil, t.parameters, x.hash, 0))})
	}
	return calls
}

// maxSchemaDepth ends recursive schemas.
const maxSchemaDepth = 8

// appendExample appends a value that fits a JSON schema, as far as simple schemas go.
func appendExample(dst []byte, schema gjson.Result, seed uint64, depth int) []byte {
	if first := schema.Get("enum.0"); first.Exists() {
		return append(dst, first.Raw...)
	}
	kind := schema.Get("type")
	if kind.IsArray() {
		kind = kind.Get("0")
	}
	switch strings.ToLower(kind.Str) { // Gemini writes them in capitals
	case "string":
		return appendQuoted(dst, strings.TrimSpace(word(seed, depth))+" value")
	case "integer":
		return strconv.AppendUint(dst, seed%100, 10)
	case "number":
		return append(strconv.AppendUint(dst, seed%100, 10), ".5"...)
	case "boolean":
		return append(dst, "true"...)
	case "array":
		if depth >= maxSchemaDepth {
			return append(dst, "[]"...)
		}
		dst = appendExample(append(dst, '['), schema.Get("items"), seed, depth+1)
		return append(dst, ']')
	case "null":
		return append(dst, "null"...)
	}
	return appendExampleObject(dst, schema, seed, depth)
}

func appendExampleObject(dst []byte, schema gjson.Result, seed uint64, depth int) []byte {
	dst = append(dst, '{')
	first := true
	if depth < maxSchemaDepth {
		schema.Get("properties").ForEach(func(name, property gjson.Result) bool {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, name.Raw...)
			dst = append(dst, ':')
			dst = appendExample(dst, property, seed+uint64(len(dst)), depth+1)
			return true
		})
	}
	return append(dst, '}')
}

// pieces cuts the arguments of a call the way they are streamed: every piece about so many tokens, whole characters.
func (c *call) pieces(tokens int) []string {
	var out []string
	rest, size := c.arguments, max(1, tokens)*bytesPerToken
	for len(rest) > size {
		n := size
		for n < len(rest) && rest[n]&0xc0 == 0x80 { // do not part a character
			n++
		}
		out = append(out, rest[:n])
		rest = rest[n:]
	}
	return append(out, rest)
}
