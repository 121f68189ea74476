package sim

// messageWriter spells a plan as Anthropic messages do.
type messageWriter struct {
	x       *exchange
	a       *answer
	p       *plan
	id      string
	toolIDs []string
}

func (w *messageWriter) stopReason() string {
	switch {
	case len(w.p.calls) > 0:
		return "tool_use"
	case w.p.length:
		return "max_tokens"
	}
	return "end_turn"
}

// head writes a message up to its content.
func (w *messageWriter) head() {
	a := w.a
	a.str(`{"model":`)
	a.quote(w.x.in.model)
	a.str(`,"id":"`)
	a.str(w.id)
	a.str(`","type":"message","role":"assistant","content":[`)
}

// usage writes the usage object of a message that has generated so many tokens by now.
func (w *messageWriter) usage(output, thinking int) {
	a, p := w.a, w.p
	w.counts()
	a.str(`,"cache_creation":{"ephemeral_5m_input_tokens":`)
	a.int(p.write5m)
	a.str(`,"ephemeral_1h_input_tokens":`)
	a.int(p.write1h)
	a.str(`},"output_tokens":`)
	a.int(output)
	w.thinking(thinking)
	a.str(`,"service_tier":"`)
	if w.x.in.tier.Str == "priority" {
		a.str("priority")
	} else {
		a.str("standard")
	}
	a.str(`","inference_geo":"not_available"}`)
}

// counts writes the start of a usage object: what was read.
func (w *messageWriter) counts() {
	a, p := w.a, w.p
	a.str(`{"input_tokens":`)
	a.int(p.input - p.cached - p.write5m - p.write1h)
	a.str(`,"cache_creation_input_tokens":`)
	a.int(p.write5m + p.write1h)
	a.str(`,"cache_read_input_tokens":`)
	a.int(p.cached)
}

// thinking says how much of the output was thought, if the model thought at all.
func (w *messageWriter) thinking(tokens int) {
	if tokens > 0 {
		w.a.str(`,"output_tokens_details":{"thinking_tokens":`)
		w.a.int(tokens)
		w.a.str(`}`)
	}
}

func (w *messageWriter) plain() {
	a, p := w.a, w.p
	a.ctype = "application/json"
	a.tokens = p.generated()
	w.head()
	if p.reasoning > 0 {
		a.str(`{"type":"thinking","thinking":"`)
		a.body = appendWords(a.body, p.thoughts, 0, p.reasoning)
		a.str(`","signature":"` + signature + `"}`)
		if p.output > 0 || len(p.calls) > 0 {
			a.str(",")
		}
	}
	for i := range p.calls {
		if i > 0 {
			a.str(",")
		}
		w.toolUse(i, p.calls[i].arguments)
	}
	if p.output > 0 {
		a.str(`{"type":"text","text":"`)
		a.body = appendWords(a.body, p.text(0), 0, p.output)
		a.str(`"}`)
	}
	a.str(`],"stop_reason":"`)
	a.str(w.stopReason())
	a.str(`","stop_sequence":null,"stop_details":null,"usage":`)
	w.usage(p.generated(), p.reasoning)
	a.str(`}`)
}

// signature stands for the proof that a thought is the model's own.
const signature = "YSBzaW11bGF0ZWQgdGhvdWdodCdzIHNpZ25hdHVyZSwgb2Ygbm8gdmFsdWUgd2hhdHNvZXZlcg=="

func (w *messageWriter) toolUse(i int, input string) {
	a := w.a
	a.str(`{"type":"tool_use","id":"`)
	a.str(w.toolIDs[i])
	a.str(`","name":`)
	a.quote(w.p.calls[i].name)
	a.str(`,"input":`)
	a.str(input)
	a.str(`,"caller":{"type":"direct"}}`)
}

// stream writes the events of a message.
func (w *messageWriter) stream() {
	a, p := w.a, w.p
	a.ctype, a.stream = eventStream, true
	a.header("Cache-Control", "no-cache")
	w.event("message_start")
	a.str(`,"message":`)
	w.head()
	a.str(`],"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":`)
	w.usage(min(1, p.generated()), 0)
	a.str(`}`)
	w.end(0)
	index, pinged, wait := 0, false, 0
	ping := func() {
		if !pinged {
			a.str("event: ping\ndata: {\"type\": \"ping\"}\n\n")
			a.cut(0)
			pinged = true
		}
	}
	if p.reasoning > 0 {
		w.blockStart(index, func() { a.str(`{"type":"thinking","thinking":"","signature":""}`) })
		ping()
		wait = w.deltas(index, `"thinking_delta","thinking":"`, p.thoughts, p.reasoning, 0)
		w.delta(index, `"signature_delta","signature":"`)
		a.str(signature + `"}`)
		w.end(0)
		w.blockStop(index)
		index++
	}
	for i := range p.calls {
		w.blockStart(index, func() { w.toolUse(i, "{}") })
		ping()
		w.inputDeltas(index, i, wait)
		wait = w.x.chunk()
		w.blockStop(index)
		index++
	}
	if p.output > 0 {
		w.blockStart(index, func() { a.str(`{"type":"text","text":""}`) })
		ping()
		w.deltas(index, `"text_delta","text":"`, p.text(0), p.output, wait)
		w.blockStop(index)
	}
	w.finish()
}

// finish writes the events that close a message.
func (w *messageWriter) finish() {
	a := w.a
	a.tail = len(a.frames)
	w.event("message_delta")
	a.str(`,"delta":{"stop_reason":"`)
	a.str(w.stopReason())
	a.str(`","stop_sequence":null,"stop_details":null},"usage":`)
	w.counts()
	a.str(`,"output_tokens":`)
	a.int(w.p.generated())
	w.thinking(w.p.reasoning)
	a.str(`}`)
	w.end(0)
	w.event("message_stop")
	w.end(0)
}

// event starts an event of that type.
func (w *messageWriter) event(kind string) {
	a := w.a
	a.str("event: ")
	a.str(kind)
	a.str("\ndata: {\"type\":\"")
	a.str(kind)
	a.str(`"`)
}

// end closes an event, with the blanks in front of the last brace that hide the length of tokens.
func (w *messageWriter) end(wait int) {
	a := w.a
	const blanks = "               "
	a.str(blanks[:scramble(w.p.seed+uint64(len(a.frames)))%uint64(len(blanks))])
	a.str("}\n\n")
	a.cut(wait)
}

func (w *messageWriter) blockStart(index int, block func()) {
	w.event("content_block_start")
	w.a.str(`,"index":`)
	w.a.int(index)
	w.a.str(`,"content_block":`)
	block()
	w.end(0)
}

func (w *messageWriter) blockStop(index int) {
	w.event("content_block_stop")
	w.a.str(`,"index":`)
	w.a.int(index)
	w.end(0)
}

// delta starts a delta, up to its text.
func (w *messageWriter) delta(index int, kind string) {
	w.event("content_block_delta")
	w.a.str(`,"index":`)
	w.a.int(index)
	w.a.str(`,"delta":{"type":`)
	w.a.str(kind)
}

// deltas writes n tokens of a text, the first after wait tokens, and returns what the next delta has to wait.
func (w *messageWriter) deltas(index int, kind string, seed uint64, n, wait int) int {
	a, step := w.a, w.x.chunk()
	for from := 0; from < n; from += step {
		until := min(from+step, n)
		w.delta(index, kind)
		a.body = appendWords(a.body, seed, from, until)
		a.str(`"}`)
		w.end(wait)
		wait = min(step, max(1, n-until))
	}
	return wait
}

// inputDeltas writes the input of a tool piece by piece, an empty one first as the API does.
func (w *messageWriter) inputDeltas(index, call, wait int) {
	w.delta(index, `"input_json_delta","partial_json":""}`)
	w.end(wait)
	for _, piece := range w.p.calls[call].pieces(w.x.chunk()) {
		w.delta(index, `"input_json_delta","partial_json":`)
		w.a.quote(piece)
		w.a.str(`}`)
		w.end(w.x.chunk())
	}
}
