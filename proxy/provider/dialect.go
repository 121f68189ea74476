package provider

// dialect is what the request half of this package knows of one wire format. A new dialect is one file like openai.go,
// its constant in provider.go and its line in dialects.
type dialect struct {
	name string
	// endpoints are the operations the dialect itself defines, most specific suffix first.
	endpoints []endpoint
	// claims reports whether a raw path can only belong to this dialect's own provider; nil claims nothing.
	claims func(path []byte) bool
	// appendError appends a JSON document that the dialect's SDKs raise as their typed error.
	appendError func(dst []byte, f Failure) []byte
	// appendEvent appends what tells a client of a failure in the middle of a stream; see AppendErrorEvent.
	appendEvent func(dst []byte, op Operation, array bool, f Failure) []byte
}

// endpoint maps the end of a raw path to an operation. A suffix that begins with a colon is a verb (see splitVerb),
// any other begins with a slash and so ends the path with whole segments.
type endpoint struct {
	suffix string
	op     Operation
}

// dialects lists all there are. The order of the constants is the order in which claims are asked.
var dialects = [...]dialect{
	OpenAI:    openAI,
	Anthropic: anthropic,
	Gemini:    gemini,
}

// operation is what is known of an operation, whatever the dialect of the provider that serves it.
type operation struct {
	name string
	// dialect is the one whose format requests and answers have; 0 where that is the provider's own.
	dialect Dialect
	// field tells what a top-level member of the request body means, by its unescaped key; nil leaves the body unread.
	field func(key []byte) field
	// fromPath reads what stands in the raw path when the body names no model; nil reads nothing. stream is what the
	// body says of it.
	fromPath func(path []byte, stream bool) (model []byte, _ bool)
	// usageOption says that streams report usage only where stream_options.include_usage asks for it.
	usageOption bool
}

var operations = [operationsEnd]operation{
	Opaque:          {name: "opaque"},
	ChatCompletions: {"chat", OpenAI, chatField, fromAzurePath, true},
	Completions:     {"text_completion", OpenAI, completionsField, fromAzurePath, true},
	Responses:       {"responses", OpenAI, responsesField, fromAzurePath, false},
	Embeddings:      {"embeddings", OpenAI, embeddingsField, fromAzurePath, false},
	Messages:        {"messages", Anthropic, messagesField, nil, false},
	CountTokens:     {"count_tokens", 0, messagesField, nil, false},
	GenerateContent: {"generate_content", Gemini, generateField, fromVerbPath, false},
	EmbedContent:    {"embed_content", Gemini, generateField, fromVerbPath, false},
}

// ParseDialect is the inverse of Dialect.String.
func ParseDialect(name string) (Dialect, bool) {
	for d := OpenAI; int(d) < len(dialects); d++ {
		if dialects[d].name == name {
			return d, true
		}
	}
	return 0, false
}

// String is the dialect's name in configuration and metrics; empty for a value that is no dialect.
func (d Dialect) String() string {
	if int(d) >= len(dialects) {
		return ""
	}
	return dialects[d].name
}

// String is a stable name for metrics and logs, OpenTelemetry's gen_ai.operation.name where it has one for exactly this
// operation.
func (op Operation) String() string {
	if op >= operationsEnd {
		return ""
	}
	return operations[op].name
}

// ParseOperation is the inverse of Operation.String.
func ParseOperation(name []byte) (Operation, bool) {
	for op := range operationsEnd {
		if operations[op].name == string(name) {
			return op, true
		}
	}
	return Opaque, false
}

// of is the entry of d. An unknown dialect is treated as OpenAI's, the one most clients can read.
func of(d Dialect) *dialect {
	if d == 0 || int(d) >= len(dialects) {
		d = OpenAI
	}
	return &dialects[d]
}
