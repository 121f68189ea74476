package cache

import "llm-auto-optimizer/proxy/provider"

// OpenAI's chat completions and completions: chunks with the deltas of choices, a chunk for the usage, [DONE].

const (
	chatObject  = `"chat.completion"`
	chunkObject = `"chat.completion.chunk"`
	textObject  = `"text_completion"`
)

// chatAnswer is an answer that is put together from chunks.
type chatAnswer struct {
	top     merged
	usage   []byte
	choices numbered[chatChoice]
}

type chatChoice struct {
	fields  merged
	message merged
	call    merged // function_call of older APIs
	calls   numbered[chatCall]
}

type chatCall struct {
	fields merged
	inner  merged
	kind   string // function or custom: the name of the member that inner is
}

// chatBody tells a stream of chunks as one body.
func (c *Converter) chatBody(dst []byte, e *Entry) ([]byte, error) {
	var a chatAnswer
	ended := false
	for ev, err := range eventsOf(&c.scanner, &c.array, e.Format, e.Answer) {
		if err != nil || ev.own || ended {
			return dst, ErrNotConvertible
		}
		if ended = string(ev.data) == done; ended {
			continue
		}
		if c.tape.parse(ev.data) != nil || a.chunk(&c.tape, e.Operation) != nil {
			return dst, ErrNotConvertible
		}
	}
	if !ended || len(a.choices.items) == 0 {
		return dst, ErrNotConvertible
	}
	return a.appendTo(dst, e.Operation), nil
}

// chunk takes up a chunk.
func (a *chatAnswer) chunk(t *tape, op provider.Operation) error {
	return t.each(0, func(name string, at int32) error {
		switch name {
		case "choices":
			return t.elements(at, func(choice int32) error { return a.choice(t, choice, op) })
		case "usage":
			if !t.isNull(at) {
				a.usage = t.raw(at)
			}
			return nil
		case "obfuscation": // padding
			return nil
		case "object":
			switch {
			case op == provider.ChatCompletions && string(t.raw(at)) == chunkObject:
				return a.top.set(name, []byte(chatObject))
			case op == provider.Completions && string(t.raw(at)) == textObject:
				return a.top.set(name, []byte(textObject))
			}
			return ErrNotConvertible
		}
		return a.top.set(name, t.raw(at))
	})
}

func (a *chatAnswer) choice(t *tape, at int32, op provider.Operation) error {
	index, err := indexOf(t, t.member(at, "index"))
	if err != nil {
		return err
	}
	one := a.choices.at(index)
	return t.each(at, func(name string, value int32) error {
		switch {
		case name == "index":
			return nil
		case name == "delta" && op == provider.ChatCompletions:
			return t.each(value, func(name string, value int32) error { return one.delta(t, name, value) })
		case name == "text" && op == provider.Completions:
			return one.fields.grow(name, t, value)
		case name == "logprobs" && !t.isNull(value), name == "message":
			return ErrNotConvertible
		}
		return one.fields.set(name, t.raw(value))
	})
}

// delta takes up a member of a delta.
func (c *chatChoice) delta(t *tape, name string, at int32) error {
	switch name {
	case "content", "refusal", "reasoning_content", "reasoning":
		return c.message.grow(name, t, at)
	case "tool_calls":
		if t.isNull(at) {
			return nil
		}
		return t.elements(at, func(call int32) error { return c.toolCall(t, call) })
	case "function_call":
		if t.isNull(at) {
			return nil
		}
		return t.each(at, func(name string, value int32) error {
			if name == "arguments" {
				return c.call.grow(name, t, value)
			}
			return c.call.set(name, t.raw(value))
		})
	case "audio":
		if !t.isNull(at) {
			return ErrNotConvertible
		}
	}
	return c.message.set(name, t.raw(at))
}

func (c *chatChoice) toolCall(t *tape, at int32) error {
	index := t.member(at, "index")
	if index == nowhere {
		return ErrNotConvertible
	}
	n, err := indexOf(t, index)
	if err != nil {
		return err
	}
	call := c.calls.at(n)
	return t.each(at, func(name string, value int32) error {
		switch name {
		case "index":
			return nil
		case "function", "custom":
			if call.kind != "" && call.kind != name {
				return ErrNotConvertible
			}
			call.kind = name
			return t.each(value, func(name string, value int32) error {
				if name == "arguments" || name == "input" {
					return call.inner.grow(name, t, value)
				}
				return call.inner.set(name, t.raw(value))
			})
		}
		return call.fields.set(name, t.raw(value))
	})
}

// appendTo writes the answer as one body.
func (a *chatAnswer) appendTo(dst []byte, op provider.Operation) []byte {
	dst = a.top.appendTo(append(dst, '{'))
	dst = append(appendName(dst, "choices"), '[')
	for i, one := range a.choices.items {
		dst = append(appendComma(dst), '{')
		dst = appendCount(appendName(dst, "index"), a.choices.index[i])
		if op == provider.ChatCompletions {
			dst = one.appendMessage(append(appendName(dst, "message"), '{'))
			dst = append(dst, '}')
		}
		dst = append(one.fields.appendTo(dst), '}')
	}
	dst = append(dst, ']')
	if a.usage != nil {
		dst = appendMember(dst, "usage", a.usage)
	}
	return append(dst, '}')
}

// appendMessage writes the members of a message. What every message has stands there though the deltas had no word of it.
func (c *chatChoice) appendMessage(dst []byte) []byte {
	if c.message.find("role") == nil {
		dst = appendMember(dst, "role", []byte(`"assistant"`))
	}
	dst = c.message.appendTo(dst)
	if c.message.find("content") == nil {
		dst = appendMember(dst, "content", []byte("null"))
	}
	if len(c.calls.items) > 0 {
		dst = append(appendName(dst, "tool_calls"), '[')
		for _, call := range c.calls.items {
			dst = call.fields.appendTo(append(appendComma(dst), '{'))
			if call.kind != "" {
				dst = append(call.inner.appendTo(append(appendName(dst, call.kind), '{')), '}')
			}
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	if len(c.call.fields) > 0 {
		dst = append(c.call.appendTo(append(appendName(dst, "function_call"), '{')), '}')
	}
	// Servers that tell of refusals tell of annotations, too; a stream leaves an empty list out.
	if c.message.find("refusal") != nil && c.message.find("annotations") == nil {
		dst = appendMember(dst, "annotations", []byte("[]"))
	}
	return dst
}
