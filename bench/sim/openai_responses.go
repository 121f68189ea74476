package sim

import (
	"strings"

	"github.com/tidwall/gjson"
)

// responses answers POST …/responses.
func (x *exchange) responses(a *answer) {
	if !x.openAIAdmits(a, "input", x.in.input) {
		return
	}
	x.seal(x.in.instructions.Raw, x.in.tools.Raw, x.in.input.Raw)
	p := x.planResponse()
	x.settle(&p)
	w := newResponseWriter(x, a, &p)
	if x.in.stream {
		w.stream()
	} else {
		a.ctype = "application/json"
		a.tokens = p.reasoning + p.visible()
		w.response(w.finalStatus(), true)
	}
	if !x.in.store.Exists() || x.in.store.Bool() {
		stored := *w
		stored.a = &answer{}
		stored.response(w.finalStatus(), true)
		x.srv.objects.put(&object{kind: "response", id: w.id, json: stored.a.body})
	}
}

func (x *exchange) planResponse() plan {
	var tools []tool
	x.in.tools.ForEach(func(_, t gjson.Result) bool {
		if t.Get("type").Str == "function" {
			tools = append(tools, tool{t.Get("name").Str, t.Get("parameters")})
		}
		return true
	})
	var last gjson.Result
	if x.in.input.IsArray() {
		x.in.input.ForEach(func(_, item gjson.Result) bool {
			last = item
			return true
		})
	}
	calls := x.callTools(tools, x.in.toolChoice.Get("name").Str, x.in.toolChoice.Str == "none",
		last.Get("type").Str == "function_call_output" && x.in.toolChoice.Str != "required")
	p := x.plan(x.openAIReasoning(x.in.reasoning.Get("effort").Str), calls)
	x.accountOpenAI(&p, x.in.input, x.in.instructions.Raw, x.in.tools.Raw, x.in.input.Raw)
	return p
}

// responseWriter spells a plan as the Responses API does.
type responseWriter struct {
	x                        *exchange
	a                        *answer
	p                        *plan
	id, reasoningID, message string
	itemIDs, callIDs         []string // of the calls
	sequence                 int
	summary                  bool // the client wants to see a summary of the reasoning
	item                     int  // index of the item being streamed
}

func newResponseWriter(x *exchange, a *answer, p *plan) *responseWriter {
	summary := x.in.reasoning.Get("summary")
	w := &responseWriter{
		x: x, a: a, p: p,
		id: x.id("resp_", 48, hexadeci), reasoningID: x.id("rs_", 48, hexadeci), message: x.id("msg_", 48, hexadeci),
		summary: p.reasoning > 0 && summary.Exists() && summary.Type != gjson.Null,
	}
	for range p.calls {
		w.itemIDs = append(w.itemIDs, x.id("fc_", 48, hexadeci))
		w.callIDs = append(w.callIDs, x.id("call_", 24, alphabet))
	}
	return w
}

func (w *responseWriter) finalStatus() string {
	if w.p.length {
		return "incomplete"
	}
	return "completed"
}

// response writes the response object; done says whether it has output and usage yet.
func (w *responseWriter) response(status string, done bool) {
	a, in := w.a, &w.x.in
	created := int(w.x.now().Unix())
	a.str(`{"id":"`)
	a.str(w.id)
	a.str(`","object":"response","created_at":`)
	a.int(created)
	a.str(`,"status":"`)
	a.str(status)
	a.str(`","background":false,"completed_at":`)
	if done {
		a.int(created)
	} else {
		a.str("null")
	}
	a.str(`,"error":null,"frequency_penalty":0.0,"incomplete_details":`)
	if status == "incomplete" {
		a.str(`{"reason":"max_output_tokens"}`)
	} else {
		a.str("null")
	}
	a.str(`,"instructions":`)
	a.rawOr(in.instructions, "null")
	a.str(`,"max_output_tokens":`)
	if in.maxTokens > 0 {
		a.int(in.maxTokens)
	} else {
		a.str("null")
	}
	a.str(`,"max_tool_calls":null,"model":`)
	a.quote(in.model)
	a.str(`,"output":[`)
	if done {
		w.output()
	}
	a.str(`],"parallel_tool_calls":true,"presence_penalty":0.0,"previous_response_id":`)
	a.rawOr(in.previous, "null")
	a.str(`,"prompt_cache_key":null,"prompt_cache_retention":null,"reasoning":{"effort":`)
	a.rawOr(in.reasoning.Get("effort"), "null")
	a.str(`,"summary":`)
	a.rawOr(in.reasoning.Get("summary"), "null")
	a.str(`},"safety_identifier":null,"service_tier":"`)
	a.str(w.x.servedTier())
	a.str(`","store":`)
	a.rawOr(in.store, "true")
	a.str(`,"temperature":1.0,"text":{"format":{"type":"text"},"verbosity":"medium"},"tool_choice":`)
	a.rawOr(in.toolChoice, `"auto"`)
	a.str(`,"tools":`)
	a.rawOr(in.tools, "[]")
	a.str(`,"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":`)
	if done {
		w.usage()
	} else {
		a.str("null")
	}
	a.str(`,"user":null,"metadata":`)
	a.rawOr(in.meta, "{}")
	a.str(`}`)
}

// rawOr appends the JSON of v on one line, as an event needs it, or what stands for its absence.
func (a *answer) rawOr(v gjson.Result, absent string) {
	switch {
	case !v.Exists():
		a.str(absent)
	case strings.ContainsAny(v.Raw, "\r\n"):
		a.str(v.Get("@ugly").Raw)
	default:
		a.str(v.Raw)
	}
}

func (w *responseWriter) usage() {
	a, p := w.a, w.p
	a.str(`{"input_tokens":`)
	a.int(p.input)
	a.str(`,"input_tokens_details":{"cached_tokens":`)
	a.int(p.cached)
	a.str(`},"output_tokens":`)
	a.int(p.reasoning + p.visible())
	a.str(`,"output_tokens_details":{"reasoning_tokens":`)
	a.int(p.reasoning)
	a.str(`},"total_tokens":`)
	a.int(p.input + p.reasoning + p.visible())
	a.str(`}`)
}

// output writes all items: reasoning, then calls or a message.
func (w *responseWriter) output() {
	a := w.a
	if w.p.reasoning > 0 {
		w.reasoningItem(true)
		a.str(",")
	}
	for i := range w.p.calls {
		if i > 0 {
			a.str(",")
		}
		w.callItem(i, true)
	}
	if len(w.p.calls) == 0 {
		w.messageItem(true)
	}
}

func (w *responseWriter) reasoningItem(done bool) {
	a := w.a
	a.str(`{"id":"`)
	a.str(w.reasoningID)
	a.str(`","type":"reasoning",`)
	if w.x.in.include.Get(`#(=="reasoning.encrypted_content")`).Exists() {
		a.str(`"encrypted_content":"gAAAAABsimulated==",`)
	}
	a.str(`"summary":[`)
	if done && w.summary {
		w.summaryPart(w.p.reasoning)
	}
	a.str(`]}`)
}

func (w *responseWriter) summaryPart(tokens int) {
	w.a.str(`{"type":"summary_text","text":"`)
	w.a.body = appendWords(w.a.body, w.p.thoughts, 0, tokens)
	w.a.str(`"}`)
}

func (w *responseWriter) messageItem(done bool) {
	a := w.a
	a.str(`{"id":"`)
	a.str(w.message)
	a.str(`","type":"message","status":"`)
	if done {
		a.str(w.finalStatus())
	} else {
		a.str("in_progress")
	}
	a.str(`","content":[`)
	if done {
		w.textPart(w.p.output)
	}
	a.str(`],"role":"assistant"}`)
}

func (w *responseWriter) textPart(tokens int) {
	w.a.str(`{"type":"output_text","annotations":[],"logprobs":[],"text":"`)
	w.a.body = appendWords(w.a.body, w.p.text(0), 0, tokens)
	w.a.str(`"}`)
}

func (w *responseWriter) callItem(i int, done bool) {
	a, call := w.a, &w.p.calls[i]
	a.str(`{"id":"`)
	a.str(w.itemIDs[i])
	a.str(`","type":"function_call","status":"`)
	if done {
		a.str(`completed","arguments":`)
		a.quote(call.arguments)
	} else {
		a.str(`in_progress","arguments":""`)
	}
	a.str(`,"call_id":"`)
	a.str(w.callIDs[i])
	a.str(`","name":`)
	a.quote(call.name)
	a.str(`}`)
}
