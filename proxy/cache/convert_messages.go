package cache

// Anthropic's messages: message_start with an empty message, content_block_start, _delta and _stop for each block, message_delta with what is known at the
// end, message_stop.

// messageAnswer is a message that is put together from events.
type messageAnswer struct {
	top    merged
	usage  merged
	blocks []messageBlock
	open   bool // the last block is
	begun  bool
	ended  bool // message_delta was there
	done   bool
}

type messageBlock struct {
	fields    merged
	citations [][]byte
	input     []byte // of a tool as far as it was told: the inside of a JSON string
	signed    bool
}

// messageBody tells a stream of events as one message.
func (c *Converter) messageBody(dst []byte, e *Entry) ([]byte, error) {
	var a messageAnswer
	for ev, err := range eventsOf(&c.scanner, &c.array, e.Format, e.Answer) {
		if err != nil || ev.own || a.done || c.tape.parse(ev.data) != nil || a.event(&c.tape) != nil {
			return dst, ErrNotConvertible
		}
	}
	if !a.done {
		return dst, ErrNotConvertible
	}
	dst = append(dst, '{')
	for i := range a.top.fields {
		f := &a.top.fields[i]
		if f.name != "content" && f.name != "usage" {
			dst = appendMember(dst, f.name, f.raw)
			continue
		}
		if f.name == "usage" {
			dst = append(a.usage.appendTo(append(appendName(dst, "usage"), '{')), '}')
			continue
		}
		dst = append(appendName(dst, "content"), '[')
		for j := range a.blocks {
			var err error
			if dst, err = c.appendBlock(append(appendComma(dst), '{'), &a.blocks[j]); err != nil {
				return dst, err
			}
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}'), nil
}

// event takes up an event.
func (a *messageAnswer) event(t *tape) error {
	kind := string(t.inside(t.member(0, "type")))
	if a.begun == (kind == "message_start") && kind != "ping" || a.ended && kind != "message_stop" && kind != "ping" {
		return ErrNotConvertible
	}
	switch kind {
	case "ping":
	case "message_start":
		a.begun = true
		return a.start(t, t.member(0, "message"))
	case "content_block_start":
		index, err := indexOf(t, t.member(0, "index"))
		if err != nil || a.open || index != int64(len(a.blocks)) {
			return ErrNotConvertible
		}
		a.open, a.blocks = true, append(a.blocks, messageBlock{})
		return a.blocks[index].start(t, t.member(0, "content_block"))
	case "content_block_delta", "content_block_stop":
		index, err := indexOf(t, t.member(0, "index"))
		if err != nil || !a.open || index != int64(len(a.blocks)-1) {
			return ErrNotConvertible
		}
		if kind == "content_block_stop" {
			a.open = false
			return nil
		}
		return a.blocks[index].delta(t, t.member(0, "delta"))
	case "message_delta":
		a.ended = true
		return a.delta(t)
	case "message_stop":
		a.done = true
		if a.open || !a.ended {
			return ErrNotConvertible
		}
	default:
		return ErrNotConvertible
	}
	return nil
}

func (a *messageAnswer) start(t *tape, message int32) error {
	if !t.empty(t.member(message, "content")) || !t.is(t.member(message, "usage"), kindObject) {
		return ErrNotConvertible
	}
	return t.each(message, func(name string, at int32) error {
		if name == "usage" {
			if err := t.each(at, func(name string, at int32) error { return a.usage.set(name, t.raw(at)) }); err != nil {
				return err
			}
		}
		return a.top.set(name, t.raw(at))
	})
}

// delta takes up what message_delta says: of the message in its delta, of its usage, and of the message again beside these.
func (a *messageAnswer) delta(t *tape) error {
	return t.each(0, func(name string, at int32) error {
		switch name {
		case "type":
			return nil
		case "delta":
			return t.each(at, func(name string, at int32) error {
				a.top.replace(name, t.raw(at))
				return nil
			})
		case "usage":
			return t.each(at, func(name string, at int32) error {
				a.usage.replace(name, t.raw(at))
				return nil
			})
		case "content":
			return ErrNotConvertible
		}
		a.top.replace(name, t.raw(at))
		return nil
	})
}

func (b *messageBlock) start(t *tape, block int32) error {
	return t.each(block, func(name string, at int32) error {
		if name == "text" || name == "thinking" || name == "signature" {
			return b.fields.grow(name, t, at)
		}
		return b.fields.set(name, t.raw(at))
	})
}

// delta takes up a delta of the block.
func (b *messageBlock) delta(t *tape, delta int32) error {
	want := 2 // members that a delta has: its type and its value
	if t.is(delta, kindObject) {
		_ = t.each(delta, func(string, int32) error {
			want--
			return nil
		})
	}
	if want != 0 {
		return ErrNotConvertible
	}
	switch string(t.inside(t.member(delta, "type"))) {
	case "text_delta":
		return b.fields.grow("text", t, t.member(delta, "text"))
	case "thinking_delta":
		return b.fields.grow("thinking", t, t.member(delta, "thinking"))
	case "signature_delta":
		if f := b.fields.find("signature"); b.signed || f != nil && len(f.text) > 0 {
			return ErrNotConvertible // readers differ in whether another replaces it or goes on
		}
		b.signed = true
		return b.fields.grow("signature", t, t.member(delta, "signature"))
	case "input_json_delta":
		at := t.member(delta, "partial_json")
		if !t.is(at, kindString) || b.fields.find("input") == nil {
			return ErrNotConvertible
		}
		b.input = append(b.input, t.inside(at)...)
		return nil
	case "citations_delta":
		at := t.member(delta, "citation")
		if !t.is(at, kindObject) {
			return ErrNotConvertible
		}
		b.citations = append(b.citations, t.raw(at))
		return nil
	}
	return ErrNotConvertible
}

// appendBlock writes the members of a block.
func (c *Converter) appendBlock(dst []byte, b *messageBlock) ([]byte, error) {
	if len(b.input) > 0 {
		var ok bool
		if c.scratch, ok = appendPlain(c.scratch[:0], b.input); !ok || c.tape.parse(c.scratch) != nil {
			return dst, ErrNotConvertible
		}
		input := b.fields.find("input")
		if string(input.raw) != "{}" && string(input.raw) != `""` {
			return dst, ErrNotConvertible
		}
		input.raw = c.scratch
	}
	if len(b.citations) > 0 {
		f := b.fields.find("citations")
		if f != nil && string(f.raw) != "null" && string(f.raw) != "[]" {
			return dst, ErrNotConvertible
		}
		list := []byte{'['}
		for _, one := range b.citations {
			list = append(appendComma(list), one...)
		}
		b.fields.replace("citations", append(list, ']'))
	}
	return b.fields.appendTo(dst), nil
}
