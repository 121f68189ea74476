package provider_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llm-auto-optimizer/proxy/provider"
)

// seen is what the request half makes of one request.
type seen struct {
	dialect                 provider.Dialect
	operation               provider.Operation
	model, firstUser, tier  string
	maxOutput               int64
	stream, usage, rewrites bool
}

// What the SDKs send today is understood, down to the last field.
func TestScan_ReadsWhatSDKsSend(t *testing.T) {
	t.Parallel()
	var got seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		path := []byte(r.URL.EscapedPath())
		d := provider.Detect(path, r.Header.Get("Anthropic-Version") != "", r.Header.Get("X-Goog-Api-Key") != "")
		op := provider.OperationOf(d, []byte(r.Method), path)
		q := provider.Scan(op, path, body)
		edited := provider.Rewrite(nil, body, &q, provider.Edits{IncludeUsage: true})
		got = seen{d, op, string(q.Model), string(q.FirstUser), string(q.ServiceTier), q.MaxOutput, q.Stream, q.IncludeUsage,
			len(edited) != len(body)}
		if !q.Valid {
			t.Errorf("%s: the body is not valid: %s", path, body)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(s.Close)
	ctx := context.Background()
	check := func(want seen, err error) {
		t.Helper()
		if err == nil {
			t.Error("the server refused, but the call went well")
		}
		if got != want {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}

	o := openAIClient(s.URL)
	chat := chatParams()
	chat.MaxCompletionTokens = openai.Int(64)
	chat.ServiceTier = openai.ChatCompletionNewParamsServiceTierFlex
	_, err := o.Chat.Completions.New(ctx, chat)
	check(seen{provider.OpenAI, provider.ChatCompletions, "gpt-4o", `"hi"`, "flex", 64, false, false, true}, err)
	err = o.Chat.Completions.NewStreaming(ctx, chat).Err()
	check(seen{provider.OpenAI, provider.ChatCompletions, "gpt-4o", `"hi"`, "flex", 64, true, false, true}, err)
	chat.StreamOptions.IncludeUsage = openai.Bool(true)
	err = o.Chat.Completions.NewStreaming(ctx, chat).Err()
	check(seen{provider.OpenAI, provider.ChatCompletions, "gpt-4o", `"hi"`, "flex", 64, true, true, false}, err)
	err = o.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model: "gpt-5", MaxOutputTokens: openai.Int(9), Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("hi")},
	}).Err()
	check(seen{provider.OpenAI, provider.Responses, "gpt-5", `"hi"`, "", 9, true, false, false}, err)
	_, err = o.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "e", Input: openai.EmbeddingNewParamsInputUnion{OfString: param.NewOpt("x")}})
	check(seen{provider.OpenAI, provider.Embeddings, "e", "", "", 0, false, false, false}, err)

	a := anthropicClient(s.URL)
	const hi = `[{"text":"hi","type":"text"}]`
	_, err = a.Messages.New(ctx, messageParams())
	check(seen{provider.Anthropic, provider.Messages, "claude-sonnet-4-5", hi, "", 5, false, false, false}, err)
	err = a.Messages.NewStreaming(ctx, messageParams()).Err()
	check(seen{provider.Anthropic, provider.Messages, "claude-sonnet-4-5", hi, "", 5, true, false, false}, err)
	_, err = a.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: "m", Messages: messageParams().Messages})
	check(seen{provider.Anthropic, provider.CountTokens, "m", hi, "", 0, false, false, false}, err)

	g := geminiClient(t, s.URL)
	config := &genai.GenerateContentConfig{MaxOutputTokens: 7, ServiceTier: genai.ServiceTierFlex}
	const parts = `[{"text":"hi"}]`
	_, err = g.Models.GenerateContent(ctx, "gemini-2.5-pro", genai.Text("hi"), config)
	check(seen{provider.Gemini, provider.GenerateContent, "gemini-2.5-pro", parts, "flex", 7, false, false, false}, err)
	for _, err = range g.Models.GenerateContentStream(ctx, "gemini-2.5-pro", genai.Text("hi"), config) {
		break
	}
	check(seen{provider.Gemini, provider.GenerateContent, "gemini-2.5-pro", parts, "flex", 7, true, false, false}, err)
	_, err = g.Models.CountTokens(ctx, "gemini-2.5-pro", genai.Text("hi"), nil)
	check(seen{provider.Gemini, provider.CountTokens, "gemini-2.5-pro", parts, "", 0, false, false, false}, err)
	_, err = g.Models.EmbedContent(ctx, "gemini-embedding-001", genai.Text("hi"), nil)
	check(seen{provider.Gemini, provider.EmbedContent, "gemini-embedding-001", "", "", 0, false, false, false}, err)
}
