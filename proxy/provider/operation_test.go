package provider

import (
	"strings"
	"testing"
)

func TestOperationOf(t *testing.T) {
	t.Parallel()
	method := "POST"
	check := func(d Dialect, path string, want Operation) {
		t.Helper()
		if got := OperationOf(d, []byte(method), []byte(path)); got != want {
			t.Errorf("OperationOf(%v, %s, %q): got %v, want %v", d, method, path, got, want)
		}
	}
	check(OpenAI, "/v1/chat/completions", ChatCompletions)
	check(OpenAI, "/chat/completions", ChatCompletions)
	check(OpenAI, "/chat/completions/", ChatCompletions)
	check(OpenAI, "/openai/deployments/my-gpt/chat/completions", ChatCompletions)
	check(OpenAI, "/v1/completions", Completions)
	check(OpenAI, "/v1/fim/completions", Completions)
	check(OpenAI, "/v1/responses", Responses)
	check(OpenAI, "/v1/responses/resp_1", Opaque)
	check(OpenAI, "/v1/responses/resp_1/cancel", Opaque)
	check(OpenAI, "/v1/embeddings", Embeddings)
	check(OpenAI, "/v1/chat/completions/chatcmpl-1", Opaque)
	check(OpenAI, "/v1/images/generations", Opaque)
	check(OpenAI, "/v1/xcompletions", Opaque)
	check(OpenAI, "/v1/threads/t_1/messages", Opaque)
	check(OpenAI, "/anthropic/v1/messages", Messages)
	check(OpenAI, "/v1/messages/count_tokens", CountTokens)
	check(OpenAI, "", Opaque)
	check(OpenAI, "/", Opaque)

	check(Anthropic, "/v1/messages", Messages)
	check(Anthropic, "/messages", Messages)
	check(Anthropic, "/v1/messages/count_tokens", CountTokens)
	check(Anthropic, "/v1/messages/batches", Opaque)
	check(Anthropic, "/v1/chat/completions", ChatCompletions)
	check(Anthropic, "/v1/complete", Opaque)

	check(Gemini, "/v1beta/models/gemini-2.5-pro:generateContent", GenerateContent)
	check(Gemini, "/v1beta/models/gemini-2.5-pro:streamGenerateContent", GenerateContent)
	check(Gemini, "/v1beta/models/gemini-2.5-pro%3AgenerateContent", GenerateContent)
	check(Gemini, "/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent", GenerateContent)
	check(Gemini, "/v1beta/models/m:countTokens", CountTokens)
	check(Gemini, "/v1beta/models/m:embedContent", EmbedContent)
	check(Gemini, "/v1beta/models/m:batchEmbedContents", EmbedContent)
	check(Gemini, "/v1beta/models/m:predict", Opaque)
	check(Gemini, "/v1beta/models/m:generateContentX", Opaque)
	check(Gemini, "/v1beta/models/m:generateContent/operations", Opaque)
	check(Gemini, "/v1beta/models/m", Opaque)
	check(Gemini, "/v1beta/openai/chat/completions", ChatCompletions)
	check(Gemini, "/v1beta/openai/embeddings", Embeddings)

	for _, method = range []string{"GET", "DELETE", "HEAD", "OPTIONS", "post", ""} {
		check(OpenAI, "/v1/responses", Opaque)
		check(Gemini, "/v1beta/models/m:generateContent", Opaque)
	}
}

// A base in front of a path changes nothing.
func FuzzOperationOf(f *testing.F) {
	for _, path := range []string{
		"/v1/chat/completions", "/v1/messages", "/models/m:generateContent", "/m%3a", "//", ":", "/%3", "/v1/responses/",
	} {
		f.Add(uint8(OpenAI), path)
		f.Add(uint8(Gemini), path)
	}
	f.Fuzz(func(t *testing.T, d uint8, path string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		post := []byte("POST")
		bare, based := OperationOf(Dialect(d), post, []byte(path)), OperationOf(Dialect(d), post, []byte("/some/base"+path))
		if bare != based {
			t.Errorf("%q: got %v, with a base %v", path, bare, based)
		}
		if bare != Opaque && (Detect([]byte(path), true, false) != Anthropic || Detect([]byte(path), false, true) != Gemini) {
			t.Errorf("%q: the header does not decide", path)
		}
	})
}

func TestOperation_NamesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]Operation{}
	for op := Opaque; op < operationsEnd; op++ {
		name := op.String()
		if other, dup := seen[name]; dup || name == "" {
			t.Errorf("operations %d and %d: both are named %q", other, op, name)
		}
		seen[name] = op
	}
	if got := operationsEnd.String(); got != "" {
		t.Errorf("past the last: got %q", got)
	}
}
