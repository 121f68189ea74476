package sim

import "strings"

// stream writes the events of a response.
func (w *responseWriter) stream() {
	a := w.a
	a.ctype, a.stream = eventStream, true
	for _, kind := range [...]string{"response.created", "response.in_progress"} {
		w.event(kind)
		a.str(`,"response":`)
		w.response("in_progress", false)
		w.end(0)
	}
	hidden := 0
	if w.p.reasoning > 0 {
		hidden = w.streamReasoning()
		w.item++
	}
	for i := range w.p.calls {
		w.streamCall(i, hidden)
		hidden = w.x.chunk()
		w.item++
	}
	if len(w.p.calls) == 0 {
		w.streamMessage(hidden)
	}
	a.tail = len(a.frames)
	w.event("response." + w.finalStatus())
	a.str(`,"response":`)
	w.response(w.finalStatus(), true)
	w.end(0)
}

// event starts an event of that type.
func (w *responseWriter) event(kind string) {
	a := w.a
	a.str("event: ")
	a.str(kind)
	a.str("\ndata: {\"type\":\"")
	a.str(kind)
	a.str(`","sequence_number":`)
	a.int(w.sequence)
	w.sequence++
}

// end closes the event.
func (w *responseWriter) end(wait int) {
	w.a.str("}\n\n")
	w.a.cut(wait)
}

// itemEvent writes an event about the whole present item.
func (w *responseWriter) itemEvent(kind string, item func(done bool)) {
	w.event(kind)
	w.a.str(`,"output_index":`)
	w.a.int(w.item)
	w.a.str(`,"item":`)
	item(strings.HasSuffix(kind, ".done"))
	w.end(0)
}

// partEvent starts an event about a part of the present item.
func (w *responseWriter) partEvent(kind, id, index string) {
	w.event(kind)
	w.a.str(`,"item_id":"`)
	w.a.str(id)
	w.a.str(`","output_index":`)
	w.a.int(w.item)
	w.a.str(index)
}

// obfuscate pads a delta.
func (w *responseWriter) obfuscate() {
	if w.x.in.noObfuscation {
		return
	}
	a := w.a
	a.str(`,"obfuscation":"`)
	h := scramble(w.p.seed + uint64(w.sequence))
	for i := range 2 + int(h>>60) {
		a.body = append(a.body, alphabet[(h>>(i*3))%uint64(len(alphabet))])
	}
	a.str(`"`)
}

// streamReasoning writes the reasoning item and returns the tokens of it whose time has not passed in deltas.
func (w *responseWriter) streamReasoning() int {
	a, p, step := w.a, w.p, w.x.chunk()
	w.itemEvent("response.output_item.added", w.reasoningItem)
	hidden := p.reasoning
	if w.summary {
		hidden = 0
		const index = `,"summary_index":0`
		w.partEvent("response.reasoning_summary_part.added", w.reasoningID, index)
		a.str(`,"part":`)
		w.summaryPart(0)
		w.end(0)
		for from := 0; from < p.reasoning; from += step {
			w.partEvent("response.reasoning_summary_text.delta", w.reasoningID, index)
			a.str(`,"delta":"`)
			a.body = appendWords(a.body, p.thoughts, from, min(from+step, p.reasoning))
			a.str(`"`)
			w.obfuscate()
			w.end(step)
		}
		w.partEvent("response.reasoning_summary_text.done", w.reasoningID, index)
		a.str(`,"text":"`)
		a.body = appendWords(a.body, p.thoughts, 0, p.reasoning)
		a.str(`"`)
		w.end(0)
		w.partEvent("response.reasoning_summary_part.done", w.reasoningID, index)
		a.str(`,"part":`)
		w.summaryPart(p.reasoning)
		w.end(0)
	}
	w.itemEvent("response.output_item.done", w.reasoningItem)
	return hidden
}

func (w *responseWriter) streamMessage(wait int) {
	a, p, step := w.a, w.p, w.x.chunk()
	const index = `,"content_index":0`
	w.itemEvent("response.output_item.added", w.messageItem)
	w.partEvent("response.content_part.added", w.message, index)
	a.str(`,"part":`)
	w.textPart(0)
	w.end(0)
	for from := 0; from < p.output; from += step {
		until := min(from+step, p.output)
		w.partEvent("response.output_text.delta", w.message, index)
		a.str(`,"delta":"`)
		a.body = appendWords(a.body, p.text(0), from, until)
		a.str(`","logprobs":[]`)
		w.obfuscate()
		w.end(wait)
		wait = min(step, p.output-until)
	}
	w.partEvent("response.output_text.done", w.message, index)
	a.str(`,"text":"`)
	a.body = appendWords(a.body, p.text(0), 0, p.output)
	a.str(`","logprobs":[]`)
	w.end(0)
	w.partEvent("response.content_part.done", w.message, index)
	a.str(`,"part":`)
	w.textPart(p.output)
	w.end(0)
	w.itemEvent("response.output_item.done", w.messageItem)
}

func (w *responseWriter) streamCall(i, wait int) {
	a, call := w.a, &w.p.calls[i]
	item := func(done bool) { w.callItem(i, done) }
	w.itemEvent("response.output_item.added", item)
	for _, piece := range call.pieces(w.x.chunk()) {
		w.partEvent("response.function_call_arguments.delta", w.itemIDs[i], "")
		a.str(`,"delta":`)
		a.quote(piece)
		w.obfuscate()
		w.end(wait)
		wait = w.x.chunk()
	}
	w.partEvent("response.function_call_arguments.done", w.itemIDs[i], "")
	a.str(`,"arguments":`)
	a.quote(call.arguments)
	w.end(0)
	w.itemEvent("response.output_item.done", item)
}
