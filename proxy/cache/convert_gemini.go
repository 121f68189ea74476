package cache

import (
	"bytes"

	"llm-auto-optimizer/proxy/provider"
)

// Gemini's contents. A stream is a list of responses, framed as events or as an array; a body is one response and may be a stream of its own.

// geminiAnswer is a response that is put together from the responses of a stream.
type geminiAnswer struct {
	top        merged
	usage      merged // usageMetadata alone: counts are of all so far, the last is right
	candidates numbered[geminiCandidate]
	chunks     int
}

type geminiCandidate struct {
	fields   merged
	content  merged
	parts    [][]byte
	told     bool // there was content
	indexed  bool
	text     bool // the last part is a text that the next may go on
	thought  bool // … a thought
	textEnds int  // … its last part's inside ends here
}

// gemini tells an answer in another framing.
func (c *Converter) gemini(dst []byte, e *Entry, want provider.Format) ([]byte, error) {
	if e.Format == provider.Plain {
		if err := c.compacted(e.Answer); err != nil {
			return dst, err
		}
		return appendFrames(dst, want, [][]byte{c.scratch}), nil
	}
	var frames [][]byte
	for ev, err := range eventsOf(&c.scanner, &c.array, e.Format, e.Answer) {
		if err != nil || ev.own {
			return dst, ErrNotConvertible
		}
		frames = append(frames, ev.data)
	}
	if want != provider.Plain {
		if e.Format == provider.JSONArray { // elements may stand on several lines
			for i := range frames {
				frames[i] = compact(nil, frames[i])
			}
		}
		return appendFrames(dst, want, frames), nil
	}
	var a geminiAnswer
	for _, frame := range frames {
		if c.tape.parse(frame) != nil || a.chunk(&c.tape) != nil {
			return dst, ErrNotConvertible
		}
	}
	if len(frames) == 0 {
		return dst, ErrNotConvertible
	}
	return a.appendTo(dst), nil
}

// appendFrames writes responses as a stream.
func appendFrames(dst []byte, f provider.Format, frames [][]byte) []byte {
	if f == provider.EventStream {
		for _, frame := range frames {
			dst = append(append(dst, "data: "...), frame...)
			dst = append(dst, "\r\n\r\n"...)
		}
		return dst
	}
	dst = append(dst, '[')
	return append(append(dst, bytes.Join(frames, []byte(",\r\n"))...), ']')
}

// chunk takes up a response of the stream.
func (a *geminiAnswer) chunk(t *tape) error {
	a.chunks++
	return t.each(0, func(name string, at int32) error {
		switch name {
		case "candidates":
			return t.elements(at, func(one int32) error { return a.candidate(t, one) })
		case "usageMetadata":
			a.usage.replace(name, t.raw(at))
			return nil
		}
		return a.top.set(name, t.raw(at))
	})
}

func (a *geminiAnswer) candidate(t *tape, at int32) error {
	number := t.member(at, "index")
	index, err := indexOf(t, number)
	if err != nil {
		return err
	}
	one := a.candidates.at(index)
	one.indexed = one.indexed || number != nowhere
	return t.each(at, func(name string, value int32) error {
		switch name {
		case "index":
			return nil
		case "content":
			one.told = true
			return t.each(value, func(name string, value int32) error {
				if name == "parts" {
					if one.content.find(name) == nil {
						_ = one.content.set(name, nil) // keeps its place
					}
					return t.elements(value, func(part int32) error { return one.part(t, part) })
				}
				return one.content.set(name, t.raw(value))
			})
		case "logprobsResult", "avgLogprobs": // of one piece
			return ErrNotConvertible
		}
		return one.fields.set(name, t.raw(value))
	})
}

// part adds a part. A text goes on with the text before it if both are thoughts or neither is, and nothing else is said of either.
func (c *geminiCandidate) part(t *tape, part int32) error {
	text, thought, plain := nowhere, false, true
	if err := t.each(part, func(name string, at int32) error {
		switch {
		case name == "text" && t.is(at, kindString):
			text = at
		case name == "thought" && string(t.raw(at)) == "true":
			thought = true
		default:
			plain = false
		}
		return nil
	}); err != nil {
		return err
	}
	plain = plain && text != nowhere
	if !plain || !c.text || c.thought != thought {
		c.parts = append(c.parts, t.raw(part))
		c.text, c.thought, c.textEnds = plain, thought, 0
		if plain { // spelled anew, so that more can follow
			raw := append([]byte(`{"text":"`), t.inside(text)...)
			c.textEnds = len(raw)
			c.parts[len(c.parts)-1] = closeText(raw, thought)
		}
		return nil
	}
	last := &c.parts[len(c.parts)-1]
	raw := append((*last)[:c.textEnds], t.inside(text)...)
	c.textEnds = len(raw)
	*last = closeText(raw, thought)
	return nil
}

func closeText(raw []byte, thought bool) []byte {
	if thought {
		return append(raw, `","thought":true}`...)
	}
	return append(raw, `"}`...)
}

// appendTo writes the answer as one response.
func (a *geminiAnswer) appendTo(dst []byte) []byte {
	dst = append(dst, '{')
	if len(a.candidates.items) > 0 {
		dst = append(appendName(dst, "candidates"), '[')
		for i, one := range a.candidates.items {
			dst = append(appendComma(dst), '{')
			if one.told {
				dst = append(one.appendContent(append(appendName(dst, "content"), '{')), '}')
			}
			dst = one.fields.appendTo(dst)
			if one.indexed {
				dst = appendCount(appendName(dst, "index"), a.candidates.index[i])
			}
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = a.usage.appendTo(dst)
	return append(a.top.appendTo(dst), '}')
}

func (c *geminiCandidate) appendContent(dst []byte) []byte {
	for i := range c.content.fields {
		f := &c.content.fields[i]
		if f.name != "parts" {
			dst = appendMember(dst, f.name, f.raw)
			continue
		}
		dst = append(appendName(dst, f.name), '[')
		for _, part := range c.parts {
			dst = append(appendComma(dst), part...)
		}
		dst = append(dst, ']')
	}
	return dst
}
