package provider

import "llm-auto-optimizer/proxy/sse"

// Meter reads an answer beside its bytes: what it used, whether it failed, how far it came. It is fed the body as it
// passes, split anywhere, and keeps nothing of what it is given. What it says does not depend on the splits.
//
// Call Reset, perhaps SetEncoding, Write any number of times, Close once; ask at any time. The zero value ignores all
// it is given. A Meter is not safe for concurrent use. It is meant to be pooled: once its buffers have grown, reading
// an answer that is not compressed allocates nothing. It keeps 64 KiB of a split event, 64 KiB of a usage or error
// object and 4 MiB of a compressed body at most.
//
// A compressed body is read at Close; before, nothing can be told of it but that it has begun.
type Meter struct {
	op     Operation
	format Format
	enc    encoding

	events sse.Scanner
	walk   walker
	memory repeat

	openAI    openAIUsage
	anthropic anthropicUsage
	gemini    geminiUsage

	begun       bool // a byte was written
	known       bool // usage was stated
	provisional bool // … before output was generated
	complete    bool
	failed      bool
	kind        string
	code        string // kind of the code in this document, should it turn out to be an error

	tier  label
	model label
}

// label is a short string kept without allocation.
type label struct {
	n int
	s [maxString]byte
}

func (l *label) set(s []byte)  { l.n = copy(l.s[:], s) }
func (l *label) bytes() []byte { return l.s[:l.n] }

// Reset makes m ready for the answer to a request for op.
func (m *Meter) Reset(op Operation, f Format) {
	m.enc.reset()
	root := nowhere
	if op < operationsEnd {
		root = roots[op]
	}
	if !m.begun { // what reads is as good as new, and large
		m.op, m.format, m.enc, m.walk.root = op, f, encoding{}, root
		m.walk.begin()
		return
	}
	m.events.Reset()
	m.walk.reset(root)
	m.memory.reset()
	*m = Meter{op: op, format: f, events: m.events, walk: m.walk, memory: m.memory}
}

// Write reads p, which continues the body.
func (m *Meter) Write(p []byte) {
	if len(p) == 0 {
		return
	}
	m.begun = true
	if m.enc.encoded() {
		m.enc.keep(p)
		return
	}
	m.read(p)
}

// Close reads what is left when the body is over, at its end or before.
func (m *Meter) Close() {
	if m.enc.encoded() {
		m.enc.decode(m.read)
	}
	if m.format == EventStream {
		if ev, ok := m.events.Close(); ok {
			m.event(&ev)
		}
	}
	m.walk.commit()
}

// read reads p, a piece of the body without its content encodings.
func (m *Meter) read(p []byte) {
	switch m.format {
	case Plain, JSONArray:
		m.document(p)
	case EventStream:
		for len(p) > 0 {
			var ev sse.Event
			var ok bool
			if ev, p, ok = m.events.Next(p); ok {
				m.event(&ev)
			}
		}
	}
}

// event reads one event of a stream, or a part of one.
func (m *Meter) event(ev *sse.Event) {
	if ev.Part == sse.Whole {
		if string(ev.Data) == "[DONE]" {
			m.complete = true
			return
		}
		if ev.Data == nil {
			if ev.Raw[0] == '{' { // Gemini, for one, breaks off with an error that is no event
				m.frame(ev.Raw)
			}
			return
		}
		if string(ev.Name) == "error" {
			m.fail("")
		}
		m.frame(ev.Data)
		return
	}
	m.document(ev.Data)
	if ev.Part == sse.Last {
		m.endDocument()
	}
}

// endDocument ends the JSON of an event.
func (m *Meter) endDocument() {
	m.walk.begin()
	m.code = ""
}

// document reads p, a piece of JSON.
func (m *Meter) document(p []byte) {
	for len(p) > 0 {
		var at place
		var value []byte
		if at, value, p = m.walk.next(p); at != nowhere {
			m.take(at, value)
		}
	}
}

// take takes the value that was found at a place; nil stands for one too long to look into.
func (m *Meter) take(at place, value []byte) {
	switch at {
	case usageValue, startUsageValue:
		m.takeUsage(at, value)
	case toolUsageValue:
		m.openAI.parseTools(value)
	case statisticsValue:
		m.gemini.addStatistics(value)
		m.known = true
	case tierString:
		m.tier.set(value)
	case modelString:
		m.model.set(value)
	case blockString:
		m.complete = true
	case typeString:
		m.takeType(value)
	case codeValue:
		if m.code = kindOfCode(value); m.failed && m.kind == OtherKind && m.code != "" {
			m.kind = m.code
		}
	case errorValue:
		switch string(value) {
		case `""`, "{}", "[]", "false": // as good as null
		default:
			m.fail(kindOf(value))
		}
	}
}

func (m *Meter) takeUsage(at place, raw []byte) {
	if len(raw) == 0 || raw[0] != '{' {
		return
	}
	var tier []byte
	switch m.walk.root {
	case chatRoot, responsesRoot:
		m.openAI.parse(raw)
	case messagesRoot:
		m.anthropic.parse(raw)
		tier = m.anthropic.tier
	case geminiRoot:
		m.gemini.parse(raw)
		tier = m.gemini.tier
	}
	if len(tier) > 0 {
		m.tier.set(tier)
	}
	m.known, m.provisional = true, at == startUsageValue
}

// takeType takes the type of an event, or what an answer says it is.
func (m *Meter) takeType(name []byte) {
	switch string(name) {
	case "error":
		m.fail(m.code)
	case "message_stop", "response.completed", "response.incomplete":
		m.complete = true
	case "response.failed":
		m.complete = true
		m.fail("")
	}
}

// fail notes that the answer is or has become an error. The first kind that is known stays.
func (m *Meter) fail(kind string) {
	m.failed = true
	if m.kind == "" || m.kind == OtherKind {
		m.kind = kind
		if kind == "" {
			m.kind = OtherKind
		}
	}
}

// Usage is what the provider said the answer used, as far as it said it by now; false when it said nothing. Counting
// tokens uses nothing.
func (m *Meter) Usage() (Usage, bool) {
	if !m.known {
		return Usage{}, m.op == CountTokens
	}
	switch m.walk.root {
	case chatRoot, responsesRoot:
		return m.openAI.canonical(), true
	case messagesRoot:
		return m.anthropic.canonical(), true
	}
	u := m.gemini.canonical()
	u.WebSearches = m.walk.searches
	return u, true
}

// UsageFinal reports whether Usage is the provider's last word. It is not when a stream was cut after it had stated
// its input or a count so far: then the output is a lower bound, and OutputBytes may tell more.
func (m *Meter) UsageFinal() bool {
	_, known := m.Usage()
	return known && !m.provisional && m.Complete()
}

// Content reports whether anything was generated: text, tool calls, reasoning, a refusal, audio, images. Frames that
// merely open or accompany a stream do not count. Bodies that are no readable stream have content from their first byte.
func (m *Meter) Content() bool {
	if m.opaque() || m.enc.encoded() {
		return m.begun
	}
	return m.walk.content
}

// Complete reports whether a stream has come to the end its dialect marks: [DONE] or a finish reason for every choice,
// message_stop, response.completed, .incomplete or .failed, a finishReason or blockReason. An error event alone is no
// such mark. Bodies that are no stream, or that could not be read, are complete as far as the Meter knows.
func (m *Meter) Complete() bool {
	return m.opaque() || m.Unread() || m.complete || m.walk.ended()
}

// opaque reports whether the body is no stream.
func (m *Meter) opaque() bool { return m.format != EventStream && m.format != JSONArray }

// Failed reports whether the answer, whatever its status, is an error or broke off with an error event, and its kind:
// the provider's own code, type or status when it is one of a closed list of known ones, else OtherKind.
func (m *Meter) Failed() (kind string, failed bool) { return m.kind, m.failed }

// OutputBytes is the number of bytes of text generated so far: of the JSON strings that carry text, tool names and
// arguments, reasoning and refusals, as they stand on the wire. Escapes make it larger than the text, numbers inside
// of tool arguments that are no strings make it smaller; audio, images and signatures do not count.
func (m *Meter) OutputBytes() int64 { return m.walk.output + max(m.walk.thoughts, m.walk.aliases) }

// ServiceTier is the tier that served the request as the answer names it, the name Anthropic gives its speed if that is
// "fast", or Gemini's traffic type; empty when it says nothing. It aliases m.
func (m *Meter) ServiceTier() []byte { return m.tier.bytes() }

// Model is the model that answered as the answer names it; empty when it does not. It aliases m.
func (m *Meter) Model() []byte { return m.model.bytes() }

// Unread reports that the body could not be read: an unknown or broken content encoding, or too large a body behind one.
func (m *Meter) Unread() bool { return m.enc.unread }
