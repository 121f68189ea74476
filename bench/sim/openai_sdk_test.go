package sim

import (
	"errors"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

func (s *simulator) openAI(opts ...option.RequestOption) openai.Client {
	all := append([]option.RequestOption{
		option.WithBaseURL(s.url + "/v1"), option.WithAPIKey("key"), option.WithMaxRetries(0),
	}, opts...)
	return openai.NewClient(all...)
}

func chatParams(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
	}
}

// weather is a tool in the terms of JSON schema.
var weather = map[string]any{
	"type": "object",
	"properties": map[string]any{
		"city": map[string]any{"type": "string"},
		"days": map[string]any{"type": "integer"},
		"unit": map[string]any{"type": "string", "enum": []string{"celsius", "fahrenheit"}},
	},
	"required": []string{"city"},
}

// accumulate reads a chat stream to its end.
func accumulate(t *testing.T, c *openai.Client, params openai.ChatCompletionNewParams) *openai.ChatCompletionAccumulator {
	t.Helper()
	stream := c.Chat.Completions.NewStreaming(t.Context(), params)
	acc := &openai.ChatCompletionAccumulator{}
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("chunk does not fit: %s", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	return acc
}

func TestOpenAI_ChatStreamTellsWhatThePlainAnswerTells(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed, Directives: MustDirectives("ids=stable")})
	c := s.openAI()
	params := chatParams("gpt-4o-mini@sim:tokens=40,chunk=3", "hello")
	params.N = openai.Int(2)
	plain, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	acc := accumulate(t, &c, params)
	for i := range plain.Choices {
		if got, want := acc.Choices[i].Message.Content, plain.Choices[i].Message.Content; got != want || got == "" {
			t.Errorf("text of choice %d in the stream: got %q, want %q", i, got, want)
		}
		if got := acc.Choices[i].FinishReason; got != "stop" {
			t.Errorf("finish reason of choice %d: got %q, want stop", i, got)
		}
	}
	if plain.Choices[0].Message.Content == plain.Choices[1].Message.Content {
		t.Error("both choices say the same")
	}
	if got := acc.Usage.CompletionTokens; got != 80 {
		t.Errorf("completion tokens: got %d, want 80", got)
	}
	if acc.Usage.PromptTokens != plain.Usage.PromptTokens || acc.Model != "gpt-4o-mini" || acc.ID != plain.ID {
		t.Errorf("stream and plain answer differ: %+v, %+v", acc.ChatCompletion, plain)
	}
}

func TestOpenAI_ToolsAreCalledAndThenAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Directives: MustDirectives("calls=2")})
	c := s.openAI()
	params := chatParams("gpt-4o", "weather?")
	params.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "weather", Parameters: weather}),
	}
	acc := accumulate(t, &c, params)
	plain, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	got, want := acc.Choices[0].Message.ToolCalls, plain.Choices[0].Message.ToolCalls
	if len(got) != 2 || len(want) != 2 || acc.Choices[0].FinishReason != "tool_calls" {
		t.Fatalf("tool calls: %d streamed, %d plain, finish %q", len(got), len(want), acc.Choices[0].FinishReason)
	}
	if a := got[1].Function.Arguments; a != want[1].Function.Arguments || !strings.Contains(a, `"unit":"celsius"`) {
		t.Errorf("arguments: streamed %s, plain %s", a, want[1].Function.Arguments)
	}
	params.Messages = append(params.Messages, plain.Choices[0].Message.ToParam(), openai.ToolMessage("sunny", want[0].ID))
	answer, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Choices[0].FinishReason != "stop" || answer.Choices[0].Message.Content == "" {
		t.Errorf("after the tool's result: %+v", answer.Choices[0])
	}
}

func TestOpenAI_ImagesAreCountedByPieceNotByByte(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	ask := func(url string) openai.CompletionUsage {
		params := chatParams("gpt-4o", "")
		params.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.TextContentPart("what is this?"),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: url}),
		})}
		answer, err := c.Chat.Completions.New(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Usage
	}
	byURL := ask("https://example.com/cat.png")
	inline := ask("data:image/png;base64," + strings.Repeat("A", 100_000))
	if byURL.PromptTokens != inline.PromptTokens || byURL.PromptTokens < openAIImageHigh {
		t.Errorf("prompt tokens: %d by URL, %d inline", byURL.PromptTokens, inline.PromptTokens)
	}
}

func TestOpenAI_SamePrefixIsReadFromTheCacheOfTheKey(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	mine, theirs := s.openAI(), s.openAI(option.WithAPIKey("other"))
	prefix := strings.Repeat("a long prompt ", 600)
	cached := func(c openai.Client, text string) int64 {
		answer, err := c.Chat.Completions.New(t.Context(), chatParams("gpt-4o", text))
		if err != nil {
			t.Fatal(err)
		}
		return answer.Usage.PromptTokensDetails.CachedTokens
	}
	if n := cached(mine, prefix+"one"); n != 0 {
		t.Errorf("first: %d tokens cached", n)
	}
	if n := cached(mine, prefix+"two"); n < 1024 || n%128 != 0 {
		t.Errorf("again: %d tokens cached, want a multiple of 128 from 1024", n)
	}
	if n := cached(theirs, prefix+"two"); n != 0 {
		t.Errorf("other key: %d tokens cached", n)
	}
}

func TestOpenAI_ReasoningIsPartOfTheOutputAndOfTheLimit(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	params := chatParams("o3", "think")
	params.ReasoningEffort = openai.ReasoningEffortHigh
	answer, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if u := answer.Usage; u.CompletionTokensDetails.ReasoningTokens != 64 || u.CompletionTokens <= 64 {
		t.Errorf("usage: %+v", u)
	}
	params.MaxCompletionTokens = openai.Int(10)
	answer, err = c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Usage.CompletionTokens != 10 || answer.Choices[0].FinishReason != "length" {
		t.Errorf("with a limit: %+v", answer)
	}
}

func TestOpenAI_Responses(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed, Directives: MustDirectives("ids=stable,tokens=9,chunk=2")})
	c := s.openAI()
	params := responses.ResponseNewParams{
		Model:     "gpt-5",
		Input:     responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")},
		Reasoning: shared.ReasoningParam{Effort: shared.ReasoningEffortLow, Summary: shared.ReasoningSummaryAuto},
	}
	plain, err := c.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	stream := c.Responses.NewStreaming(t.Context(), params)
	var text, thought strings.Builder
	var last responses.Response
	next := int64(0)
	for stream.Next() {
		e := stream.Current()
		if e.SequenceNumber != next {
			t.Errorf("event %s: sequence number %d, want %d", e.Type, e.SequenceNumber, next)
		}
		next++
		switch e.Type {
		case "response.output_text.delta":
			text.WriteString(e.Delta)
		case "response.reasoning_summary_text.delta":
			thought.WriteString(e.Delta)
		case "response.completed":
			last = e.Response
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if text.String() != plain.OutputText() || text.Len() == 0 || thought.String() != plain.Output[0].Summary[0].Text {
		t.Errorf("stream %q (%q), plain %q", text.String(), thought.String(), plain.OutputText())
	}
	if u := last.Usage; u.OutputTokens != 16+9 || u.OutputTokensDetails.ReasoningTokens != 16 || u.InputTokens != plain.Usage.InputTokens {
		t.Errorf("usage: %+v", u)
	}
	stored, err := c.Responses.Get(t.Context(), plain.ID, responses.ResponseGetParams{})
	if err != nil || stored.OutputText() != plain.OutputText() {
		t.Errorf("stored response: %v, %v", stored, err)
	}
	if err := c.Responses.Delete(t.Context(), plain.ID); err != nil {
		t.Error(err)
	}
	var e *openai.Error
	if _, err := c.Responses.Get(t.Context(), plain.ID, responses.ResponseGetParams{}); !errors.As(err, &e) || e.StatusCode != 404 {
		t.Errorf("deleted response: got %v, want 404", err)
	}
}

func TestOpenAI_ResponsesCallFunctions(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	stream := c.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{
		Model: "gpt-4o",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("weather?")},
		Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "weather", Parameters: weather}}},
	})
	var arguments strings.Builder
	done := ""
	for stream.Next() {
		switch e := stream.Current(); e.Type {
		case "response.function_call_arguments.delta":
			arguments.WriteString(e.Delta)
		case "response.completed":
			done = e.Response.Output[0].AsFunctionCall().Arguments
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if arguments.String() != done || !strings.Contains(done, "city") {
		t.Errorf("arguments: deltas %q, completed %q", arguments.String(), done)
	}
}
