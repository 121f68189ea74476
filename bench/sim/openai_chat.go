package sim

import (
	"github.com/tidwall/gjson"
)

// chat answers POST …/chat/completions.
func (x *exchange) chat(a *answer) {
	if !x.openAIAdmits(a, "messages", x.in.messages) {
		return
	}
	x.seal(x.in.tools.Raw, x.in.messages.Raw)
	p := x.planChat()
	x.settle(&p)
	c := chatWriter{x: x, a: a, p: &p, id: x.id("chatcmpl-", 29, alphabet), created: x.now().Unix()}
	if x.in.stream {
		c.stream()
		return
	}
	c.plain()
}

// openAIAdmits checks what every OpenAI generation call must hold.
func (x *exchange) openAIAdmits(a *answer, name string, prompt gjson.Result) bool {
	switch {
	case !x.in.valid:
		a.reset()
		a.openAIError(400, "We could not parse the JSON body of your request.", "invalid_request_error", "", "")
	case x.in.model == "":
		a.reset()
		a.openAIError(400, "you must provide a model parameter", "invalid_request_error", "", "")
	case !prompt.Exists():
		a.reset()
		a.openAIError(400, "Missing required parameter: '"+name+"'.", "invalid_request_error", name, "missing_required_parameter")
	case x.in.choices < 1 || x.in.choices > maxChoices:
		a.reset()
		a.openAIError(400, "Invalid 'n': want an integer from 1 to 128.", "invalid_request_error", "n", "integer_out_of_range")
	default:
		return true
	}
	return false
}

// maxChoices is how many choices the real API gives at most.
const maxChoices = 128

// planChat decides what to say to a chat.
func (x *exchange) planChat() plan {
	var tools []tool
	x.in.tools.ForEach(func(_, t gjson.Result) bool {
		if f := t.Get("function"); f.Exists() {
			tools = append(tools, tool{f.Get("name").Str, f.Get("parameters")})
		}
		return true
	})
	var last gjson.Result
	x.in.messages.ForEach(func(_, m gjson.Result) bool {
		last = m
		return true
	})
	calls := x.callTools(tools, x.in.toolChoice.Get("function.name").Str, x.in.toolChoice.Str == "none",
		last.Get("role").Str == "tool" && x.in.toolChoice.Str != "required")
	p := x.plan(x.openAIReasoning(x.in.effort.Str), calls)
	x.accountOpenAI(&p, x.in.messages, x.in.tools.Raw, x.in.messages.Raw)
	return p
}

// accountOpenAI counts the prompt and looks it up in the cache of the caller's key.
func (x *exchange) accountOpenAI(p *plan, withMedia gjson.Result, parts ...string) {
	var m media
	m.count(withMedia, 0)
	size := 0
	for _, s := range parts {
		size += len(s)
	}
	x.account(p, size, m)
	known := x.srv.cache.implicit(fold(uint64(x.dialect), x.credential()), x.now(), parts...)
	p.cached = min(x.d.cached.or(known), p.input)
}

// reasoningModels are prefixes of models that think unasked.
var reasoningModels = [...]string{"o1", "o3", "o4", "gpt-5"}

// openAIReasoning is the number of reasoning tokens of an effort.
func (x *exchange) openAIReasoning(effort string) int {
	switch effort {
	case "none":
		return 0
	case "minimal":
		return 4
	case "low":
		return 16
	case "medium":
		return 32
	case "high":
		return 64
	case "xhigh":
		return 128
	}
	for _, prefix := range reasoningModels {
		if len(x.in.model) >= len(prefix) && x.in.model[:len(prefix)] == prefix {
			return 32
		}
	}
	return 0
}

// chatWriter spells a plan as chat completions do.
type chatWriter struct {
	x       *exchange
	a       *answer
	p       *plan
	id      string
	created int64
}

func (c *chatWriter) finish() string {
	switch {
	case len(c.p.calls) > 0:
		return "tool_calls"
	case c.p.length:
		return "length"
	}
	return "stop"
}

// head writes what stands at the start of every object.
func (c *chatWriter) head(object string) {
	a := c.a
	a.str(`{"id":"`)
	a.str(c.id)
	a.str(`","object":"`)
	a.str(object)
	a.str(`","created":`)
	a.int(int(c.created))
	a.str(`,"model":`)
	a.quote(c.x.in.model)
}

// tier is the service tier that served the request.
func (x *exchange) servedTier() string {
	switch t := x.in.tier.Str; t {
	case "flex", "priority", "scale":
		return t
	}
	return "default"
}

func (c *chatWriter) plain() {
	a, p := c.a, c.p
	a.ctype = "application/json"
	a.tokens = p.reasoning + p.visible()
	c.head("chat.completion")
	a.str(`,"choices":[`)
	for i := range p.choices {
		if i > 0 {
			a.str(",")
		}
		a.str(`{"index":`)
		a.int(i)
		a.str(`,"message":{"role":"assistant","content":`)
		if len(p.calls) > 0 {
			a.str("null,\"tool_calls\":")
			c.toolCalls()
		} else {
			a.str(`"`)
			a.body = appendWords(a.body, p.text(i), 0, p.output)
			a.str(`"`)
		}
		a.str(`,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"`)
		a.str(c.finish())
		a.str(`"}`)
	}
	a.str(`],"usage":`)
	c.usage()
	a.str(`,"service_tier":"`)
	a.str(c.x.servedTier())
	a.str(`","system_fingerprint":"fp_51a5b1a7ed"}`)
}

func (c *chatWriter) toolCalls() {
	a := c.a
	a.str("[")
	for i, call := range c.p.calls {
		if i > 0 {
			a.str(",")
		}
		a.str(`{"id":"`)
		a.str(c.x.id("call_", 24, alphabet))
		a.str(`","type":"function","function":{"name":`)
		a.quote(call.name)
		a.str(`,"arguments":`)
		a.quote(call.arguments)
		a.str(`}}`)
	}
	a.str("]")
}

func (c *chatWriter) usage() { c.a.openAIUsage(c.p, c.x.d.audio.or(0)) }

// openAIUsage is the usage object of chat completions and completions.
func (a *answer) openAIUsage(p *plan, audio int) {
	a.str(`{"prompt_tokens":`)
	a.int(p.input)
	a.str(`,"completion_tokens":`)
	a.int(p.generated() + audio)
	a.str(`,"total_tokens":`)
	a.int(p.input + p.generated() + audio)
	a.str(`,"prompt_tokens_details":{"cached_tokens":`)
	a.int(p.cached)
	a.str(`,"audio_tokens":`)
	a.int(p.audio)
	a.str(`},"completion_tokens_details":{"reasoning_tokens":`)
	a.int(p.choices * p.reasoning)
	a.str(`,"audio_tokens":`)
	a.int(audio)
	a.str(`,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`)
}
