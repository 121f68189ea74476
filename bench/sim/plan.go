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
	openAIImageLow    = 85
	openAIImageHigh   = 765
	anthropicImage    = 1024
	geminiImage       = 258
	audioBytesPerTok  = 1000 // of base64
	documentBytesTok  = 100  // of base64
	mediaNestingLimit = 8
)

// countMedia walks content parts, and containers of content parts, of any dialect.
func countMedia(v gjson.Result, m *media, depth int) {
	if depth > mediaNestingLimit || !v.IsArray() && !v.IsObject() {
		return
	}
	v.ForEach(func(key, part gjson.Result) bool {
		if !part.IsObject() && !part.IsArray() {
			return true
		}
		if part.IsObject() && m.part(part) {
			return true
		}
		countMedia(part, m, depth+1)
		return true
	})
}

// part counts one content part and tells whether it was a medium.
func (m *media) part(part gjson.Result) bool {
	image := 0
	switch part.Get("type").Str {
	case "image_url", "input_image":
		image = openAIImageHigh
		if part.Get("image_url.detail").Str == "low" || part.Get("detail").Str == "low" {
			image = openAIImageLow
		}
	case "image":
		image = anthropicImage
	case "input_audio":
		m.audio += 1 + len(part.Get("input_audio.data").Raw)/audioBytesPerTok
	case "document", "file", "input_file":
		m.image += 1 + len(part.Raw)/documentBytesTok
	case "":
		return m.geminiPart(part)
	default:
		return false
	}
	m.image += image
	m.bytes += len(part.Raw)
	return true
}

// geminiPart counts inlineData and fileData by their media type.
func (m *media) geminiPart(part gjson.Result) bool {
	data := either(part, "inlineData", "inline_data")
	if !data.Exists() {
		if data = either(part, "fileData", "file_data"); !data.Exists() {
			return false
		}
	}
	if mime := either(data, "mimeType", "mime_type").Str; strings.HasPrefix(mime, "audio/") {
		m.audio += 1 + len(data.Get("data").Raw)/audioBytesPerTok
	} else {
		m.image += geminiImage
	}
	m.bytes += len(part.Raw)
	return true
}
