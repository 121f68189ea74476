package sim

import (
	"bytes"
	"encoding/json"
)

// contentWriter spells a plan as Gemini does. Its JSON has a blank behind every colon and, outside of event streams, is
// indented.
type contentWriter struct {
	x        *exchange
	a        *answer
	p        *plan
	id       string
	thoughts bool // the client wants to see them
	budget   bool // the limit on tokens ended the answer
}

// indent lays the body out as Gemini does outside of event streams.
func (a *answer) indent() {
	var buf bytes.Buffer
	if err := json.Indent(&buf, a.body, "", "  "); err != nil {
		panic("BUG: indenting: " + err.Error())
	}
	buf.WriteByte('\n')
	a.body = append(a.body[:0], buf.Bytes()...)
}

func (w *contentWriter) plain() {
	a, p := w.a, w.p
	a.ctype = geminiJSON
	a.tokens = p.reasoning + p.visible()
	w.open()
	for i := range p.choices {
		if i > 0 {
			a.str(",")
		}
		w.candidate(i, func() { w.allParts(i) }, true)
	}
	w.close(p.visible(), p.reasoning)
	a.indent()
}

// allParts writes everything a candidate says.
func (w *contentWriter) allParts(choice int) {
	a, p := w.a, w.p
	if w.thoughts {
		w.thought(0, p.reasoning)
		if p.output > 0 || len(p.calls) > 0 {
			a.str(",")
		}
	}
	for i := range p.calls {
		if i > 0 {
			a.str(",")
		}
		w.call(i)
	}
	if p.output > 0 {
		w.text(choice, 0, p.output)
	}
}

func (w *contentWriter) open() { w.a.str(`{"candidates": [`) }

// candidate writes one candidate; the last of a stream says why it ended.
func (w *contentWriter) candidate(index int, parts func(), last bool) {
	a := w.a
	a.str(`{"content": {"parts": [`)
	parts()
	a.str(`],"role": "model"}`)
	if last {
		a.str(`,"finishReason": "`)
		if w.budget {
			a.str(`MAX_TOKENS"`)
		} else {
			a.str(`STOP"`)
		}
	}
	a.str(`,"index": `)
	a.int(index)
	a.str(`}`)
}

// close writes what follows the candidates: usage of so many visible tokens a candidate by now, and the thoughts.
func (w *contentWriter) close(visible, thoughts int) {
	a, p := w.a, w.p
	candidates, thoughts := visible*p.choices, thoughts*p.choices
	audio := w.x.d.audio.or(0)
	a.str(`],"usageMetadata": {"promptTokenCount": `)
	a.int(p.input)
	if candidates+audio > 0 {
		a.str(`,"candidatesTokenCount": `)
		a.int(candidates + audio)
	}
	a.str(`,"totalTokenCount": `)
	a.int(p.input + candidates + audio + thoughts)
	if p.cached > 0 {
		a.str(`,"cachedContentTokenCount": `)
		a.int(p.cached)
	}
	a.str(`,"promptTokensDetails": [`)
	w.modalities(p.input-p.image-p.audio, p.image, p.audio)
	a.str(`]`)
	if p.cached > 0 {
		a.str(`,"cacheTokensDetails": [`)
		w.modalities(p.cached, 0, 0)
		a.str(`]`)
	}
	if audio > 0 {
		a.str(`,"candidatesTokensDetails": [`)
		w.modalities(candidates, 0, audio)
		a.str(`]`)
	}
	if thoughts > 0 {
		a.str(`,"thoughtsTokenCount": `)
		a.int(thoughts)
	}
	a.str(`,"serviceTier": "standard"},"modelVersion": `)
	a.quote(w.x.in.model)
	a.str(`,"responseId": "`)
	a.str(w.id)
	a.str(`"}`)
}

func (w *contentWriter) modalities(text, image, audio int) {
	a := w.a
	comma := ""
	for _, m := range [...]struct {
		name string
		n    int
	}{{"TEXT", text}, {"IMAGE", image}, {"AUDIO", audio}} {
		if m.n <= 0 {
			continue
		}
		a.str(comma + `{"modality": "` + m.name + `","tokenCount": `)
		a.int(m.n)
		a.str(`}`)
		comma = ","
	}
}

func (w *contentWriter) text(choice, from, until int) {
	w.a.str(`{"text": "`)
	w.a.body = appendWords(w.a.body, w.p.text(choice), from, until)
	w.a.str(`"}`)
}

func (w *contentWriter) thought(from, until int) {
	w.a.str(`{"text": "`)
	w.a.body = appendWords(w.a.body, w.p.thoughts, from, until)
	w.a.str(`","thought": true}`)
}

func (w *contentWriter) call(i int) {
	a, call := w.a, &w.p.calls[i]
	a.str(`{"functionCall": {"name": `)
	a.quote(call.name)
	a.str(`,"args": `)
	a.str(call.arguments)
	a.str(`}`)
	if i == 0 {
		a.str(`,"thoughtSignature": "` + signature + `"`)
	}
	a.str(`}`)
}

// stream writes the objects of a stream, as events or as the elements of an array.
func (w *contentWriter) stream() {
	a, p, step := w.a, w.p, w.x.chunk()
	a.stream, a.ctype = true, geminiJSON
	if w.x.in.sse {
		a.ctype = "text/event-stream"
	}
	a.header("Content-Disposition", "attachment")
	wait := 0
	if w.thoughts {
		for from := 0; from < p.reasoning; from += step {
			until := min(from+step, p.reasoning)
			w.object(0, func() { w.thought(from, until) }, 0, until, wait, false)
			wait = step
		}
	} else {
		wait = p.reasoning
	}
	if len(p.calls) > 0 {
		for i := range p.calls {
			last := i == len(p.calls)-1
			if last {
				a.tail = len(a.frames)
			}
			w.object(0, func() { w.call(i) }, p.visible(), p.reasoning, wait+p.calls[i].tokens(), last)
			wait = 0
		}
	} else {
		w.streamText(wait)
	}
	if !w.x.in.sse {
		a.str("]")
		a.cut(0)
	}
}

// streamText writes the text of all candidates; the last words come with the reason why they are the last.
func (w *contentWriter) streamText(wait int) {
	a, p, step := w.a, w.p, w.x.chunk()
	for from := 0; from < p.output || from == 0; from += step {
		until := min(from+step, p.output)
		last := until >= p.output
		if last {
			a.tail = len(a.frames)
		}
		for i := range p.choices {
			w.object(i, func() { w.text(i, from, until) }, until, p.reasoning, wait, last)
			wait = 0
		}
		wait = min(step, max(1, p.output-until))
	}
}

// object writes one object of the stream with one candidate.
func (w *contentWriter) object(candidate int, parts func(), visible, thoughts, wait int, last bool) {
	a := w.a
	if w.x.in.sse {
		a.str("data: ")
		w.open()
		w.candidate(candidate, parts, last)
		w.close(visible, thoughts)
		a.str("\r\n\r\n")
		a.cut(wait)
		return
	}
	if len(a.frames) == 0 {
		a.str("[")
	} else {
		a.str(",\r\n")
	}
	start := len(a.body)
	w.open()
	w.candidate(candidate, parts, last)
	w.close(visible, thoughts)
	one := answer{body: bytes.Clone(a.body[start:])}
	one.indent()
	a.body = append(a.body[:start], one.body...)
	a.cut(wait)
}
