package sim

const eventStream = "text/event-stream; charset=utf-8"

// stream writes the chunks of a chat completion.
func (c *chatWriter) stream() {
	a, p := c.a, c.p
	a.ctype, a.stream = eventStream, true
	for i := range p.choices {
		c.open(i)
		if len(p.calls) > 0 {
			a.str(`{"role":"assistant","content":null,"refusal":null}`)
		} else {
			a.str(`{"role":"assistant","content":"","refusal":null}`)
		}
		c.close("", 0)
	}
	if len(p.calls) > 0 {
		c.streamCalls()
	} else {
		c.streamText()
	}
	a.tail = len(a.frames)
	for i := range p.choices {
		c.open(i)
		a.str(`{}`)
		c.close(c.finish(), 0)
	}
	if c.x.in.includeUsage {
		a.str("data: ")
		c.chunkHead()
		a.str(`,"choices":[],"usage":`)
		c.usage()
		c.end(0)
	}
	a.str("data: [DONE]\n\n")
	a.cut(0)
}

// streamText writes the text of all choices, taking turns.
func (c *chatWriter) streamText() {
	a, p, step := c.a, c.p, c.x.chunk()
	wait := p.reasoning // what was thought passes unseen before the first word
	for from := 0; from < p.output; from += step {
		until := min(from+step, p.output)
		for i := range p.choices {
			c.open(i)
			a.str(`{"content":"`)
			a.body = appendWords(a.body, p.text(i), from, until)
			a.str(`"}`)
			c.close("", wait)
			wait = 0
		}
		wait = min(step, p.output-until)
	}
}

// streamCalls writes tool calls: their name first, their arguments piece by piece.
func (c *chatWriter) streamCalls() {
	a, p := c.a, c.p
	wait := p.reasoning
	for choice := range p.choices {
		for i := range p.calls {
			call := &p.calls[i]
			c.open(choice)
			a.str(`{"tool_calls":[{"index":`)
			a.int(i)
			a.str(`,"id":"`)
			a.str(c.x.id("call_", 24, alphabet))
			a.str(`","type":"function","function":{"name":`)
			a.quote(call.name)
			a.str(`,"arguments":""}}]}`)
			c.close("", wait)
			for _, piece := range call.pieces(c.x.chunk()) {
				c.open(choice)
				a.str(`{"tool_calls":[{"index":`)
				a.int(i)
				a.str(`,"function":{"arguments":`)
				a.quote(piece)
				a.str(`}}]}`)
				c.close("", c.x.chunk())
			}
			wait = c.x.chunk()
		}
	}
}

// open starts a chunk with one choice, up to its delta.
func (c *chatWriter) open(choice int) {
	a := c.a
	a.str("data: ")
	c.chunkHead()
	a.str(`,"choices":[{"index":`)
	a.int(choice)
	a.str(`,"delta":`)
}

func (c *chatWriter) chunkHead() {
	c.head("chat.completion.chunk")
	c.a.str(`,"service_tier":"`)
	c.a.str(c.x.servedTier())
	c.a.str(`","system_fingerprint":"fp_51a5b1a7ed"`)
}

// close ends a chunk behind its delta. With include_usage every chunk says that its usage is null.
func (c *chatWriter) close(finish string, wait int) {
	a := c.a
	a.str(`,"logprobs":null,"finish_reason":`)
	a.quoteOrNull(finish)
	a.str(`}]`)
	if c.x.in.includeUsage {
		a.str(`,"usage":null`)
	}
	c.end(wait)
}

// end closes the object, padded against eavesdroppers who measure the length of tokens, and the event.
func (c *chatWriter) end(wait int) {
	a := c.a
	if !c.x.in.noObfuscation {
		a.str(`,"obfuscation":"`)
		h := scramble(c.p.seed + uint64(len(a.frames)))
		for i := range 2 + int(h>>60) {
			a.body = append(a.body, alphabet[(h>>(i*3))%uint64(len(alphabet))])
		}
		a.str(`"`)
	}
	a.str("}\n\n")
	a.cut(wait)
}
