package sim

import (
	"github.com/tidwall/gjson"
)

// payload is what a request's JSON body asks for, whatever its dialect. Results alias the body.
type payload struct {
	valid         bool // the body is a JSON object
	model         string
	stream        bool
	streamOptions bool // stream_options.include_usage is there
	includeUsage  bool // and true
	noObfuscation bool
	sse           bool // Gemini: alt=sse
	choices       int
	maxTokens     int // 0: no limit

	messages, system, input, prompt, contents, instructions gjson.Result
	tools, toolChoice, reasoning, thinking                  gjson.Result
	effort, format, tier, store, include, previous, meta    gjson.Result
	requests, content, encoding, dimensions                 gjson.Result
}

// parsePayload reads the body of a JSON request; others have an empty payload.
func (x *exchange) parsePayload() {
	x.in = payload{}
	x.in.parse(x.body)
	switch x.op {
	case opGenerate, opStreamGenerate, opGeminiCountTokens, opEmbedContent, opBatchEmbed, opGeminiModels:
		x.in.model = geminiModel(x.req.path)
		x.in.stream = x.op == opStreamGenerate
		x.in.sse = x.req.queryValue("alt") == "sse"
	default:
		if x.in.model == "" {
			x.in.model = deploymentModel(x.req.path)
		}
	}
}

func (p *payload) parse(body []byte) {
	p.choices = 1
	if len(body) == 0 || body[0] != '{' && body[0] > ' ' || !gjson.ValidBytes(body) {
		return
	}
	root := gjson.ParseBytes(body)
	if !root.IsObject() {
		return
	}
	p.valid = true
	root.ForEach(func(key, v gjson.Result) bool {
		p.field(key.Str, v)
		return true
	})
}

// field takes one member of the body. The dialects' names do not collide.
func (p *payload) field(name string, v gjson.Result) {
	switch name {
	case "model":
		p.model = v.Str
	case "stream":
		p.stream = v.Bool()
	case "stream_options":
		usage := v.Get("include_usage")
		p.streamOptions, p.includeUsage = usage.Exists(), usage.Bool()
		obfuscation := v.Get("include_obfuscation")
		p.noObfuscation = obfuscation.Exists() && !obfuscation.Bool()
	case "n":
		p.choices = int(v.Int())
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		p.maxTokens = int(v.Int())
	case "generationConfig", "generation_config":
		p.maxTokens = int(either(v, "maxOutputTokens", "max_output_tokens").Int())
		if n := int(either(v, "candidateCount", "candidate_count").Int()); n > 0 {
			p.choices = n
		}
		p.thinking = either(v, "thinkingConfig", "thinking_config")
	default:
		if slot := p.slot(name); slot != nil {
			*slot = v
		}
	}
}

// slot is where the member of that name is kept; nil if nobody asks for it.
func (p *payload) slot(name string) *gjson.Result {
	switch name {
	case "messages":
		return &p.messages
	case "system", "systemInstruction", "system_instruction":
		return &p.system
	case "input":
		return &p.input
	case "prompt":
		return &p.prompt
	case "contents":
		return &p.contents
	case "content":
		return &p.content
	case "requests":
		return &p.requests
	case "instructions":
		return &p.instructions
	case "tools":
		return &p.tools
	case "tool_choice", "toolConfig", "tool_config":
		return &p.toolChoice
	case "reasoning":
		return &p.reasoning
	case "reasoning_effort":
		return &p.effort
	case "thinking":
		return &p.thinking
	case "response_format":
		return &p.format
	case "service_tier":
		return &p.tier
	case "store":
		return &p.store
	case "include":
		return &p.include
	case "previous_response_id":
		return &p.previous
	case "metadata":
		return &p.meta
	case "encoding_format":
		return &p.encoding
	case "dimensions", "outputDimensionality":
		return &p.dimensions
	}
	return nil
}

// either returns the member under its first name, or else under its second.
func either(v gjson.Result, first, second string) gjson.Result {
	if r := v.Get(first); r.Exists() {
		return r
	}
	return v.Get(second)
}
