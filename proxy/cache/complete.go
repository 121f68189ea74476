package cache

import (
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/sse"
)

// Answer is what was recorded of an answer.
type Answer struct {
	Operation provider.Operation
	Format    provider.Format
	Status    int
	Body      []byte // all of it, as the provider sent it, without content encoding
	Usage     bool   // the provider said what it used, and that was its last word (Meter.UsageFinal): nothing is estimated
}

// Refusal says why an answer is not stored; empty: it is. The values are constants, fit for the label of a metric.
type Refusal string

// The refusals.
const (
	Stored       Refusal = ""
	BadStatus    Refusal = "status"
	NoUsage      Refusal = "usage"
	TooLarge     Refusal = "size"
	Malformed    Refusal = "malformed" // no JSON, or no such answer
	Failed       Refusal = "error"     // an error, or an error event
	Cut          Refusal = "cut"       // a stream without its end
	BadFinish    Refusal = "finish"    // a limit, a filter, or a reason that the route does not keep
	NotCacheable Refusal = "operation"
)

// Checker decides whether answers may be stored. It is meant to be pooled; the zero value is ready to use. It is not safe for concurrent use.
type Checker struct {
	tape    tape
	array   tape
	scanner sse.Scanner

	op      provider.Operation
	s       *Settings
	choices [maxChoices]choiceEnd
	seen    int // choices there are
	ended   bool
}

const statusOK = 200

// maxChoices is the number of choices of an answer that are told apart; one with more is not stored.
const maxChoices = 16

type choiceEnd struct {
	index int64
	ended bool
}

// Release lets go of the answer and of memory that has grown too large.
func (c *Checker) Release() {
	c.tape.reset()
	c.array.reset()
	c.scanner.Reset()
	c.s = nil
}

// Complete says whether the recorded answer may be stored under a route's settings: a good one, whole, that ended of its own accord.
func (c *Checker) Complete(a *Answer, s *Settings) Refusal {
	switch {
	case !cacheable(a.Operation):
		return NotCacheable
	case a.Status != statusOK:
		return BadStatus
	case len(a.Body) > s.MaxSize():
		return TooLarge
	}
	c.op, c.s, c.seen, c.ended = a.Operation, s, 0, false
	r := Malformed
	switch a.Format {
	case provider.Plain:
		r = c.document(a.Body)
	case provider.EventStream, provider.JSONArray:
		r = c.stream(a)
	}
	if r == Stored && !a.Usage {
		return NoUsage
	}
	return r
}

// document checks an answer that is one document.
func (c *Checker) document(body []byte) Refusal {
	t := &c.tape
	if t.parse(body) != nil || !t.is(0, kindObject) {
		return Malformed
	}
	if !t.isNull(t.member(0, "error")) {
		return Failed
	}
	switch c.op {
	case provider.Embeddings:
		return c.holds("data")
	case provider.EmbedContent:
		if r := c.holds("embeddings"); r == Stored {
			return r
		}
		return c.holds("embedding")
	case provider.Responses:
		return c.response(0)
	case provider.Messages:
		if string(t.inside(t.member(0, "type"))) != "message" || !t.is(t.member(0, "content"), kindArray) {
			return Malformed
		}
		return c.finish(t.member(0, "stop_reason"))
	}
	if r := c.chunk(); r != Stored {
		return r
	}
	return c.end()
}

// holds checks that a document has a member of that name that is not empty.
func (c *Checker) holds(name string) Refusal {
	at := c.tape.member(0, name)
	if c.tape.isNull(at) || c.tape.empty(at) {
		return Malformed
	}
	return Stored
}

// finish checks why something ended.
func (c *Checker) finish(at int32) Refusal {
	if !c.tape.is(at, kindString) || !c.s.Finished(c.tape.inside(at)) {
		return BadFinish
	}
	return Stored
}

// response checks the response object in a node.
func (c *Checker) response(at int32) Refusal {
	t := &c.tape
	status := t.member(at, "status")
	switch {
	case !t.isNull(t.member(at, "error")):
		return Failed
	case !t.is(t.member(at, "output"), kindArray):
		return Malformed
	case string(t.inside(status)) == "incomplete":
		return c.finish(t.member(t.member(at, "incomplete_details"), "reason"))
	}
	return c.finish(status)
}

// chunk reads the choices of a document or of an event of a stream.
func (c *Checker) chunk() Refusal {
	t, list, reason := &c.tape, "choices", "finish_reason"
	if c.op == provider.GenerateContent {
		list, reason = "candidates", "finishReason"
	}
	choices := t.member(0, list)
	if choices == nowhere {
		if c.op == provider.GenerateContent { // a chunk may hold usage alone
			return Stored
		}
		return Malformed
	}
	if !t.is(choices, kindArray) {
		return Malformed
	}
	for e := choices + 1; e < t.nodes[choices].next; e = t.nodes[e].next {
		if !t.is(e, kindObject) || !t.isNull(t.member(e, "error")) {
			return Failed
		}
		one := c.choice(e)
		if one == nil {
			return Malformed
		}
		if at := t.member(e, reason); !t.isNull(at) && len(t.inside(at)) > 0 {
			if r := c.finish(at); r != Stored {
				return r
			}
			one.ended = true
		}
	}
	return Stored
}

// choice is what is known of the choice in a node; nil if there are too many.
func (c *Checker) choice(at int32) *choiceEnd {
	index := int64(0)
	if i := c.tape.member(at, "index"); i != nowhere {
		index = countOf(c.tape.raw(i))
	}
	for i := range c.choices[:c.seen] {
		if c.choices[i].index == index {
			return &c.choices[i]
		}
	}
	if c.seen == maxChoices {
		return nil
	}
	c.choices[c.seen] = choiceEnd{index: index}
	c.seen++
	return &c.choices[c.seen-1]
}

// end checks that there were choices and all have ended.
func (c *Checker) end() Refusal {
	if c.seen == 0 {
		return BadFinish
	}
	for _, one := range c.choices[:c.seen] {
		if !one.ended {
			return Cut
		}
	}
	return Stored
}

// stream checks an answer that is a stream.
func (c *Checker) stream(a *Answer) Refusal {
	if a.Format == provider.JSONArray && a.Operation != provider.GenerateContent {
		return Malformed
	}
	for ev, err := range eventsOf(&c.scanner, &c.array, a.Format, a.Body) {
		if err != nil {
			return Cut
		}
		if r := c.event(&ev); r != Stored {
			return r
		}
	}
	switch c.op {
	case provider.GenerateContent:
		return c.end()
	case provider.ChatCompletions, provider.Completions:
		if r := c.end(); r != Stored {
			return r
		}
	}
	if !c.ended {
		return Cut
	}
	return Stored
}

// event checks an event of a stream.
func (c *Checker) event(ev *event) Refusal {
	t := &c.tape
	switch {
	case c.ended: // nothing may follow the end
		return Malformed
	case string(ev.name) == "error":
		return Failed
	case string(ev.data) == done:
		c.ended = c.op == provider.ChatCompletions || c.op == provider.Completions
		return Stored
	case t.parse(ev.data) != nil || !t.is(0, kindObject):
		return Malformed
	case !t.isNull(t.member(0, "error")):
		return Failed
	}
	switch c.op {
	case provider.ChatCompletions, provider.Completions, provider.GenerateContent:
		return c.chunk()
	}
	switch string(t.inside(t.member(0, "type"))) {
	case "error", "response.failed":
		return Failed
	case "message_delta":
		if at := t.member(t.member(0, "delta"), "stop_reason"); !t.isNull(at) {
			c.seen = 1
			return c.finish(at)
		}
	case "message_stop":
		if c.seen == 0 {
			return BadFinish
		}
		c.ended = c.op == provider.Messages
	case "response.completed", "response.incomplete":
		c.ended = c.op == provider.Responses
		return c.response(t.member(0, "response"))
	}
	return Stored
}
