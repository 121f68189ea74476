package cache

import (
	"errors"

	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/sse"
)

// ErrNotConvertible says that an answer can't be told exactly in the form that a client wants: the cache is a miss then.
var ErrNotConvertible = errors.New("answer not convertible")

// Form is how a client wants its answer.
type Form struct {
	Format       provider.Format
	IncludeUsage bool // OpenAI chat and completions: a stream tells its usage
}

// FormOf is the form that a request asks for. query is raw, without '?'.
func FormOf(op provider.Operation, r *provider.Request, query []byte) Form {
	if !r.Stream || op == provider.Embeddings || op == provider.EmbedContent {
		return Form{Format: provider.Plain}
	}
	format, _ := streamFormat(op, query)
	return Form{Format: format, IncludeUsage: r.IncludeUsage}
}

// Converter tells stored answers in other forms of their dialect. It is meant to be pooled; the zero value is ready to use. It is not safe for
// concurrent use.
type Converter struct {
	tape    tape // the document or the event that is being read
	array   tape
	scanner sse.Scanner
	scrub   provider.Scrubber
	stored  provider.Meter
	told    provider.Meter
	scratch []byte
}

// Release lets go of what was read and of memory that has grown too large.
func (c *Converter) Release() {
	c.tape.reset()
	c.array.reset()
	c.scanner.Reset()
	c.scrub.Reset()
	c.stored.Reset(provider.Opaque, provider.Ignored)
	c.told.Reset(provider.Opaque, provider.Ignored)
	if c.scratch = c.scratch[:0]; cap(c.scratch) > idleSize {
		c.scratch = nil
	}
}

// Append appends the entry's answer in the form that is wanted, or fails with ErrNotConvertible. A stored stream of the same framing is given as it came,
// but for the usage that its client did not ask for. What it appends does not alias the entry. The body of a hit that is wanted as it is stored need not
// be copied: see Verbatim.
func (c *Converter) Append(dst []byte, e *Entry, f Form) ([]byte, error) {
	if Verbatim(e, f) {
		return append(dst, e.Answer...), nil
	}
	start := len(dst)
	dst, err := c.convert(dst, e, f)
	if err != nil {
		return dst[:start], ErrNotConvertible
	}
	if told := dst[start:]; f.Format != e.Format && !c.sameUsage(e, f, told) {
		return dst[:start], ErrNotConvertible
	}
	return dst, nil
}

// Verbatim reports whether the answer can be given as it is stored.
func Verbatim(e *Entry, f Form) bool {
	return e.Format == f.Format && (f.Format != provider.EventStream || !e.Asked || f.IncludeUsage || !tellsUsage(e.Operation))
}

// tellsUsage knows the operations whose streams tell usage only to who asks.
func tellsUsage(op provider.Operation) bool {
	return op == provider.ChatCompletions || op == provider.Completions
}

// sameUsage checks by the meter what the conversion must keep: what the answer has used.
func (c *Converter) sameUsage(e *Entry, f Form, told []byte) bool {
	if f.Format == provider.EventStream && tellsUsage(e.Operation) && !f.IncludeUsage {
		return true // nothing is told
	}
	return usageOf(&c.stored, e.Operation, e.Format, e.Answer) == usageOf(&c.told, e.Operation, f.Format, told)
}

func usageOf(m *provider.Meter, op provider.Operation, f provider.Format, answer []byte) provider.Usage {
	m.Reset(op, f)
	m.Write(answer)
	m.Close()
	u, _ := m.Usage()
	return u
}

// convert tells the answer in another form.
func (c *Converter) convert(dst []byte, e *Entry, f Form) ([]byte, error) {
	if e.Format == f.Format { // a stream whose client wants no usage
		c.scrub.Reset()
		dst = c.scrub.Append(dst, e.Answer)
		return c.scrub.Close(dst), nil
	}
	if e.Operation == provider.GenerateContent {
		return c.gemini(dst, e, f.Format)
	}
	toBody := e.Format == provider.EventStream && f.Format == provider.Plain
	if !toBody && (e.Format != provider.Plain || f.Format != provider.EventStream) {
		return dst, ErrNotConvertible
	}
	switch e.Operation {
	case provider.ChatCompletions, provider.Completions:
		if toBody {
			return c.chatBody(dst, e)
		}
		return c.chatStream(dst, e, f.IncludeUsage)
	case provider.Responses:
		if toBody {
			return c.responseBody(dst, e)
		}
		return c.responseStream(dst, e)
	case provider.Messages:
		if toBody {
			return c.messageBody(dst, e)
		}
		return c.messageStream(dst, e)
	}
	return dst, ErrNotConvertible
}

// compacted reads a body that is to become events, which must hold no line breaks.
func (c *Converter) compacted(body []byte) error {
	c.scratch = compact(c.scratch[:0], body)
	if c.tape.parse(c.scratch) != nil || !c.tape.is(0, kindObject) {
		return ErrNotConvertible
	}
	return nil
}
