package sim

import (
	"strings"

	"github.com/tidwall/gjson"
)

// anthropicAdmits checks what every Anthropic call must hold.
func (x *exchange) anthropicAdmits(a *answer, needsLimit bool) bool {
	refuse := func(message string) bool {
		a.failure(x, 400, message)
		return false
	}
	switch {
	case x.req.header("anthropic-version") == nil:
		return refuse("anthropic-version: header is required")
	case !x.in.valid:
		return refuse("The request body is not valid JSON")
	case x.in.model == "":
		return refuse("model: Field required")
	case !x.in.messages.Exists():
		return refuse("messages: Field required")
	case needsLimit && x.in.maxTokens <= 0:
		return refuse("max_tokens: Field required")
	}
	return true
}

// messages answers POST …/messages.
func (x *exchange) messages(a *answer) {
	if !x.anthropicAdmits(a, true) {
		return
	}
	prompt, refusal := x.prompt()
	if refusal != "" {
		a.failure(x, 400, refusal)
		return
	}
	x.sealPrompt(prompt)
	p := x.planMessage(prompt)
	x.settle(&p)
	w := messageWriter{x: x, a: a, p: &p, id: x.id("msg_01", 22, alphabet)}
	for range p.calls {
		w.toolIDs = append(w.toolIDs, x.id("toolu_01", 22, alphabet))
	}
	if x.in.stream {
		w.stream()
		return
	}
	w.plain()
}

func (x *exchange) planMessage(prompt []promptBlock) plan {
	var tools []tool
	x.in.tools.ForEach(func(_, t gjson.Result) bool {
		tools = append(tools, tool{t.Get("name").Str, t.Get("input_schema")})
		return true
	})
	var last gjson.Result
	x.in.messages.ForEach(func(_, m gjson.Result) bool {
		last = m
		return true
	})
	choice := x.in.toolChoice.Get("type").Str
	forced := ""
	if choice == "tool" {
		forced = x.in.toolChoice.Get("name").Str
	}
	calls := x.callTools(tools, forced, choice == "none",
		last.Get(`content.#(type=="tool_result")`).Exists() && choice != "any")
	p := x.plan(x.anthropicThinking(), calls)
	x.accountMessage(&p, prompt)
	return p
}

// anthropicThinking is the number of thinking tokens the request leads to.
func (x *exchange) anthropicThinking() int {
	const usual = 32
	switch x.in.thinking.Get("type").Str {
	case "enabled":
		return min(usual, max(1, int(x.in.thinking.Get("budget_tokens").Int())))
	case "adaptive":
		return usual
	}
	return 0
}

// accountMessage counts the prompt and looks its marked prefixes up in the cache.
func (x *exchange) accountMessage(p *plan, prompt []promptBlock) {
	sections := x.sections(prompt)
	if n := len(sections); n > 0 {
		p.input = sections[n-1].tokens
	}
	p.cached, p.write5m, p.write1h = x.srv.cache.explicit(sections, x.now())
	if x.d.cached.set {
		p.cached = x.d.cached.n
	}
	p.input = max(x.d.input.or(p.input), p.cached+p.write5m+p.write1h)
}

// countMessageTokens answers POST …/messages/count_tokens.
func (x *exchange) countMessageTokens(a *answer) {
	if !x.anthropicAdmits(a, false) {
		return
	}
	n := 0
	prompt, _ := x.prompt()
	if list := x.sections(prompt); len(list) > 0 {
		n = list[len(list)-1].tokens
	}
	a.json(200, []byte(`{"input_tokens":`+itoa(x.d.input.or(n))+`}`))
}

var anthropicModelNames = [...]string{"claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"}

// anthropicModels answers GET …/models and …/models/{id}.
func (x *exchange) anthropicModels(a *answer) {
	if x.req.header("anthropic-version") == nil {
		a.failure(x, 400, "anthropic-version: header is required")
		return
	}
	model := func(id string) string {
		return `{"type":"model","id":` + string(appendQuoted(nil, id)) + `,"display_name":` + string(appendQuoted(nil, id)) +
			`,"created_at":"2025-09-29T00:00:00Z","max_input_tokens":200000,"max_tokens":64000}`
	}
	if _, id, ok := strings.Cut(string(x.req.path), "/models/"); ok {
		if strings.HasPrefix(id, "missing") {
			a.failure(x, 404, "model: "+id)
			return
		}
		a.json(200, []byte(model(id)))
		return
	}
	list := make([]string, len(anthropicModelNames))
	for i, id := range anthropicModelNames {
		list[i] = model(id)
	}
	a.json(200, []byte(`{"data":[`+strings.Join(list, ",")+`],"has_more":false,"first_id":"`+anthropicModelNames[0]+
		`","last_id":"`+anthropicModelNames[len(anthropicModelNames)-1]+`"}`))
}
