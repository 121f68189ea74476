package cache

import (
	"bytes"

	"llm-auto-optimizer/proxy/provider"
)

// cacheable tells the operations whose answers can be kept: those that compute something from the request alone.
func cacheable(op provider.Operation) bool {
	switch op {
	case provider.ChatCompletions, provider.Completions, provider.Responses, provider.Embeddings,
		provider.Messages, provider.GenerateContent, provider.EmbedContent:
		return true
	}
	return false
}

// silent lists the top-level members of a request that its answer does not depend on, by the API references: who the end user is, labels for the
// vendor's dashboards and bills, hints to the vendor's prompt cache, and in which form the answer comes. Not in the list, though they look like it:
// service_tier, which the answer names and the price follows; and of the Responses API user, metadata, safety_identifier and prompt_cache_key, which the
// response object repeats.
var silent = map[provider.Operation][]string{
	provider.ChatCompletions: {
		"stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
	},
	provider.Completions:     {"stream", "stream_options", "user"},
	provider.Responses:       {"stream", "stream_options"},
	provider.Embeddings:      {"user"},
	provider.Messages:        {"stream", "metadata"},
	provider.GenerateContent: {"labels"},
}

// keyHeaders are the request headers that answers depend on, in lower case: versions and previews of an API, and on whose account it is used.
var keyHeaders = [...]string{"anthropic-version", "anthropic-beta", "openai-beta", "openai-organization", "openai-project"}

// streamFormat tells how a stream of Gemini is framed, by the parameter alt; false where it asks for something that is no JSON.
func streamFormat(op provider.Operation, query []byte) (stream provider.Format, ok bool) {
	stream = provider.EventStream
	if op == provider.GenerateContent {
		stream = provider.JSONArray
	}
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		name, value, _ := bytes.Cut(pair, []byte{'='})
		if string(name) != "alt" && string(name) != "$alt" && string(name) != "%24alt" {
			continue
		}
		switch string(value) {
		case "sse":
			stream = provider.EventStream
		case "json":
		default:
			return 0, false
		}
	}
	return stream, true
}
