// Package provider knows the wire formats of the LLM APIs: which dialect and operation a request is, what its
// body asks for, how to edit it in place, where its answer keeps usage, and how its errors look.
//
// Everything here is pure: bytes in, facts or bytes out, no I/O and no clock.
//
// A request passes Detect where its path names no provider, then OperationOf and Scan, and Rewrite if its body has to
// change; AppendPath makes the path of the upstream request. Errors of ours are told in the client's dialect by
// AppendError, and by AppendErrorEvent where a stream has begun.
//
// Operations carry the wire format and dialects the conventions around it: a provider of one dialect may serve
// operations of another, as most offer OpenAI's chat completions besides their own. To add a dialect, give it a
// constant, a file like anthropic.go and its line in dialects; to add an operation, a constant, its line in operations
// and its endpoint in the file of its dialect. Files named usage_… know where the answers keep usage.
package provider

// Dialect is the family of wire formats that a provider speaks. It decides paths, credentials and error shapes.
type Dialect uint8

// The dialects, in the spelling of the configuration: openai, anthropic, gemini.
const (
	OpenAI Dialect = iota + 1
	Anthropic
	Gemini
)

// Operation is what a request asks of a provider, as far as its bytes are understood. The zero value Opaque is
// forwarded like any other but neither parsed nor metered.
type Operation uint8

// The operations whose requests and answers are understood.
const (
	Opaque          Operation = iota
	ChatCompletions           // OpenAI POST …/chat/completions
	Completions               // OpenAI POST …/completions
	Responses                 // OpenAI POST …/responses
	Embeddings                // OpenAI POST …/embeddings
	Messages                  // Anthropic POST …/messages
	CountTokens               // Anthropic POST …/messages/count_tokens, Gemini …:countTokens; free of charge
	GenerateContent           // Gemini POST …:generateContent and …:streamGenerateContent
	EmbedContent              // Gemini POST …:embedContent and …:batchEmbedContents
	operationsEnd             // one past the last
)

// Request is what the proxy needs to know of a request. Byte slices alias the path or the body they were scanned
// from and live as long as those, except for a model or tier that was spelled with escapes: it is a decoded copy.
type Request struct {
	Model        []byte // as the client names it; empty when absent
	FirstUser    []byte // raw JSON of the first user message's content, of a prompt or input; empty when absent
	ServiceTier  []byte // service_tier; empty when absent
	MaxOutput    int64  // max_tokens, max_completion_tokens, max_output_tokens, maxOutputTokens; 0 when absent
	Stream       bool   // the answer will be a stream
	IncludeUsage bool   // OpenAI chat and completions: the client itself asked for stream_options.include_usage
	Valid        bool   // the body is a JSON object as far as it was scanned; false leaves all but what the path says empty

	edits edits // where the fields that may be edited stand in the body
}

// Usage is the canonical count of what an attempt consumed, in tokens. The counts are disjoint where prices differ:
// Input excludes cache reads and writes and audio and image input, Output excludes audio and image output.
// Reasoning is the part of Output that was spent on reasoning (a subset, not added to it).
type Usage struct {
	Input        int64 // uncached text input
	CacheRead    int64
	CacheWrite5m int64 // also providers that know one write lifetime only
	CacheWrite1h int64
	Output       int64 // text output, reasoning included
	Reasoning    int64 // subset of Output
	AudioInput   int64
	AudioOutput  int64
	ImageInput   int64
	ImageOutput  int64
	WebSearches  int64 // server-side searches, charged per query
}

// InputTotal is everything that was read, cached or not.
func (u *Usage) InputTotal() int64 {
	return u.Input + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h + u.AudioInput + u.ImageInput
}

// OutputTotal is everything that was generated.
func (u *Usage) OutputTotal() int64 { return u.Output + u.AudioOutput + u.ImageOutput }
