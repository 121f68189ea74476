package sim

import (
	"net/url"
	"strings"
)

// builders write the answer of each operation. Those without one are unknown to the provider.
var builders = [operationsEnd]func(*exchange, *answer){
	opChat:              (*exchange).chat,
	opCompletions:       (*exchange).completions,
	opResponses:         (*exchange).responses,
	opResponse:          (*exchange).responseByID,
	opEmbeddings:        (*exchange).embeddings,
	opModels:            (*exchange).models,
	opModerations:       (*exchange).moderations,
	opImages:            (*exchange).images,
	opTranscriptions:    (*exchange).transcriptions,
	opSpeech:            (*exchange).speech,
	opFiles:             (*exchange).files,
	opBatches:           (*exchange).batches,
	opRealtime:          (*exchange).realtime,
	opMessages:          (*exchange).messages,
	opCountTokens:       (*exchange).countMessageTokens,
	opAnthropicModels:   (*exchange).anthropicModels,
	opGenerate:          (*exchange).generate,
	opStreamGenerate:    (*exchange).generate,
	opGeminiCountTokens: (*exchange).countContentTokens,
	opEmbedContent:      (*exchange).embedContent,
	opBatchEmbed:        (*exchange).batchEmbedContents,
	opGeminiModels:      (*exchange).geminiModels,
}

// build writes the answer a provider in good health gives.
func (x *exchange) build(a *answer) {
	x.seal(string(x.body)) // for the ids of answers that are not sealed more narrowly
	if x.d.echo || x.op == opEcho {
		x.echo(a)
		return
	}
	if !x.authorized() {
		x.rejectKey(a)
		return
	}
	if string(x.req.method) == "OPTIONS" {
		a.status, a.instant = 200, true
		a.header("Allow", "GET, POST, DELETE, HEAD, OPTIONS")
		a.header("Access-Control-Allow-Origin", "*")
		return
	}
	build := builders[x.op]
	if build == nil {
		a.failure(x, 404, "Invalid URL ("+string(x.req.method)+" "+string(x.req.path)+")")
		return
	}
	build(x, a)
}

// buildStreamUnread writes a stream that does not depend on the request's body, which is still under way.
func (x *exchange) buildStreamUnread(a *answer) {
	const prompt = `{"model":"sim","stream":true,"max_tokens":64,"messages":[{"role":"user","content":"early"}],` +
		`"input":"early","prompt":"early","contents":[{"role":"user","parts":[{"text":"early"}]}]}`
	x.in = payload{sse: true}
	x.in.parse([]byte(prompt))
	x.build(a)
}

// credential is the key the request was sent with, in whatever place.
func (x *exchange) credential() []byte {
	r := &x.req
	if v := r.header("authorization"); v != nil {
		if len(v) > 7 && equalFold(v[:7], "bearer ") {
			return v[7:]
		}
		return v
	}
	for _, name := range [...]string{"x-api-key", "api-key", "x-goog-api-key"} {
		if v := r.header(name); v != nil {
			return v
		}
	}
	for protocol := range strings.SplitSeq(string(r.header("sec-websocket-protocol")), ",") { // browsers
		if key, ok := strings.CutPrefix(strings.TrimSpace(protocol), "openai-insecure-api-key."); ok {
			return []byte(key)
		}
	}
	return []byte(r.queryValue("key"))
}

// authorized tells whether the request has a key, and not one that says itself that it is bad. A browser's
// preflight has none.
func (x *exchange) authorized() bool {
	if string(x.req.method) == "OPTIONS" {
		return true
	}
	key := string(x.credential())
	return key != "" && key != "bad" && !strings.HasSuffix(key, "-bad")
}

// rejectKey answers a request without a good key in the words of the provider.
func (x *exchange) rejectKey(a *answer) {
	missing := len(x.credential()) == 0
	switch x.dialect {
	case dialectAnthropic:
		if missing {
			a.failure(x, 401, "x-api-key header is required")
		} else {
			a.failure(x, 401, "invalid x-api-key")
		}
	case dialectGemini:
		a.reset()
		if missing {
			a.geminiError(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers (callers without established identity).", 0)
		} else {
			a.geminiError(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", 0)
		}
	default:
		a.reset()
		if missing {
			a.openAIError(401, "You didn't provide an API key.", "invalid_request_error", "", "")
		} else {
			a.openAIError(401, "Incorrect API key provided: bad.", "invalid_request_error", "", "invalid_api_key")
		}
	}
}

// geminiModel is the model in a Gemini path, between the last folder and the action.
func geminiModel(path []byte) string {
	_, name, ok := strings.Cut(string(path), "odels/") // models, tunedModels
	if !ok {
		return ""
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 && geminiActions[name[i+1:]] != opNone {
		name = name[:i]
	}
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// deploymentModel is the model in an Azure path.
func deploymentModel(path []byte) string {
	_, name, _ := strings.Cut(string(path), "/deployments/")
	name, _, _ = strings.Cut(name, "/")
	return name
}
