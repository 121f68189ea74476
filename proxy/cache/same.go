package cache

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"llm-auto-optimizer/proxy/provider"
)

// Comparer tells whether two answers to the same question say the same. It is meant to be pooled; the zero value is ready to use. It is not safe for
// concurrent use.
type Comparer struct {
	converter Converter
	tape      tape
	body      []byte
	said      [2]said
}

// said is what counts of an answer: what it says, calls and ends with, or its vectors.
type said struct {
	text    []byte
	vectors []float64
}

// nearVectors is how far the numbers of two vectors may be apart that say the same: providers do not compute to the last digit.
const nearVectors = 1e-6

// Release lets go of what was read and of memory that has grown too large.
func (c *Comparer) Release() {
	c.converter.Release()
	c.tape.reset()
	if c.body = c.body[:0]; cap(c.body) > idleSize {
		c.body = nil
	}
	for i := range c.said {
		s := &c.said[i]
		if s.text, s.vectors = s.text[:0], s.vectors[:0]; cap(s.text) > idleSize || cap(s.vectors) > idleSize {
			*s = said{}
		}
	}
}

// Same compares the texts, the calls of tools and the reasons to end, in whatever form the answers are stored; of embeddings the vectors, to a millionth. Ids, times,
// usage, the name of the model and what was thought before the answer do not count. known is false where an answer can't be read so.
func (c *Comparer) Same(a, b *Entry) (same, known bool) {
	if a.Operation != b.Operation || !c.read(&c.said[0], a) || !c.read(&c.said[1], b) {
		return false, false
	}
	x, y := &c.said[0], &c.said[1]
	if !bytes.Equal(x.text, y.text) || len(x.vectors) != len(y.vectors) {
		return false, true
	}
	for i, v := range x.vectors {
		if !(math.Abs(v-y.vectors[i]) <= nearVectors) {
			return false, true
		}
	}
	return true, true
}

// read finds out what an answer says.
func (c *Comparer) read(s *said, e *Entry) bool {
	s.text, s.vectors = s.text[:0], s.vectors[:0]
	body := e.Answer
	if e.Format != provider.Plain {
		var err error
		if c.body, err = c.converter.Append(c.body[:0], e, Form{Format: provider.Plain, IncludeUsage: true}); err != nil {
			return false
		}
		body = c.body
	}
	t := &c.tape
	if t.parse(body) != nil || !t.is(0, kindObject) {
		return false
	}
	switch e.Operation {
	case provider.ChatCompletions, provider.Completions:
		return t.elements(t.member(0, "choices"), func(at int32) error { return s.choice(t, at) }) == nil
	case provider.Responses:
		s.value(t, t.member(0, "status"))
		return t.elements(t.member(0, "output"), func(at int32) error { return s.item(t, at) }) == nil
	case provider.Messages:
		err := t.elements(t.member(0, "content"), func(at int32) error { return s.block(t, at) })
		s.value(t, t.member(0, "stop_reason"))
		return err == nil
	case provider.GenerateContent:
		return t.elements(t.member(0, "candidates"), func(at int32) error { return s.candidate(t, at) }) == nil
	case provider.Embeddings:
		return t.elements(t.member(0, "data"), func(at int32) error { return s.vector(t, t.member(at, "embedding")) }) == nil
	case provider.EmbedContent:
		if one := t.member(0, "embedding"); one != nowhere {
			return s.vector(t, t.member(one, "values")) == nil
		}
		return t.elements(t.member(0, "embeddings"), func(at int32) error { return s.vector(t, t.member(at, "values")) }) == nil
	}
	return false
}

// mark parts what is said from what follows; no text holds it.
func (s *said) mark(what string) { s.text = append(append(append(s.text, 0), what...), 0) }

// words adds text, which goes on where the last one ended: in how many pieces it comes does not count.
func (s *said) words(t *tape, at int32) { s.text = appendCanonical(s.text, t.inside(at)) }

// value adds a value in its canonical form; nothing for none.
func (s *said) value(t *tape, at int32) {
	s.mark("")
	if t.isNull(at) {
		return
	}
	c := canon{tape: t, buf: s.text}
	c.value(at)
	s.text = c.buf
}

// choice is one of OpenAI's.
func (s *said) choice(t *tape, at int32) error {
	s.mark("choice")
	m := t.member(at, "message")
	if m == nowhere {
		s.words(t, t.member(at, "text"))
	}
	s.value(t, t.member(m, "content"))
	s.value(t, t.member(m, "refusal"))
	s.value(t, t.member(m, "function_call"))
	if calls := t.member(m, "tool_calls"); !t.isNull(calls) {
		if err := t.elements(calls, func(e int32) error {
			s.mark("call")
			s.value(t, t.member(e, "function"))
			s.value(t, t.member(e, "custom"))
			return nil
		}); err != nil {
			return err
		}
	}
	s.value(t, t.member(at, "finish_reason"))
	return nil
}

// item is one of the output of OpenAI's responses.
func (s *said) item(t *tape, at int32) error {
	kind := t.member(at, "type")
	switch string(t.inside(kind)) {
	case "reasoning":
		return nil
	case "message":
		s.mark("message")
		return t.elements(t.member(at, "content"), func(e int32) error {
			s.words(t, t.member(e, "text"))
			s.words(t, t.member(e, "refusal"))
			return nil
		})
	}
	s.value(t, kind)
	for _, name := range [...]string{"name", "arguments", "input", "action", "result"} {
		s.value(t, t.member(at, name))
	}
	return nil
}

// block is one of Anthropic's.
func (s *said) block(t *tape, at int32) error {
	switch kind := t.member(at, "type"); string(t.inside(kind)) {
	case "thinking", "redacted_thinking":
	case "text":
		s.words(t, t.member(at, "text"))
	default:
		s.value(t, kind)
		for _, name := range [...]string{"name", "input", "content"} {
			s.value(t, t.member(at, name))
		}
	}
	return nil
}

// candidate is one of Gemini's.
func (s *said) candidate(t *tape, at int32) error {
	s.mark("candidate")
	if parts := t.member(t.member(at, "content"), "parts"); !t.isNull(parts) {
		if err := t.elements(parts, func(e int32) error {
			text := t.member(e, "text")
			switch thought := t.member(e, "thought"); {
			case thought != nowhere && isTrue(t, thought):
			case text != nowhere:
				s.words(t, text)
			default:
				for _, name := range [...]string{"functionCall", "inlineData", "executableCode", "codeExecutionResult"} {
					call := t.member(e, name)
					if t.is(call, kindObject) && name == "functionCall" { // it may have an id
						s.value(t, t.member(call, "name"))
						s.value(t, t.member(call, "args"))
						continue
					}
					s.value(t, call)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	s.value(t, t.member(at, "finishReason"))
	return nil
}

// vector is an embedding: numbers, or their base64.
func (s *said) vector(t *tape, at int32) error {
	s.mark("vector")
	if t.is(at, kindString) {
		raw, err := base64.StdEncoding.AppendDecode(nil, appendCanonical(nil, t.inside(at)))
		if err != nil || len(raw)%4 != 0 {
			return ErrNotConvertible
		}
		for ; len(raw) > 0; raw = raw[4:] {
			s.vectors = append(s.vectors, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		}
		return nil
	}
	return t.elements(at, func(e int32) error {
		v, err := strconv.ParseFloat(string(t.raw(e)), 64)
		if err != nil {
			return ErrNotConvertible
		}
		s.vectors = append(s.vectors, v)
		return nil
	})
}
