package sim

import (
	"strings"

	"github.com/tidwall/gjson"
)

const geminiJSON = "application/json; charset=UTF-8"

// geminiAdmits checks what every Gemini call must hold.
func (x *exchange) geminiAdmits(a *answer, prompt gjson.Result, what string) bool {
	switch {
	case !x.in.valid:
		a.reset()
		a.geminiError(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected token.", 0)
	case strings.HasPrefix(x.in.model, "missing"):
		a.reset()
		a.geminiError(404, "NOT_FOUND", "models/"+x.in.model+" is not found for API version v1beta, or is not supported for generateContent.", 0)
	case !prompt.Exists():
		a.reset()
		a.geminiError(400, "INVALID_ARGUMENT", "* "+what+": "+what+" is not specified\n", 0)
	case x.in.choices > maxCandidates:
		a.reset()
		a.geminiError(400, "INVALID_ARGUMENT", "Unable to submit request because candidateCount must be from 1 to 8.", 0)
	default:
		return true
	}
	return false
}

// maxCandidates is how many candidates the real API gives at most.
const maxCandidates = 8

// generate answers POST …:generateContent and …:streamGenerateContent.
func (x *exchange) generate(a *answer) {
	if !x.geminiAdmits(a, x.in.contents, "GenerateContentRequest.contents") {
		return
	}
	x.seal(x.in.tools.Raw, x.in.system.Raw, x.in.contents.Raw)
	p := x.planContent()
	x.settle(&p)
	w := contentWriter{x: x, a: a, p: &p, id: x.id("", 22, alphabet), budget: len(p.calls) == 0 && p.length}
	include := either(x.in.thinking, "includeThoughts", "include_thoughts")
	w.thoughts = include.Bool() && p.reasoning > 0
	if x.in.stream {
		w.stream()
		return
	}
	w.plain()
}

func (x *exchange) planContent() plan {
	var tools []tool
	x.in.tools.ForEach(func(_, t gjson.Result) bool {
		either(t, "functionDeclarations", "function_declarations").ForEach(func(_, f gjson.Result) bool {
			schema := f.Get("parameters")
			if !schema.Exists() {
				schema = f.Get("parametersJsonSchema")
			}
			tools = append(tools, tool{f.Get("name").Str, schema})
			return true
		})
		return true
	})
	var last gjson.Result
	x.in.contents.ForEach(func(_, c gjson.Result) bool {
		last = c
		return true
	})
	config := either(x.in.toolChoice, "functionCallingConfig", "function_calling_config")
	mode := config.Get("mode").Str
	answered := last.Get("parts.#.functionResponse").Get("0").Exists() && mode != "ANY"
	calls := x.callTools(tools, config.Get("allowedFunctionNames.0").Str, mode == "NONE", answered)
	p := x.plan(x.geminiThinking(), calls)
	x.accountOpenAI(&p, x.in.contents, x.in.system.Raw, x.in.tools.Raw, x.in.contents.Raw)
	return p
}

// geminiThinkers are prefixes of models that think unless told not to.
var geminiThinkers = [...]string{"gemini-2.5", "gemini-3"}

func (x *exchange) geminiThinking() int {
	const usual = 32
	if budget := either(x.in.thinking, "thinkingBudget", "thinking_budget"); budget.Exists() && budget.Int() >= 0 {
		return min(usual, int(budget.Int()))
	}
	if x.in.thinking.Exists() {
		return usual
	}
	for _, prefix := range geminiThinkers {
		if strings.HasPrefix(x.in.model, prefix) && !strings.Contains(x.in.model, "lite") {
			return usual
		}
	}
	return 0
}

// countContentTokens answers POST …:countTokens.
func (x *exchange) countContentTokens(a *answer) {
	wrapped := gjson.GetBytes(x.body, "generateContentRequest")
	if wrapped.Exists() {
		x.in.contents, x.in.system, x.in.tools = wrapped.Get("contents"), wrapped.Get("systemInstruction"), wrapped.Get("tools")
	}
	if !x.geminiAdmits(a, x.in.contents, "CountTokensRequest.contents") {
		return
	}
	var p plan
	var m media
	m.count(x.in.contents, 0)
	x.account(&p, len(x.in.contents.Raw)+len(x.in.system.Raw)+len(x.in.tools.Raw), m)
	a.ctype, a.instant = geminiJSON, true
	a.str("{\n  \"totalTokens\": ")
	a.int(p.input)
	a.str(",\n  \"promptTokensDetails\": [\n    {\n      \"modality\": \"TEXT\",\n      \"tokenCount\": ")
	a.int(p.input - p.image - p.audio)
	a.str("\n    }\n  ]\n}\n")
}

// embedContent answers POST …:embedContent.
func (x *exchange) embedContent(a *answer) {
	if !x.geminiAdmits(a, x.in.content, "EmbedContentRequest.content") {
		return
	}
	dimensions, ok := geminiDimensions(a, x.in.dimensions)
	if !ok {
		return
	}
	x.countEmbedded(len(x.in.content.Raw))
	a.ctype = geminiJSON
	a.str(`{"embedding": {"values": `)
	a.vector(vector(fold(x.srv.opt.Seed, []byte(x.in.content.Raw)), dimensions))
	a.str(`}}`)
	a.indent()
}

// batchEmbedContents answers POST …:batchEmbedContents.
func (x *exchange) batchEmbedContents(a *answer) {
	if !x.geminiAdmits(a, x.in.requests, "BatchEmbedContentsRequest.requests") {
		return
	}
	x.countEmbedded(len(x.in.requests.Raw))
	a.ctype = geminiJSON
	a.str(`{"embeddings": [`)
	first, refused := true, false
	x.in.requests.ForEach(func(_, r gjson.Result) bool {
		dimensions, ok := geminiDimensions(a, r.Get("outputDimensionality"))
		if !ok {
			refused = true
			return false
		}
		if !first {
			a.str(",")
		}
		first = false
		a.str(`{"values": `)
		a.vector(vector(fold(x.srv.opt.Seed, []byte(r.Get("content").Raw)), dimensions))
		a.str(`}`)
		return true
	})
	if refused {
		return
	}
	a.str(`]}`)
	a.indent()
}

func (x *exchange) countEmbedded(bytes int) {
	p := plan{input: countTokens(bytes)}
	x.settle(&p)
}

// geminiDimensions is the length of an embedding; what cannot be is refused in a.
func geminiDimensions(a *answer, v gjson.Result) (n int, ok bool) {
	if !v.Exists() {
		return defaultDimensions, true
	}
	n = int(v.Int())
	if n < 1 || n > maxDimensions {
		a.reset()
		a.geminiError(400, "INVALID_ARGUMENT", "outputDimensionality must be from 1 to 4096.", 0)
		return 0, false
	}
	return n, true
}

var geminiModelNames = [...]string{"gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-embedding-001"}

// geminiModels answers GET …/models and …/models/{id}.
func (x *exchange) geminiModels(a *answer) {
	a.ctype, a.instant = geminiJSON, true
	model := func(id string) {
		a.str(`{"name": "models/` + id + `","version": "001","displayName": "` + id + `","description": "Simulated",` +
			`"inputTokenLimit": 1048576,"outputTokenLimit": 65536,"supportedGenerationMethods": ["generateContent","countTokens"],` +
			`"temperature": 1,"topP": 0.95,"topK": 64,"maxTemperature": 2,"thinking": true}`)
	}
	if strings.Contains(string(x.req.path), "/models/") {
		if strings.HasPrefix(x.in.model, "missing") {
			a.failure(x, 404, "Model is not found: models/"+x.in.model)
			return
		}
		model(x.in.model)
		a.indent()
		return
	}
	a.str(`{"models": [`)
	for i, id := range geminiModelNames {
		if i > 0 {
			a.str(",")
		}
		model(id)
	}
	a.str(`]}`)
	a.indent()
}
