package sim

import (
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
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

func TestOpenAI_ChatStreamTellsWhatThePlainAnswerTells(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	params := chatParams("gpt-4o-mini@sim:tokens=40", "hello")
	plain, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := c.Chat.Completions.NewStreaming(t.Context(), params)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if got, want := acc.Choices[0].Message.Content, plain.Choices[0].Message.Content; got != want || got == "" {
		t.Errorf("text of the stream: got %q, want %q", got, want)
	}
	if got, want := acc.Usage.CompletionTokens, int64(40); got != want {
		t.Errorf("completion tokens: got %d, want %d", got, want)
	}
	if acc.Usage.PromptTokens != plain.Usage.PromptTokens || acc.Model != "gpt-4o-mini" {
		t.Errorf("stream and plain answer differ: %+v, %+v", acc.ChatCompletion, plain)
	}
}

func TestOpenAI_BadKeyIsATypedError(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI(option.WithAPIKey("sk-bad"))
	_, err := c.Chat.Completions.New(t.Context(), chatParams("gpt-4o", "hello"))
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 401 || e.Code != "invalid_api_key" {
		t.Fatalf("got %v, want 401 invalid_api_key", err)
	}
}
