package sim

import (
	"strings"

	"github.com/tidwall/gjson"
)

// bytesPerToken is how tokens are counted: no simulated tokenizer is the right one, a constant is at least checkable.
const bytesPerToken = 4

// plan is what the simulated model is going to say, before a dialect spells it.
type plan struct {
	input   int // tokens read, media included, cached or not
	cached  int // of input
	write5m int // of input: written to the cache for 5 minutes
	write1h int
	image   int // of input
	audio   int

	reasoning int // tokens per choice
	output    int // visible tokens per choice
	choices   int
	length    bool // the token limit cut the answer
	calls     []call
	seed      uint64 // of the text of the first choice
	thoughts  uint64 // seed of the reasoning text
}

// call is a call of one of the request's tools.
type call struct {
	name      string
	arguments string // JSON
}

// text is the seed of the text of a choice.
func (p *plan) text(choice int) uint64 { return p.seed + uint64(choice)*0x632be59bd9b4e019 }

// visible is the number of tokens of a choice's content, in text or calls.
func (p *plan) visible() int {
	n := p.output
	for i := range p.calls {
		n += p.calls[i].tokens()
	}
	return n
}

// generated is the number of output tokens of all choices.
func (p *plan) generated() int { return p.choices * (p.reasoning + p.visible()) }

// tokens is what a call costs: its arguments and its name.
func (c *call) tokens() int { return countTokens(len(c.arguments)) + countTokens(len(c.name)) }

// countTokens is the number of tokens n bytes make, at least one.
func countTokens(n int) int { return max(1, (n+bytesPerToken-1)/bytesPerToken) }

// defaultTokens is the least length of an answer nobody ordered a length for; up to as many again are added.
const defaultTokens = 16

// plan decides about the output, in functions of the prompt only. The prompt has been sealed.
func (x *exchange) plan(reasoning int, calls []call) plan {
	r := random{x.hash}
	p := plan{seed: r.next(), thoughts: r.next(), choices: x.in.choices, calls: calls}
	if x.d.tokens.set {
		p.output = int(x.d.tokens.draw(&r))
	} else {
		p.output = defaultTokens + int(r.next()%defaultTokens)
	}
	if len(calls) > 0 {
		p.output = 0
	}
	if x.d.faults.has(faultHuge) {
		x.took(faultHuge)
		p.output, p.calls = x.d.size.or(defaultHuge)/bytesPerToken, nil
	}
	p.reasoning = x.d.reasoning.or(reasoning)
	if limit := x.in.maxTokens; limit > 0 {
		if p.reasoning >= limit {
			p.reasoning, p.output, p.calls, p.length = limit, 0, nil, true
		} else if p.output > limit-p.reasoning {
			p.output, p.length = limit-p.reasoning, true
		}
	}
	return p
}

// account fills in what was read: text by its bytes, media by their own measure, and what a cache knew of it.
func (x *exchange) account(p *plan, text int, m media) {
	p.image, p.audio = m.image, m.audio
	p.input = x.d.input.or(countTokens(max(0, text-m.bytes)) + m.image + m.audio)
}

// settle counts the tokens of an answer that is going to be sent.
func (x *exchange) settle(p *plan) {
	st := &x.srv.stats
	st.tokensInput.Add(int64(p.input))
	st.tokensCached.Add(int64(p.cached))
	st.tokensOutput.Add(int64(p.generated()))
	x.used(p.input, p.cached, p.generated())
}

// chunk is the number of tokens in a frame.
func (x *exchange) chunk() int {
	if x.d.faults.has(faultHuge) {
		return max(x.d.chunk, 4096)
	}
	return max(x.d.chunk, 1)
}

// media is what a prompt holds beside text.
type media struct {
	bytes int // of JSON that are not text
	image int // tokens
	audio int
}

// Tokens that media cost, near the providers' own tables.
const (
	openAIImageLow  = 85
	openAIImageHigh = 765
	anthropicImage  = 1024
	geminiImage     = 258

	audioBytesPerToken    = 1000 // of base64
	documentBytesPerToken = 100  // of base64
)

// mediaNesting is how deep content parts may stand in content parts.
const mediaNesting = 8

// count adds the media in v, which is a list of messages or whatever holds content parts, of any dialect.
func (m *media) count(v gjson.Result, depth int) {
	if depth > mediaNesting || !v.IsArray() && !v.IsObject() {
		return
	}
	var (
		inside media
		p      = contentPart{json: v}
		object = v.IsObject()
	)
	v.ForEach(func(key, child gjson.Result) bool {
		if object {
			p.member(key.Str, child)
		}
		inside.count(child, depth+1)
		return true
	})
	if !object || !m.part(&p) {
		m.bytes += inside.bytes
		m.image += inside.image
		m.audio += inside.audio
	}
}

// contentPart is what matters of an object that may be a medium.
type contentPart struct {
	json, audio, inline gjson.Result
	kind                string
	low                 bool // detail
}

func (p *contentPart) member(name string, v gjson.Result) {
	switch name {
	case "type":
		p.kind = v.Str
	case "detail":
		p.low = v.Str == "low"
	case "image_url":
		p.low = p.low || v.Get("detail").Str == "low"
	case "input_audio":
		p.audio = v
	case "inlineData", "inline_data", "fileData", "file_data":
		p.inline = v
	}
}

// part counts an object and tells whether it was a medium.
func (m *media) part(p *contentPart) bool {
	switch {
	case p.kind == "image_url" || p.kind == "input_image":
		if p.low {
			m.image += openAIImageLow
		} else {
			m.image += openAIImageHigh
		}
	case p.kind == "image":
		m.image += anthropicImage
	case p.kind == "input_audio":
		m.audio += 1 + len(p.audio.Get("data").Raw)/audioBytesPerToken
	case p.kind == "document" || p.kind == "file" || p.kind == "input_file":
		m.image += 1 + len(p.json.Raw)/documentBytesPerToken
	case p.kind == "" && p.inline.Exists():
		if strings.HasPrefix(either(p.inline, "mimeType", "mime_type").Str, "audio/") {
			m.audio += 1 + len(p.inline.Get("data").Raw)/audioBytesPerToken
		} else {
			m.image += geminiImage
		}
	default:
		return false
	}
	m.bytes += len(p.json.Raw)
	return true
}
