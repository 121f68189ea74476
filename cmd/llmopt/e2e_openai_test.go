package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"llm-auto-optimizer/bench/sim"
)

// weather is a tool's parameters as a JSON schema.
var weather = map[string]any{
	"type": "object",
	"properties": map[string]any{
		"city": map[string]any{"type": "string"},
		"days": map[string]any{"type": "integer"},
		"unit": map[string]any{"type": "string", "enum": []string{"celsius", "fahrenheit"}},
	},
	"required": []string{"city"},
}

// photo is a picture as a data URL.
var photo = "data:image/png;base64," + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x89, 'P', 'N', 'G'}, 10_000))

func chatWith(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
	}
}

func (c *clients) chat(params openai.ChatCompletionNewParams) any {
	return either(c.openai.Chat.Completions.New(c.t.Context(), params))
}

func (c *clients) chatStream(params openai.ChatCompletionNewParams, opts ...openaioption.RequestOption) any {
	s := c.openai.Chat.Completions.NewStreaming(c.t.Context(), params, opts...)
	return drain(s.Next, s.Current, s.Err)
}

func (c *clients) responseStream(params responses.ResponseNewParams) any {
	s := c.openai.Responses.NewStreaming(c.t.Context(), params)
	return drain(s.Next, s.Current, s.Err)
}

func TestE2E_OpenAIChat(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=40,chunk=3")
	two := chatWith("gpt-4o-mini", "Grüße, 世界 👋 \"quoted\"\n")
	two.N = openai.Int(2)
	withUsage := two
	withUsage.StreamOptions.IncludeUsage = openai.Bool(true)
	without := two
	without.StreamOptions.IncludeUsage = openai.Bool(false)

	answer, ok := p.same("plain", func(c *clients) any { return c.chat(two) }).(*openai.ChatCompletion)
	if !ok || len(answer.Choices) != 2 || answer.Choices[0].Message.Content == "" || answer.Usage.CompletionTokens != 80 {
		t.Errorf("the test has not tested: %s", show(answer))
	}
	for name, params := range map[string]openai.ChatCompletionNewParams{"unsaid": two, "wanted": withUsage, "unwanted": without} {
		events := p.same("stream, usage "+name, func(c *clients) any { return c.chatStream(params) }).([]any)
		last := events[len(events)-1].(openai.ChatCompletionChunk)
		if got := last.JSON.Usage.Valid(); got != (name == "wanted") || len(events) < 10 {
			t.Errorf("usage %s: %d chunks, the last with usage: %v", name, len(events), got)
		}
	}
	p.same("accumulated", func(c *clients) any {
		s := c.openai.Chat.Completions.NewStreaming(t.Context(), withUsage)
		acc := openai.ChatCompletionAccumulator{}
		for s.Next() {
			if !acc.AddChunk(s.Current()) {
				t.Error("a chunk does not fit")
			}
		}
		return either(acc.ChatCompletion, s.Err())
	})
	p.settled()
}

func TestE2E_OpenAITools(t *testing.T) {
	t.Parallel()
	p := newPair(t, "calls=2,chunk=2")
	params := chatWith("gpt-4o", "weather?")
	params.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "weather", Parameters: weather}),
	}
	asked, ok := p.same("plain", func(c *clients) any { return c.chat(params) }).(*openai.ChatCompletion)
	if !ok || len(asked.Choices[0].Message.ToolCalls) != 2 || asked.Choices[0].FinishReason != "tool_calls" {
		t.Fatalf("the test has not tested: %s", show(asked))
	}
	events := p.same("stream", func(c *clients) any { return c.chatStream(params) }).([]any)
	arguments := ""
	for _, e := range events {
		for _, choice := range e.(openai.ChatCompletionChunk).Choices {
			for _, call := range choice.Delta.ToolCalls {
				if call.Index == 1 {
					arguments += call.Function.Arguments
				}
			}
		}
	}
	if want := asked.Choices[0].Message.ToolCalls[1].Function.Arguments; arguments != want || want == "" {
		t.Errorf("arguments of the second call: streamed %q, plain %q", arguments, want)
	}
	params.Messages = append(params.Messages, asked.Choices[0].Message.ToParam(),
		openai.ToolMessage("sunny", asked.Choices[0].Message.ToolCalls[0].ID), openai.ToolMessage("rain", asked.Choices[0].Message.ToolCalls[1].ID))
	told := p.same("answered", func(c *clients) any { return c.chat(params) }).(*openai.ChatCompletion)
	if told.Choices[0].Message.Content == "" {
		t.Errorf("after the results: %s", show(told))
	}
	p.settled()
}

func TestE2E_OpenAIImagesIn(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	params := chatWith("gpt-4o", "")
	params.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.TextContentPart("what is this?"),
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: photo}),
	})}
	answer := p.same("plain", func(c *clients) any { return c.chat(params) }).(*openai.ChatCompletion)
	if answer.Usage.PromptTokens < 700 || answer.Usage.PromptTokens > 1000 {
		t.Errorf("a picture must cost what pictures cost: %d tokens", answer.Usage.PromptTokens)
	}
	p.same("stream", func(c *clients) any { return c.chatStream(params) })
	p.settled()
}

func TestE2E_OpenAIReasoning(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	params := chatWith("o3", "think")
	params.ReasoningEffort = openai.ReasoningEffortHigh
	answer := p.same("plain", func(c *clients) any { return c.chat(params) }).(*openai.ChatCompletion)
	if answer.Usage.CompletionTokensDetails.ReasoningTokens != 64 {
		t.Errorf("the test has not tested: %s", show(answer))
	}
	p.same("stream", func(c *clients) any { return c.chatStream(params) })
	p.settled()
}

func TestE2E_OpenAIResponses(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=9,chunk=2")
	params := responses.ResponseNewParams{
		Model:     "gpt-5",
		Input:     responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")},
		Reasoning: shared.ReasoningParam{Effort: shared.ReasoningEffortLow, Summary: shared.ReasoningSummaryAuto},
	}
	stored, ok := p.same("plain", func(c *clients) any { return either(c.openai.Responses.New(t.Context(), params)) }).(*responses.Response)
	if !ok || stored.OutputText() == "" || stored.Usage.OutputTokensDetails.ReasoningTokens != 16 {
		t.Fatalf("the test has not tested: %s", show(stored))
	}
	events := p.same("stream", func(c *clients) any { return c.responseStream(params) }).([]any)
	if last := events[len(events)-1].(responses.ResponseStreamEventUnion); last.Type != "response.completed" || last.Response.OutputText() != stored.OutputText() {
		t.Errorf("last event: %s", last.RawJSON())
	}
	p.same("get", func(c *clients) any {
		return either(c.openai.Responses.Get(t.Context(), stored.ID, responses.ResponseGetParams{}))
	})
	p.same("delete", func(c *clients) any { return either(nil, c.openai.Responses.Delete(t.Context(), stored.ID)) })
	gone := p.same("get deleted", func(c *clients) any {
		return either(c.openai.Responses.Get(t.Context(), stored.ID, responses.ResponseGetParams{}))
	})
	if err, ok := gone.(error); !ok || factsOf(err).Status != 404 {
		t.Errorf("deleted response: %s", show(gone))
	}
	tools := responses.ResponseNewParams{
		Model: "gpt-4o",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("weather?")},
		Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "weather", Parameters: weather}}},
	}
	p.same("call", func(c *clients) any { return either(c.openai.Responses.New(t.Context(), tools)) })
	p.same("streamed call", func(c *clients) any { return c.responseStream(tools) })
	p.settled()
}

func TestE2E_OpenAIEmbeddings(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	for _, encoding := range []openai.EmbeddingNewParamsEncodingFormat{openai.EmbeddingNewParamsEncodingFormatFloat, openai.EmbeddingNewParamsEncodingFormatBase64} {
		answer := p.same(string(encoding), func(c *clients) any {
			raw := ""
			got, err := c.openai.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
				Model: "text-embedding-3-small", Dimensions: openai.Int(256), EncodingFormat: encoding,
				Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}},
			})
			if got != nil {
				raw = got.RawJSON()
			}
			return either(raw, err)
		})
		if text, ok := answer.(string); !ok || len(text) < 2000 {
			t.Errorf("%s: the test has not tested: %s", encoding, show(answer))
		}
	}
	p.settled()
}

func TestE2E_OpenAIOtherEndpoints(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	ctx := t.Context()
	completion := openai.CompletionNewParams{
		Model: "gpt-3.5-turbo-instruct", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("once")},
	}
	p.same("completions", func(c *clients) any { return either(c.openai.Completions.New(ctx, completion)) })
	p.same("streamed completions", func(c *clients) any {
		s := c.openai.Completions.NewStreaming(ctx, completion)
		return drain(s.Next, s.Current, s.Err)
	})
	p.same("models", func(c *clients) any {
		list, err := c.openai.Models.List(ctx)
		if err != nil {
			return err
		}
		return list.RawJSON()
	})
	p.same("model", func(c *clients) any { return either(c.openai.Models.Get(ctx, "gpt-4o")) })
	p.same("moderation", func(c *clients) any {
		return either(c.openai.Moderations.New(ctx, openai.ModerationNewParams{Input: openai.ModerationNewParamsInputUnion{OfString: openai.String("violence")}}))
	})
	p.same("image", func(c *clients) any {
		return either(c.openai.Images.Generate(ctx, openai.ImageGenerateParams{Prompt: "a cat", N: openai.Int(2)}))
	})
	p.same("speech", func(c *clients) any {
		resp, err := c.openai.Audio.Speech.New(ctx, openai.AudioSpeechNewParams{
			Model: "tts-1", Input: "hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")},
		})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return either(io.ReadAll(resp.Body))
	})
	p.settled()
}

func TestE2E_OpenAIFilesAndBatches(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	ctx := t.Context()
	content := bytes.Repeat([]byte("{}\n"), 1000)
	file := p.same("upload", func(c *clients) any {
		return either(c.openai.Files.New(ctx, openai.FileNewParams{
			File: openai.File(bytes.NewReader(content), "in.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch,
		}))
	}).(*openai.FileObject)
	p.same("list", func(c *clients) any {
		list, err := c.openai.Files.List(ctx, openai.FileListParams{})
		if err != nil {
			return err
		}
		return list.Data
	})
	p.same("content", func(c *clients) any {
		resp, err := c.openai.Files.Content(ctx, file.ID)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return either(io.ReadAll(resp.Body))
	})
	batch := p.same("batch", func(c *clients) any {
		return either(c.openai.Batches.New(ctx, openai.BatchNewParams{
			InputFileID: file.ID, Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions, CompletionWindow: openai.BatchNewParamsCompletionWindow24h,
		}))
	}).(*openai.Batch)
	p.same("cancel", func(c *clients) any { return either(c.openai.Batches.Cancel(ctx, batch.ID)) })
	p.same("delete", func(c *clients) any { return either(c.openai.Files.Delete(ctx, file.ID)) })
	p.settled()
}

// seenBy sends body to path as an OpenAI client does and returns the request as the provider has seen it.
func (p *pair) seenBy(c *clients, path string, body any) (e sim.Echo) {
	p.t.Helper()
	var raw []byte
	if err := c.openai.Post(p.t.Context(), path, body, &raw, openaioption.WithHeader("x-sim-echo", "true")); err != nil {
		p.t.Error(err)
		return e
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		p.t.Error(err)
	}
	e.Connection, e.Earlier = 0, 0
	for i := range e.Headers {
		if e.Headers[i][0] == "Host" {
			e.Headers[i][1] = strings.NewReplacer(p.direct.addr, "provider", p.behind.addr, "provider").Replace(e.Headers[i][1])
		}
	}
	e.Headers = slices.DeleteFunc(e.Headers, func(h [2]string) bool { return h[0] == "Content-Length" }) // stands where the framing is written
	return e
}

// Usage that the client had not asked for is asked for on its behalf, in streams only. All else of every request
// reaches the provider as the SDK has written it.
func TestE2E_ProviderSeesTheSDKsRequest(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	check := func(name, path string, body any) {
		t.Helper()
		want, got := p.seenBy(p.straight, path, body), p.seenBy(p.around, path, body)
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s: the provider sees\n%+v\ndirectly\n%+v", name, got, want)
		}
		if len(want.Headers) < 5 || want.BodyBytes == 0 {
			t.Errorf("%s: the test has not tested: %+v", name, want)
		}
	}
	check("chat", "chat/completions", chatWith("gpt-4o", "hi <&> \u2028 ü"))
	check("embeddings", "embeddings", map[string]any{"model": "m", "input": "x"})
	check("responses stream", "responses", map[string]any{"model": "m", "input": "x", "stream": true})
	check("unknown", "something/new?a=b%2Fc&d", map[string]any{"x": 1})

	stream := json.RawMessage(`{"model": "m",  "messages": [ ], "stream": true}`)
	want, got := p.seenBy(p.straight, "chat/completions", stream), p.seenBy(p.around, "chat/completions", stream)
	plainBody, err := base64.StdEncoding.DecodeString(want.BodyBase64)
	if err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(got.BodyBase64)
	const added = `"stream_options":{"include_usage":true}`
	if err != nil || strings.Count(string(body), added) != 1 ||
		strings.Replace(strings.Replace(string(body), ","+added, "", 1), added+",", "", 1) != string(plainBody) {
		t.Errorf("stream: the provider sees %s, directly %s, %v", body, plainBody, err)
	}
	for i := range want.Headers { // a compressed stream could not be cleaned of the usage
		if want.Headers[i][0] == "Accept-Encoding" {
			want.Headers[i][1] = "identity"
		}
	}
	if !reflect.DeepEqual(want.Headers, got.Headers) {
		t.Errorf("stream: the provider sees headers %v, directly %v", got.Headers, want.Headers)
	}
}

func responseWith(model, text string) responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(text)}}
}
