package sim

import (
	"errors"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

func (s *simulator) anthropic(opts ...option.RequestOption) anthropic.Client {
	all := append([]option.RequestOption{
		option.WithBaseURL(s.url), option.WithAPIKey("key"), option.WithMaxRetries(0),
	}, opts...)
	return anthropic.NewClient(all...)
}

func messageParams(model, text string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     model,
		MaxTokens: 4096,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))},
	}
}

// message reads a stream of messages to its end.
func message(t *testing.T, c *anthropic.Client, params anthropic.MessageNewParams) anthropic.Message {
	t.Helper()
	stream := c.Messages.NewStreaming(t.Context(), params)
	var m anthropic.Message
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnthropic_StreamTellsWhatThePlainAnswerTells(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed, Directives: MustDirectives("ids=stable")})
	c := s.anthropic()
	params := messageParams("claude-sonnet-4-5@sim:tokens=50,chunk=4", "hello")
	params.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	plain, err := c.Messages.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	streamed := message(t, &c, params)
	if len(streamed.Content) != 2 || len(plain.Content) != 2 {
		t.Fatalf("blocks: %d streamed, %d plain", len(streamed.Content), len(plain.Content))
	}
	if streamed.Content[0].Thinking != plain.Content[0].Thinking || streamed.Content[0].Signature != signature {
		t.Errorf("thinking: %+v, %+v", streamed.Content[0], plain.Content[0])
	}
	if streamed.Content[1].Text != plain.Content[1].Text || plain.Content[1].Text == "" {
		t.Errorf("text: %q, %q", streamed.Content[1].Text, plain.Content[1].Text)
	}
	if u := streamed.Usage; u.OutputTokens != 50+32 || u.OutputTokens != plain.Usage.OutputTokens || u.InputTokens != plain.Usage.InputTokens {
		t.Errorf("usage: %+v, %+v", u, plain.Usage)
	}
	if streamed.ID != plain.ID || streamed.StopReason != anthropic.StopReasonEndTurn || streamed.Model != "claude-sonnet-4-5" {
		t.Errorf("message: %+v", streamed)
	}
}

func TestAnthropic_ToolsAreCalledAndThenAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.anthropic(option.WithHeader("x-sim-calls", "2"))
	params := messageParams("claude-haiku-4-5", "weather?")
	params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
		Name: "weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: weather["properties"]},
	}}}
	m := message(t, &c, params)
	if len(m.Content) != 2 || m.StopReason != anthropic.StopReasonToolUse {
		t.Fatalf("got %d blocks, stop reason %q", len(m.Content), m.StopReason)
	}
	if input := string(m.Content[1].Input); !strings.Contains(input, `"unit":"celsius"`) {
		t.Errorf("input: %s", input)
	}
	params.Messages = append(params.Messages, m.ToParam(), anthropic.NewUserMessage(
		anthropic.NewToolResultBlock(m.Content[0].ID, "sunny", false),
		anthropic.NewToolResultBlock(m.Content[1].ID, "rain", false),
	))
	if m = message(t, &c, params); m.StopReason != anthropic.StopReasonEndTurn || m.Content[0].Text == "" {
		t.Errorf("after the results: %+v", m)
	}
}

func TestAnthropic_MarkedPrefixesAreWrittenOnceAndThenRead(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.anthropic()
	ask := func(system anthropic.CacheControlEphemeralParam, turns ...string) anthropic.Usage {
		params := messageParams("claude-sonnet-4-5", turns[0])
		params.System = []anthropic.TextBlockParam{{Text: strings.Repeat("be kind ", 1000), CacheControl: system}}
		for _, turn := range turns[1:] {
			params.Messages = append(params.Messages, anthropic.NewUserMessage(anthropic.NewTextBlock(turn)))
		}
		params.Messages[len(params.Messages)-1].Content[0].OfText.CacheControl = anthropic.NewCacheControlEphemeralParam()
		return message(t, &c, params).Usage
	}
	hour := anthropic.CacheControlEphemeralParam{TTL: anthropic.CacheControlEphemeralTTLTTL1h}
	first := ask(hour, "one")
	if first.CacheReadInputTokens != 0 || first.CacheCreation.Ephemeral1hInputTokens < 2000 || first.CacheCreation.Ephemeral5mInputTokens == 0 {
		t.Errorf("first turn: %+v", first)
	}
	if sum := first.CacheCreation.Ephemeral1hInputTokens + first.CacheCreation.Ephemeral5mInputTokens; sum != first.CacheCreationInputTokens {
		t.Errorf("cache creation: %d, by lifetime %d", first.CacheCreationInputTokens, sum)
	}
	second := ask(hour, "one", "two")
	if got, want := second.CacheReadInputTokens, first.CacheCreationInputTokens; got != want {
		t.Errorf("second turn read %d, want the %d written before; %+v", got, want, second)
	}
	if u := second.CacheCreation; u.Ephemeral1hInputTokens != 0 || u.Ephemeral5mInputTokens == 0 {
		t.Errorf("second turn: %+v", second)
	}
	if u := message(t, &c, messageParams("claude-sonnet-4-5", strings.Repeat("long ", 2000))).Usage; u.CacheReadInputTokens+u.CacheCreationInputTokens != 0 {
		t.Errorf("unmarked prompt: %+v", u)
	}
}

func TestAnthropic_CountsWhatItCharges(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.anthropic()
	image := anthropic.NewImageBlockBase64("image/png", strings.Repeat("A", 50_000))
	params := messageParams("claude-sonnet-4-5", "what is this?")
	params.Messages[0].Content = append(params.Messages[0].Content, image)
	counted, err := c.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: params.Model, Messages: params.Messages})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Messages.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Usage.InputTokens; got != counted.InputTokens || got < anthropicImage || got > 2*anthropicImage {
		t.Errorf("input tokens: %d, counted %d", got, counted.InputTokens)
	}
}

func TestAnthropic_KeyGoesInEitherHeader(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	for _, c := range []anthropic.Client{
		s.anthropic(),
		anthropic.NewClient(option.WithBaseURL(s.url), option.WithAuthToken("token"), option.WithMaxRetries(0)),
	} {
		list, err := c.Models.List(t.Context(), anthropic.ModelListParams{})
		if err != nil || len(list.Data) != len(anthropicModelNames) {
			t.Errorf("models: %v, %v", list, err)
		}
	}
}

func TestAnthropic_ErrorsAreTyped(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(key, model string, status int, kind string) {
		t.Helper()
		c := s.anthropic(option.WithAPIKey(key))
		_, err := c.Messages.New(t.Context(), messageParams(model, "hello"))
		var e *anthropic.Error
		if !errors.As(err, &e) || e.StatusCode != status || string(e.Type()) != kind || e.RequestID == "" {
			t.Errorf("key %s, model %s: got %v, want %d %s", key, model, err, status, kind)
		}
	}
	check("sk-bad", "claude", 401, "authentication_error")
	check("key", "sim:fault=429", 429, "rate_limit_error")
	check("key", "sim:fault=529", 529, "overloaded_error")
	check("key", "sim:fault=500", 500, "api_error")

	c := s.anthropic()
	stream := c.Messages.NewStreaming(t.Context(), messageParams("sim:fault=error-event", "hello"))
	for stream.Next() {
	}
	if err := stream.Err(); err == nil || !strings.Contains(err.Error(), "overloaded_error") {
		t.Errorf("error in the stream: %v", err)
	}
	resp, body := s.do("POST", "/v1/messages", `{"model":"claude","max_tokens":1,"messages":[]}`)
	if resp.StatusCode != 400 || !strings.Contains(body, "anthropic-version") {
		t.Errorf("without a version: %d %s", resp.StatusCode, body)
	}
}
