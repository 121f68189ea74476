package sim

// completions answers POST …/completions, the legacy text API.
func (x *exchange) completions(a *answer) {
	if !x.openAIAdmits(a, "prompt", x.in.prompt) {
		return
	}
	x.seal(x.in.prompt.Raw)
	if n := len(x.in.prompt.Array()); x.in.prompt.IsArray() && n > 1 && x.in.prompt.Get("0").Type.String() == "String" {
		x.in.choices *= n // one answer per prompt
	}
	p := x.plan(0, nil)
	x.accountOpenAI(&p, x.in.prompt, x.in.prompt.Raw)
	x.settle(&p)
	c := completionWriter{chatWriter{x: x, a: a, p: &p, id: x.id("cmpl-", 29, alphabet), created: x.now().Unix()}}
	if x.in.stream {
		c.stream()
		return
	}
	c.plain()
}

// completionWriter spells a plan as legacy completions do.
type completionWriter struct{ chatWriter }

func (c *completionWriter) plain() {
	a, p := c.a, c.p
	a.ctype = "application/json"
	a.tokens = p.output
	c.head("text_completion")
	a.str(`,"choices":[`)
	for i := range p.choices {
		if i > 0 {
			a.str(",")
		}
		c.choice(i, 0, p.output, c.finish())
	}
	a.str(`],"usage":`)
	c.usage()
	a.str(`}`)
}

// choice writes a choice with the given tokens of its text.
func (c *completionWriter) choice(i, from, until int, finish string) {
	a := c.a
	a.str(`{"text":"`)
	a.body = appendWords(a.body, c.p.text(i), from, until)
	a.str(`","index":`)
	a.int(i)
	a.str(`,"logprobs":null,"finish_reason":`)
	a.quoteOrNull(finish)
	a.str(`}`)
}

func (c *completionWriter) stream() {
	a, p, step := c.a, c.p, c.x.chunk()
	a.ctype, a.stream = eventStream, true
	wait := 0
	for from := 0; from < p.output; from += step {
		until := min(from+step, p.output)
		for i := range p.choices {
			c.event(i, from, until, "", wait)
			wait = 0
		}
		wait = min(step, p.output-until)
	}
	a.tail = len(a.frames)
	for i := range p.choices {
		c.event(i, 0, 0, c.finish(), 0)
	}
	if c.x.in.includeUsage {
		a.str("data: ")
		c.head("text_completion")
		a.str(`,"choices":[],"usage":`)
		c.usage()
		c.end(0)
	}
	a.str("data: [DONE]\n\n")
	a.cut(0)
}

func (c *completionWriter) event(choice, from, until int, finish string, wait int) {
	a := c.a
	a.str("data: ")
	c.head("text_completion")
	a.str(`,"choices":[`)
	c.choice(choice, from, until, finish)
	a.str(`]`)
	if c.x.in.includeUsage {
		a.str(`,"usage":null`)
	}
	c.end(wait)
}
