package sim

import "bytes"

// dialect is the family of wire formats an answer is written in.
type dialect uint8

const (
	dialectOpenAI dialect = iota
	dialectAnthropic
	dialectGemini
)

// operation is what a request asks for.
type operation uint8

const (
	opNone operation = iota
	opUnknown
	opControl
	opEcho
	opChat
	opCompletions
	opResponses
	opResponse
	opEmbeddings
	opModels
	opModerations
	opImages
	opTranscriptions
	opSpeech
	opFiles
	opBatches
	opRealtime
	opMessages
	opCountTokens
	opAnthropicModels
	opGenerate
	opStreamGenerate
	opGeminiCountTokens
	opEmbedContent
	opBatchEmbed
	opGeminiModels
	operationsEnd
)

var operationNames = [operationsEnd]string{
	"", "unknown", "control", "echo", "chat", "completions", "responses", "response", "embeddings", "models", "moderations",
	"images", "transcriptions", "speech", "files", "batches", "realtime", "messages", "count_tokens", "anthropic_models",
	"generate_content", "stream_generate_content", "gemini_count_tokens", "embed_content", "batch_embed_contents",
	"gemini_models",
}

// String returns the name under which the operation is counted.
func (op operation) String() string { return operationNames[op] }

func operationByName(name string) operation {
	for op, n := range operationNames {
		if n == name && name != "" {
			return operation(op)
		}
	}
	return opNone
}

// OperationNames returns the names under which calls are counted.
func OperationNames() []string { return append([]string(nil), operationNames[opUnknown:]...) }

// geminiActions are the words behind the colon of a Gemini path.
var geminiActions = map[string]operation{
	"generateContent":       opGenerate,
	"streamGenerateContent": opStreamGenerate,
	"countTokens":           opGeminiCountTokens,
	"embedContent":          opEmbedContent,
	"batchEmbedContents":    opBatchEmbed,
}

// openAISuffixes are matched against the end of a path, so that any base path may stand in front.
var openAISuffixes = []struct {
	suffix string
	op     operation
}{
	{"/chat/completions", opChat},
	{"/completions", opCompletions},
	{"/responses", opResponses},
	{"/embeddings", opEmbeddings},
	{"/models", opModels},
	{"/moderations", opModerations},
	{"/images/generations", opImages},
	{"/audio/transcriptions", opTranscriptions},
	{"/audio/speech", opSpeech},
	{"/files", opFiles},
	{"/batches", opBatches},
	{"/realtime", opRealtime},
}

// openAIFolders are matched against the inside of a path.
var openAIFolders = []struct {
	folder string
	op     operation
}{
	{"/models/", opModels},
	{"/responses/", opResponse},
	{"/files/", opFiles},
	{"/batches/", opBatches},
}

// route tells what a request asks for, by its path and, where providers share one, by its credential.
func route(r *request) (operation, dialect) {
	path := r.path
	switch {
	case bytes.HasPrefix(path, []byte("/sim/")):
		return opControl, dialectOpenAI
	case bytes.HasPrefix(path, []byte("/echo/")), string(path) == "/v1/echo":
		return opEcho, dialectOpenAI
	case bytes.HasSuffix(path, []byte("/messages")):
		return opMessages, dialectAnthropic
	case bytes.HasSuffix(path, []byte("/messages/count_tokens")):
		return opCountTokens, dialectAnthropic
	}
	if i := bytes.LastIndexByte(path, ':'); i >= 0 {
		if op, ok := geminiActions[string(path[i+1:])]; ok {
			return op, dialectGemini
		}
	}
	switch op := routeOpenAI(path); op {
	case opModels, opFiles, opBatches, opUnknown: // other providers have these paths, too
		return routeShared(op, r)
	default:
		return op, dialectOpenAI
	}
}

func routeOpenAI(path []byte) operation {
	for i := range openAISuffixes {
		if s := &openAISuffixes[i]; len(path) > len(s.suffix) && string(path[len(path)-len(s.suffix):]) == s.suffix {
			return s.op
		}
	}
	for _, f := range openAIFolders {
		if bytes.Contains(path, []byte(f.folder)) {
			return f.op
		}
	}
	return opUnknown
}

// routeShared tells by the credential whose operation is meant. Of other providers only the models are known.
func routeShared(op operation, r *request) (operation, dialect) {
	models := op == opModels
	switch {
	case r.header("x-goog-api-key") != nil, bytes.Contains(r.path, []byte("/v1beta/")), r.queryValue("key") != "":
		if models {
			return opGeminiModels, dialectGemini
		}
		return opUnknown, dialectGemini
	case r.header("anthropic-version") != nil, r.header("x-api-key") != nil:
		if models {
			return opAnthropicModels, dialectAnthropic
		}
		return opUnknown, dialectAnthropic
	}
	return op, dialectOpenAI
}
