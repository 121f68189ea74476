package provider

import (
	"bytes"
	"strconv"
	"strings"
)

var gemini = dialect{
	name: "gemini",
	endpoints: []endpoint{
		{":generateContent", GenerateContent},
		{":streamGenerateContent", GenerateContent},
		{":countTokens", CountTokens},
		{":embedContent", EmbedContent},
		{":batchEmbedContents", EmbedContent},
	},
	claims:      claimedByGemini,
	appendError: appendGeminiError,
	appendEvent: appendGeminiEvent,
}

// claimedByGemini knows Google's pre-release versions (/v1beta/…, /v1alpha/…, Vertex's /v1beta1/…), the uploads and
// downloads of files, the live API's WebSocket, and the verbs, which also appear under /v1.
func claimedByGemini(path []byte) bool {
	first, rest := nextSegment(path)
	switch string(first) {
	case "upload", "download":
		version, _ := nextSegment(rest)
		return isVersion(version)
	case "ws":
		return bytes.HasPrefix(rest, []byte("/google."))
	}
	if isVersion(first) && (bytes.Contains(first, []byte("beta")) || bytes.Contains(first, []byte("alpha"))) {
		return true
	}
	// Named one by one: an OpenAI model's name may hold colons too (/v1/models/ft:gpt-4o:org::id).
	switch _, verb := splitVerb(path); string(verb) {
	case "generateContent", "streamGenerateContent", "bidiGenerateContent", "batchGenerateContent", "generateAnswer",
		"countTokens", "computeTokens", "embedContent", "batchEmbedContents", "asyncBatchEmbedContent",
		"predict", "predictLongRunning":
		return true
	}
	return false
}

// generateField knows both spellings of a field: Google's JSON parser takes camelCase and the proto's own snake_case.
func generateField(key []byte) field {
	switch string(key) {
	case "contents":
		return fieldContents
	case "generationConfig", "generation_config":
		return fieldGenerationConfig
	case "serviceTier", "service_tier":
		return fieldServiceTier
	}
	return fieldOther
}

// fromVerbPath reads …/models/{model}:{verb}.
func fromVerbPath(path []byte, _ bool) ([]byte, bool) {
	head, verb := splitVerb(path)
	model := unescapePath(head[bytes.LastIndexByte(head, '/')+1:])
	model = model[bytes.LastIndexByte(model, '/')+1:] // "models%2F{model}" names it as well
	return model, string(verb) == "streamGenerateContent"
}

// geminiStatus is the google.rpc.Code that belongs to an HTTP status, after the mapping of google/rpc/code.proto.
func geminiStatus(status int) string {
	switch status {
	case 401:
		return "UNAUTHENTICATED"
	case 403:
		return "PERMISSION_DENIED"
	case 404:
		return "NOT_FOUND"
	case 409:
		return "ABORTED"
	case 429:
		return "RESOURCE_EXHAUSTED"
	case 499:
		return "CANCELLED"
	case 501:
		return "UNIMPLEMENTED"
	case 502, 503:
		return "UNAVAILABLE"
	case 408, 504:
		return "DEADLINE_EXCEEDED"
	}
	if status >= 400 && status < 500 {
		return "INVALID_ARGUMENT"
	}
	return "INTERNAL"
}

// appendGeminiError writes a google.rpc.Status, {"error":{"code","message","status"}}, with the failure's code as the
// reason of an ErrorInfo, where Google's own APIs put it.
func appendGeminiError(dst []byte, f Failure) []byte {
	dst = strconv.AppendInt(append(dst, `{"error":{"code":`...), int64(f.Status), 10)
	dst = appendString(append(dst, `,"message":`...), f.Message)
	dst = appendString(append(dst, `,"status":`...), geminiStatus(f.Status))
	if f.Code != "" {
		dst = append(dst, `,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":`...)
		dst = appendString(dst, strings.ToUpper(f.Code)) // reasons are UPPER_SNAKE_CASE
		dst = append(dst, `,"domain":"llmopt"}]`...)
	}
	return append(dst, "}}"...)
}

// appendGeminiEvent writes the error as a block of its own without "data: ", as Google does in an event stream: the
// JavaScript SDK raises for nothing else, and the Go SDK takes either. The lines end in CRLF as Google's do, since the
// Go SDK cuts a stream at the first LF LF it has buffered and would take the CRLF events before it for one.
//
// Without alt=sse the stream is an array, and the error is its last element.
func appendGeminiEvent(dst []byte, _ Operation, array bool, f Failure) []byte {
	if array {
		return append(appendGeminiError(append(dst, "\n,\n"...), f), "\n]"...)
	}
	return append(appendGeminiError(append(dst, "\r\n\r\n"...), f), "\r\n\r\n"...)
}
