package provider

import "bytes"

// MaxBreakpoints is how many places of a request Anthropic lets be marked for its prompt cache.
const MaxBreakpoints = 4

// Breakpoints are the places of a request to Anthropic that are to be marked for its prompt cache. The prompt up to a mark is written once and read by
// later requests that begin alike. The zero value marks nothing.
type Breakpoints struct {
	at   [MaxBreakpoints]breakpoint // in the order of the prompt
	n    int
	hour bool // what is written lives for an hour, not for five minutes
}

// Len is the number of marks.
func (b *Breakpoints) Len() int { return b.n }

// breakpoint is a block that is to be marked.
type breakpoint struct {
	span      // the string that becomes a block, or the place before the closing brace of an object
	wrap bool // it is a string
}

// FindBreakpoints tells where to mark a request for messages. minimum is the number of tokens below which the model caches nothing; hour asks for the
// longer of the two lifetimes.
//
// Marked are the last tool, the last block of the system prompt and, where the conversation is likely to go on, because a turn of the model has gone
// before or there are tools to call, the last block of the last user message and of the one before the model's last turn: that is where the request
// before this one had its last mark, so that what it wrote is found however many blocks the turn has added. Where a block may not be marked the one
// before it is: a text that is empty, a thought, a tool whose definition is loaded on demand, or a kind that is not known.
//
// It marks nothing in a request that speaks of cache_control itself, which has a layout of its own, in one whose prompt is estimated to be shorter
// than minimum, and in one that is not built as the API demands: that is for the provider to refuse.
//
// The body is passed once and nothing is allocated, unless a key or a kind is spelled with escapes.
func FindBreakpoints(body []byte, minimum int64, hour bool) Breakpoints {
	s := promptScanner{scanner: scanner{body: body}}
	if int64(len(body))/bytesPerToken < minimum || !s.prompt() {
		return Breakpoints{}
	}
	b := Breakpoints{hour: hour}
	b.add(s.tools, s.tools.end-s.toolsAt, minimum)
	ahead := s.toolsLen
	b.add(s.system, ahead+s.system.end-s.systemAt, minimum)
	ahead += s.systemLen
	if s.answered || s.tools.found() {
		b.add(s.earlier, ahead+s.earlier.end-s.messagesAt, minimum)
		b.add(s.last, ahead+s.last.end-s.messagesAt, minimum)
	}
	return b
}

// bytesPerToken is a usual ratio. Where there are fewer bytes to a token, a prompt near the minimum goes unmarked; where there are more, as in images,
// the provider ignores a mark on what is too short.
const bytesPerToken = 4

// add takes a place, of whose prefix that many bytes are known, unless there is none or the prefix is too short.
func (b *Breakpoints) add(at breakpoint, prefix int, minimum int64) {
	if at.found() && int64(prefix)/bytesPerToken >= minimum {
		b.at[b.n] = at
		b.n++
	}
}

// appendTo appends body[at.start:at.end] with the mark. It becomes a block if it is a string.
func (b *Breakpoints) appendTo(dst, body []byte, at breakpoint) []byte {
	if at.wrap {
		dst = append(append(dst, `[{"type":"text","text":`...), body[at.start:at.end]...)
	}
	dst = append(dst, `,"cache_control":{"type":"ephemeral"`...)
	if b.hour {
		dst = append(dst, `,"ttl":"1h"`...)
	}
	dst = append(dst, "}"...)
	if at.wrap {
		dst = append(dst, "}]"...)
	}
	return dst
}

// MinCachedTokens is the shortest prompt that a model of Anthropic keeps in its prompt cache, as far as its documentation says; for models that are
// not known, what most have.
func MinCachedTokens(model []byte) int64 {
	for i := range minCached {
		if m := &minCached[i]; bytes.Contains(model, m.name) {
			return m.tokens
		}
	}
	return 1024
}

// minCached lists the models that do not cache from 1024 tokens on, by a part of their names.
var minCached = [...]struct {
	name   []byte
	tokens int64
}{
	{[]byte("opus-5"), 512}, {[]byte("fable-5"), 512}, {[]byte("mythos-5"), 512},
	{[]byte("opus-4-7"), 2048}, {[]byte("opus-4.7"), 2048}, {[]byte("mythos-preview"), 2048},
	{[]byte("3-5-haiku"), 2048}, {[]byte("3.5-haiku"), 2048}, {[]byte("haiku-3-5"), 2048}, {[]byte("3-haiku"), 2048},
	{[]byte("opus-4-5"), 4096}, {[]byte("opus-4.5"), 4096}, {[]byte("opus-4-6"), 4096}, {[]byte("opus-4.6"), 4096},
	{[]byte("haiku-4-5"), 4096}, {[]byte("haiku-4.5"), 4096},
}
