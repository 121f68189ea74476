package cache

// OpenAI's responses. The last event of a stream holds the whole response; what comes before tells it bit by bit.

// responseBody tells a stream as one body: the response that its last event holds.
func (c *Converter) responseBody(dst []byte, e *Entry) ([]byte, error) {
	var response []byte
	for ev, err := range eventsOf(&c.scanner, &c.array, e.Format, e.Answer) {
		if err != nil || ev.own || response != nil || c.tape.parse(ev.data) != nil {
			return dst, ErrNotConvertible
		}
		switch string(c.tape.inside(c.tape.member(0, "type"))) {
		case "response.completed", "response.incomplete":
			response = c.tape.raw(c.tape.member(0, "response"))
		}
	}
	if len(response) == 0 || response[0] != '{' {
		return dst, ErrNotConvertible
	}
	return append(dst, response...), nil
}

// responseEvents writes a response as a stream.
type responseEvents struct {
	t        *tape
	dst      []byte
	sequence int64
	item     int64  // index of the item being told
	id       []byte // its id, JSON
}

// responseStream tells a body as a stream.
func (c *Converter) responseStream(dst []byte, e *Entry) ([]byte, error) {
	if err := c.compacted(e.Answer); err != nil {
		return dst, err
	}
	t := &c.tape
	w := responseEvents{t: t, dst: dst}
	end := ""
	switch string(t.inside(t.member(0, "status"))) {
	case "completed":
		end = "response.completed"
	case "incomplete":
		end = "response.incomplete"
	}
	if end == "" || !t.isNull(t.member(0, "error")) {
		return dst, ErrNotConvertible
	}
	for _, kind := range [...]string{"response.created", "response.in_progress"} {
		w.event(kind)
		w.dst = append(appendName(w.dst, "response"), '{')
		w.begun()
		w.dst = append(w.dst, '}')
		w.end()
	}
	if err := t.elements(t.member(0, "output"), w.output); err != nil {
		return dst, err
	}
	w.event(end)
	w.dst = appendMember(w.dst, "response", t.raw(0))
	w.end()
	return w.dst, nil
}

// event begins an event.
func (w *responseEvents) event(kind string) {
	w.dst = append(append(w.dst, "event: "...), kind...)
	w.dst = append(append(w.dst, "\ndata: {\"type\":\""...), kind...)
	w.dst = appendCount(append(w.dst, `","sequence_number":`...), w.sequence)
	w.sequence++
}

func (w *responseEvents) end() { w.dst = append(w.dst, "}\n\n"...) }

// begun writes the members of the response as they are before anything was generated.
func (w *responseEvents) begun() {
	_ = w.t.each(0, func(name string, at int32) error {
		value := w.t.raw(at)
		switch name {
		case "status":
			value = []byte(`"in_progress"`)
		case "output":
			value = []byte("[]")
		case "output_text":
			return nil
		case "usage", "completed_at", "incomplete_details":
			value = []byte("null")
		}
		w.dst = appendMember(w.dst, name, value)
		return nil
	})
}

// output writes the events of an item.
func (w *responseEvents) output(item int32) error {
	t := w.t
	id := t.member(item, "id")
	if !t.is(id, kindString) {
		return ErrNotConvertible
	}
	w.id = t.raw(id)
	empty, tell := "", w.message
	switch string(t.inside(t.member(item, "type"))) {
	case "message":
		empty = "content"
	case "reasoning":
		empty, tell = "summary", w.reasoning
	case "function_call":
		empty, tell = "arguments", w.functionCall
	case "custom_tool_call":
		empty, tell = "input", w.customCall
	default: // each of the vendor's own tools tells of its progress in its own way
		return ErrNotConvertible
	}
	w.itemEvent("response.output_item.added")
	w.dst = append(appendName(w.dst, "item"), '{')
	_ = t.each(item, func(name string, at int32) error {
		value := t.raw(at)
		switch {
		case name == "status":
			value = []byte(`"in_progress"`)
		case (name == empty || name == "content") && t.is(at, kindArray):
			value = []byte("[]")
		case name == empty && t.is(at, kindString):
			value = []byte(`""`)
		}
		w.dst = appendMember(w.dst, name, value)
		return nil
	})
	w.dst = append(w.dst, '}')
	w.end()
	if err := tell(item); err != nil {
		return err
	}
	w.itemEvent("response.output_item.done")
	w.dst = appendMember(w.dst, "item", t.raw(item))
	w.end()
	w.item++
	return nil
}

// itemEvent begins an event about the whole item.
func (w *responseEvents) itemEvent(kind string) {
	w.event(kind)
	w.dst = appendCount(appendName(w.dst, "output_index"), w.item)
}

// partEvent begins an event about a part of the item; index names its number, which is left out if it is below 0.
func (w *responseEvents) partEvent(kind, index string, n int64) {
	w.event(kind)
	w.dst = appendMember(w.dst, "item_id", w.id)
	w.dst = appendCount(appendName(w.dst, "output_index"), w.item)
	if index != "" {
		w.dst = appendCount(appendName(w.dst, index), n)
	}
}

// message writes the parts of a message.
func (w *responseEvents) message(item int32) error {
	n := int64(0)
	return w.t.elements(w.t.member(item, "content"), func(part int32) error {
		err := w.part(part, n)
		n++
		return err
	})
}

// part writes the events of part n of a message or of what was thought.
func (w *responseEvents) part(part int32, n int64) error {
	const index = "content_index"
	t, name, events := w.t, "text", ""
	switch string(t.inside(t.member(part, "type"))) {
	case "output_text":
		events = "response.output_text"
	case "refusal":
		events, name = "response.refusal", "refusal"
	case "reasoning_text":
		events = "response.reasoning_text"
	}
	logprobs, text, notes := t.member(part, "logprobs"), t.member(part, name), t.member(part, "annotations")
	if events == "" || !t.is(text, kindString) || !t.isNull(logprobs) && !t.empty(logprobs) {
		return ErrNotConvertible
	}
	w.partEvent("response.content_part.added", index, n)
	w.dst = append(appendName(w.dst, "part"), '{')
	_ = t.each(part, func(member string, at int32) error {
		value := t.raw(at)
		switch {
		case member == name:
			value = []byte(`""`)
		case at == notes && t.is(at, kindArray):
			value = []byte("[]")
		}
		w.dst = appendMember(w.dst, member, value)
		return nil
	})
	w.dst = append(w.dst, '}')
	w.end()
	w.text(events, "delta", "delta", index, n, text)
	if t.is(notes, kindArray) {
		note := int64(0)
		_ = t.elements(notes, func(at int32) error {
			w.partEvent("response.output_text.annotation.added", index, n)
			w.dst = appendCount(appendName(w.dst, "annotation_index"), note)
			w.dst = appendMember(w.dst, "annotation", t.raw(at))
			w.end()
			note++
			return nil
		})
	}
	w.text(events, "done", name, index, n, text)
	w.partEvent("response.content_part.done", index, n)
	w.dst = appendMember(w.dst, "part", t.raw(part))
	w.end()
	return nil
}

// text writes an event that holds all of a text.
func (w *responseEvents) text(events, kind, name, index string, n int64, text int32) {
	w.partEvent(events+"."+kind, index, n)
	w.dst = appendMember(w.dst, name, w.t.raw(text))
	if events == "response.output_text" {
		w.dst = append(w.dst, `,"logprobs":[]`...)
	}
	w.end()
}

// reasoning writes what was thought: its summary, then itself where it is shown.
func (w *responseEvents) reasoning(item int32) error {
	const index, events = "summary_index", "response.reasoning_summary_"
	t, n := w.t, int64(0)
	err := t.elements(t.member(item, "summary"), func(part int32) error {
		text := t.member(part, "text")
		if string(t.inside(t.member(part, "type"))) != "summary_text" || !t.is(text, kindString) {
			return ErrNotConvertible
		}
		w.partEvent(events+"part.added", index, n)
		w.dst = append(w.dst, `,"part":{"type":"summary_text","text":""}`...)
		w.end()
		w.text(events+"text", "delta", "delta", index, n, text)
		w.text(events+"text", "done", "text", index, n, text)
		w.partEvent(events+"part.done", index, n)
		w.dst = appendMember(w.dst, "part", t.raw(part))
		w.end()
		n++
		return nil
	})
	if content := t.member(item, "content"); err == nil && !t.isNull(content) {
		return w.message(item)
	}
	return err
}

func (w *responseEvents) functionCall(item int32) error {
	return w.call(item, "response.function_call_arguments", "arguments")
}

func (w *responseEvents) customCall(item int32) error {
	return w.call(item, "response.custom_tool_call_input", "input")
}

// call writes the argument of a call.
func (w *responseEvents) call(item int32, events, name string) error {
	argument := w.t.member(item, name)
	if !w.t.is(argument, kindString) {
		return ErrNotConvertible
	}
	w.text(events, "delta", "delta", "", 0, argument)
	w.text(events, "done", name, "", 0, argument)
	return nil
}
