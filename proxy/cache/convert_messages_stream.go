package cache

import "strings"

// messageEvents writes a message as a stream.
type messageEvents struct {
	t      *tape
	dst    []byte
	index  int64 // of the block
	pinged bool
}

// messageStream tells a message as a stream.
func (c *Converter) messageStream(dst []byte, e *Entry) ([]byte, error) {
	if err := c.compacted(e.Answer); err != nil {
		return dst, err
	}
	t := &c.tape
	w := messageEvents{t: t, dst: dst}
	usage := t.member(0, "usage")
	if string(t.inside(t.member(0, "type"))) != "message" || !t.is(usage, kindObject) || !t.is(t.member(0, "content"), kindArray) {
		return dst, ErrNotConvertible
	}
	w.start(usage)
	if err := t.elements(t.member(0, "content"), w.block); err != nil {
		return dst, err
	}
	w.finish(usage)
	return w.dst, nil
}

// event begins an event.
func (w *messageEvents) event(kind string) {
	w.dst = append(append(w.dst, "event: "...), kind...)
	w.dst = append(append(w.dst, "\ndata: {\"type\":\""...), kind...)
	w.dst = append(w.dst, '"')
}

func (w *messageEvents) end() { w.dst = append(w.dst, "}\n\n"...) }

// lateMessage are the members of a message that are known at its end, lateUsage those of its usage that message_start leaves out, and repeated those
// that message_delta states again.
var (
	lateMessage = []string{"stop_reason", "stop_sequence", "stop_details"}
	lateUsage   = []string{"output_tokens_details", "server_tool_use", "iterations"}
	repeated    = []string{"input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"}
)

func oneOf(list []string, name string) bool {
	for _, s := range list {
		if s == name {
			return true
		}
	}
	return false
}

// start writes message_start: the message without its content.
func (w *messageEvents) start(usage int32) {
	t := w.t
	w.event("message_start")
	w.dst = append(appendName(w.dst, "message"), '{')
	_ = t.each(0, func(name string, at int32) error {
		switch {
		case name == "content":
			w.dst = appendMember(w.dst, name, []byte("[]"))
		case name == "context_management": // stands beside the delta at the end
		case oneOf(lateMessage, name):
			w.dst = appendMember(w.dst, name, []byte("null"))
		case at == usage:
			w.dst = append(appendName(w.dst, name), '{')
			_ = t.each(usage, func(name string, at int32) error {
				switch {
				case oneOf(lateUsage, name):
				case name == "output_tokens":
					w.dst = appendCount(appendName(w.dst, name), min(1, countOf(t.raw(at))))
				default:
					w.dst = appendMember(w.dst, name, t.raw(at))
				}
				return nil
			})
			w.dst = append(w.dst, '}')
		default:
			w.dst = appendMember(w.dst, name, t.raw(at))
		}
		return nil
	})
	w.dst = append(w.dst, '}')
	w.end()
}

// finish writes message_delta and message_stop.
func (w *messageEvents) finish(usage int32) {
	t := w.t
	w.event("message_delta")
	w.dst = append(appendName(w.dst, "delta"), '{')
	_ = t.each(0, func(name string, at int32) error {
		if oneOf(lateMessage, name) {
			w.dst = appendMember(w.dst, name, t.raw(at))
		}
		return nil
	})
	w.dst = append(w.dst, '}')
	w.dst = append(appendName(w.dst, "usage"), '{')
	_ = t.each(usage, func(name string, at int32) error {
		if oneOf(lateUsage, name) || oneOf(repeated, name) {
			w.dst = appendMember(w.dst, name, t.raw(at))
		}
		return nil
	})
	w.dst = append(w.dst, '}')
	if at := t.member(0, "context_management"); at != nowhere {
		w.dst = appendMember(w.dst, "context_management", t.raw(at))
	}
	w.end()
	w.event("message_stop")
	w.end()
}

// block writes the events of a block of the content.
func (w *messageEvents) block(block int32) error {
	t := w.t
	kind := string(t.inside(t.member(block, "type")))
	tool := kind == "tool_use" || kind == "server_tool_use"
	switch {
	case kind == "text" || kind == "thinking":
		if !t.is(t.member(block, kind), kindString) {
			return ErrNotConvertible
		}
	case tool:
		if !t.is(t.member(block, "input"), kindObject) {
			return ErrNotConvertible
		}
	case kind != "redacted_thinking" && !strings.HasSuffix(kind, "_tool_result"): // these come whole
		return ErrNotConvertible
	}
	w.open(block, kind, tool)
	switch {
	case tool:
		w.delta("input_json_delta")
		w.dst = append(w.dst, `,"partial_json":""}`...)
		w.end()
		if input := t.member(block, "input"); !t.empty(input) {
			w.delta("input_json_delta")
			w.dst = append(appendQuoted(appendName(w.dst, "partial_json"), t.raw(input)), '}')
			w.end()
		}
	case kind == "text" || kind == "thinking":
		if err := w.texts(block, kind); err != nil {
			return err
		}
	}
	w.event("content_block_stop")
	w.dst = appendCount(appendName(w.dst, "index"), w.index)
	w.end()
	w.index++
	return nil
}

// open writes content_block_start: the block without what deltas tell.
func (w *messageEvents) open(block int32, kind string, tool bool) {
	t := w.t
	w.event("content_block_start")
	w.dst = appendCount(appendName(w.dst, "index"), w.index)
	w.dst = append(appendName(w.dst, "content_block"), '{')
	_ = t.each(block, func(name string, at int32) error {
		value := t.raw(at)
		switch {
		case tool && name == "input":
			value = []byte("{}")
		case name == kind, kind == "thinking" && name == "signature" && t.is(at, kindString):
			value = []byte(`""`)
		case kind == "text" && name == "citations" && t.is(at, kindArray):
			value = []byte("[]")
		}
		w.dst = appendMember(w.dst, name, value)
		return nil
	})
	w.dst = append(w.dst, '}')
	w.end()
	if !w.pinged {
		w.pinged = true
		w.event("ping")
		w.end()
	}
}

// delta begins a delta of the block.
func (w *messageEvents) delta(kind string) {
	w.event("content_block_delta")
	w.dst = appendCount(appendName(w.dst, "index"), w.index)
	w.dst = append(append(append(appendName(w.dst, "delta"), `{"type":"`...), kind...), '"')
}

// texts writes what deltas tell of a block of text or thinking.
func (w *messageEvents) texts(block int32, kind string) error {
	t := w.t
	if text := t.member(block, kind); len(t.inside(text)) > 0 {
		w.delta(kind + "_delta")
		w.dst = append(appendMember(w.dst, kind, t.raw(text)), '}')
		w.end()
	}
	if signature := t.member(block, "signature"); kind == "thinking" && len(t.inside(signature)) > 0 {
		w.delta("signature_delta")
		w.dst = append(appendMember(w.dst, "signature", t.raw(signature)), '}')
		w.end()
	}
	citations := t.member(block, "citations")
	if kind != "text" || t.isNull(citations) {
		return nil
	}
	return t.elements(citations, func(one int32) error {
		w.delta("citations_delta")
		w.dst = append(appendMember(w.dst, "citation", t.raw(one)), '}')
		w.end()
		return nil
	})
}
