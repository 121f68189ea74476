package cache

import (
	"llm-auto-optimizer/proxy/provider"
)

// chunks writes a body as a stream of chunks.
type chunks struct {
	t     *tape
	dst   []byte
	op    provider.Operation
	usage bool // the client asked for it
	first bool
}

// chatStream tells a body as a stream of chunks.
func (c *Converter) chatStream(dst []byte, e *Entry, usage bool) ([]byte, error) {
	if err := c.compacted(e.Answer); err != nil {
		return dst, err
	}
	t := &c.tape
	w := chunks{t: t, dst: dst, op: e.Operation, usage: usage, first: true}
	want := chatObject
	if w.op == provider.Completions {
		want = textObject
	}
	choices := t.member(0, "choices")
	if !t.is(choices, kindArray) || t.empty(choices) || string(t.raw(t.member(0, "object"))) != want ||
		usage && !t.is(t.member(0, "usage"), kindObject) {
		return dst, ErrNotConvertible
	}
	write := w.message
	if w.op == provider.Completions {
		write = w.text
	}
	if err := t.elements(choices, write); err != nil {
		return dst, err
	}
	_ = t.elements(choices, w.finish) // read before
	if usage {
		w.head()
		w.dst = append(w.dst, `,"choices":[],"usage":`...)
		w.dst = append(append(w.dst, t.raw(t.member(0, "usage"))...), "}\n\n"...)
	}
	return append(w.dst, "data: [DONE]\n\n"...), nil
}

// head begins a chunk. All chunks tell of the model; what else a server says of the answer, the first does.
func (w *chunks) head() {
	w.dst = append(w.dst, "data: {"...)
	_ = w.t.each(0, func(name string, at int32) error {
		switch name {
		case "id", "created", "model", "service_tier", "system_fingerprint":
			w.dst = appendMember(w.dst, name, w.t.raw(at))
		case "object":
			object := textObject
			if w.op == provider.ChatCompletions {
				object = chunkObject
			}
			w.dst = appendMember(w.dst, name, []byte(object))
		case "choices", "usage":
		default:
			if w.first {
				w.dst = appendMember(w.dst, name, w.t.raw(at))
			}
		}
		return nil
	})
	w.first = false
}

// open begins a chunk about a choice.
func (w *chunks) open(choice int32) {
	w.head()
	w.dst = append(appendName(w.dst, "choices"), '[', '{')
	if index := w.t.member(choice, "index"); index != nowhere {
		w.dst = appendMember(w.dst, "index", w.t.raw(index))
	}
}

// close ends it; finish adds what is told of a choice at its end.
func (w *chunks) close(choice int32, finish bool) {
	_ = w.t.each(choice, func(name string, at int32) error {
		switch name {
		case "index", "message", "text":
		case "finish_reason":
			if !finish {
				w.dst = appendMember(w.dst, name, []byte("null"))
				break
			}
			w.dst = appendMember(w.dst, name, w.t.raw(at))
		case "logprobs":
			w.dst = appendMember(w.dst, name, w.t.raw(at))
		default:
			if finish {
				w.dst = appendMember(w.dst, name, w.t.raw(at))
			}
		}
		return nil
	})
	w.dst = append(w.dst, '}', ']')
	if w.usage {
		w.dst = append(w.dst, `,"usage":null`...)
	}
	w.dst = append(w.dst, "}\n\n"...)
}

// delta writes a chunk with one member in its delta.
func (w *chunks) delta(choice int32, write func()) {
	w.open(choice)
	w.dst = append(appendName(w.dst, "delta"), '{')
	write()
	w.dst = append(w.dst, '}')
	w.close(choice, false)
}

// finish writes the last chunk of a choice.
func (w *chunks) finish(choice int32) error {
	w.open(choice)
	if w.op == provider.Completions {
		w.dst = appendMember(w.dst, "text", []byte(`""`))
	} else {
		w.dst = append(appendName(w.dst, "delta"), '{', '}')
	}
	w.close(choice, true)
	return nil
}

// text writes the text of a choice of completions.
func (w *chunks) text(choice int32) error {
	text := w.t.member(choice, "text")
	if !w.t.is(text, kindString) || !w.t.isNull(w.t.member(choice, "logprobs")) {
		return ErrNotConvertible
	}
	w.open(choice)
	w.dst = appendMember(w.dst, "text", w.t.raw(text))
	w.close(choice, false)
	return nil
}

// message writes the message of a choice: a chunk that opens it and one for each text and each call.
func (w *chunks) message(choice int32) error {
	t, message := w.t, w.t.member(choice, "message")
	if !t.is(message, kindObject) || !t.isNull(t.member(choice, "logprobs")) {
		return ErrNotConvertible
	}
	var texts []int32 // names
	calls, function := nowhere, nowhere
	w.open(choice)
	w.dst = append(appendName(w.dst, "delta"), '{')
	err := t.each(message, func(name string, at int32) error {
		switch name {
		case "content", "refusal", "reasoning_content", "reasoning":
			switch {
			case t.isNull(at):
				w.dst = appendMember(w.dst, name, []byte("null"))
				return nil
			case !t.is(at, kindString):
				return ErrNotConvertible
			case name == "content":
				w.dst = appendMember(w.dst, name, []byte(`""`))
			case name == "refusal":
				w.dst = appendMember(w.dst, name, []byte("null"))
			}
			texts = append(texts, at-1)
		case "tool_calls":
			calls = at
		case "function_call":
			function = at
		case "audio", "annotations":
			if t.isNull(at) || t.empty(at) {
				return nil
			}
			if name == "audio" {
				return ErrNotConvertible
			}
			w.dst = appendMember(w.dst, name, t.raw(at))
		default:
			w.dst = appendMember(w.dst, name, t.raw(at))
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.dst = append(w.dst, '}')
	w.close(choice, false)
	for _, name := range texts {
		if len(t.inside(name+1)) > 0 || string(t.name(name)) != "content" {
			w.delta(choice, func() { w.dst = appendMember(w.dst, string(t.name(name)), t.raw(name+1)) })
		}
	}
	if !t.isNull(calls) {
		if err := w.calls(choice, calls); err != nil {
			return err
		}
	}
	if !t.isNull(function) {
		w.delta(choice, func() {
			w.dst = append(appendName(w.dst, "function_call"), '{')
			err = w.opened(function, "arguments")
			w.dst = append(w.dst, '}')
		})
		w.delta(choice, func() {
			w.dst = append(appendName(w.dst, "function_call"), '{')
			w.dst = append(appendMember(w.dst, "arguments", t.raw(t.member(function, "arguments"))), '}')
		})
	}
	return err
}

// calls writes tool calls: first what each is, then its arguments.
func (w *chunks) calls(choice, list int32) error {
	t, index := w.t, int64(-1)
	return t.elements(list, func(call int32) error {
		index++
		kind, argument := "function", "arguments"
		inner := t.member(call, kind)
		if inner == nowhere {
			kind, argument = "custom", "input"
			inner = t.member(call, kind)
		}
		if !t.is(inner, kindObject) || t.member(call, "index") != nowhere {
			return ErrNotConvertible
		}
		var err error
		w.delta(choice, func() {
			w.dst = append(appendName(w.dst, "tool_calls"), '[', '{')
			w.dst = appendCount(appendName(w.dst, "index"), index)
			_ = t.each(call, func(name string, at int32) error {
				if name != kind {
					w.dst = appendMember(w.dst, name, t.raw(at))
					return nil
				}
				w.dst = append(appendName(w.dst, name), '{')
				err = w.opened(inner, argument)
				w.dst = append(w.dst, '}')
				return nil
			})
			w.dst = append(w.dst, '}', ']')
		})
		if err != nil {
			return err
		}
		w.delta(choice, func() {
			w.dst = append(appendName(w.dst, "tool_calls"), '[', '{')
			w.dst = appendCount(appendName(w.dst, "index"), index)
			w.dst = append(appendName(w.dst, kind), '{')
			w.dst = append(appendMember(w.dst, argument, t.raw(t.member(inner, argument))), '}', '}', ']')
		})
		return nil
	})
}

// opened writes the members of a call whose argument is still to come.
func (w *chunks) opened(call int32, argument string) error {
	if !w.t.is(w.t.member(call, argument), kindString) {
		return ErrNotConvertible
	}
	return w.t.each(call, func(name string, at int32) error {
		if name == argument {
			w.dst = appendMember(w.dst, name, []byte(`""`))
		} else {
			w.dst = appendMember(w.dst, name, w.t.raw(at))
		}
		return nil
	})
}
