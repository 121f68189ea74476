package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
)

func messageWith(model, text string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: model, MaxTokens: 4096,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))},
	}
}

func (c *clients) message(params anthropic.MessageNewParams) any {
	return either(c.anthropic.Messages.New(c.t.Context(), params))
}

func (c *clients) messageStream(params anthropic.MessageNewParams, opts ...anthropicoption.RequestOption) any {
	s := c.anthropic.Messages.NewStreaming(c.t.Context(), params, opts...)
	return drain(s.Next, s.Current, s.Err)
}

// accumulated is what a stream of messages adds up to.
func (c *clients) accumulated(params anthropic.MessageNewParams) any {
	s := c.anthropic.Messages.NewStreaming(c.t.Context(), params)
	var m anthropic.Message
	for s.Next() {
		if err := m.Accumulate(s.Current()); err != nil {
			return err
		}
	}
	return either(m, s.Err())
}

func TestE2E_AnthropicMessages(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=50,chunk=4")
	params := messageWith("claude-sonnet-4-5", "Grüße, 世界 👋")
	plain, ok := p.same("plain", func(c *clients) any { return c.message(params) }).(*anthropic.Message)
	if !ok || plain.Content[0].Text == "" || plain.Usage.OutputTokens != 50 {
		t.Fatalf("the test has not tested: %s", show(plain))
	}
	events := p.same("stream", func(c *clients) any { return c.messageStream(params) }).([]any)
	if last := events[len(events)-1].(anthropic.MessageStreamEventUnion); last.Type != "message_stop" {
		t.Errorf("last event: %s", last.RawJSON())
	}
	if m := p.same("accumulated", func(c *clients) any { return c.accumulated(params) }).(anthropic.Message); m.Content[0].Text != plain.Content[0].Text {
		t.Errorf("stream says %q, plain answer %q", m.Content[0].Text, plain.Content[0].Text)
	}
	p.settled()
}

func TestE2E_AnthropicThinking(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=20,chunk=3")
	params := messageWith("claude-opus-4-5", "think")
	params.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	plain := p.same("plain", func(c *clients) any { return c.message(params) }).(*anthropic.Message)
	streamed := p.same("stream", func(c *clients) any { return c.accumulated(params) }).(anthropic.Message)
	if len(streamed.Content) != 2 || streamed.Content[0].Thinking == "" || streamed.Content[0].Signature == "" ||
		streamed.Content[0].Thinking != plain.Content[0].Thinking {
		t.Errorf("streamed %s\nplain %s", show(streamed), show(plain))
	}
	p.same("events", func(c *clients) any { return c.messageStream(params) })
	p.settled()
}

func TestE2E_AnthropicCacheControl(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	ask := func(name string, turns ...string) anthropic.Usage {
		t.Helper()
		params := messageWith("claude-sonnet-4-5", turns[0])
		params.System = []anthropic.TextBlockParam{{
			Text:         strings.Repeat("be kind ", 1000),
			CacheControl: anthropic.CacheControlEphemeralParam{TTL: anthropic.CacheControlEphemeralTTLTTL1h},
		}}
		for _, turn := range turns[1:] {
			params.Messages = append(params.Messages, anthropic.NewUserMessage(anthropic.NewTextBlock(turn)))
		}
		params.Messages[len(params.Messages)-1].Content[0].OfText.CacheControl = anthropic.NewCacheControlEphemeralParam()
		return p.same(name, func(c *clients) any { return c.accumulated(params) }).(anthropic.Message).Usage
	}
	first := ask("first turn", "one")
	if first.CacheCreation.Ephemeral1hInputTokens < 2000 || first.CacheCreation.Ephemeral5mInputTokens == 0 {
		t.Errorf("first turn: %s", show(first))
	}
	// The prefix that the first turn has written is read by the second: not a byte in front of it has changed on the way.
	if second := ask("second turn", "one", "two"); second.CacheReadInputTokens != first.CacheCreationInputTokens {
		t.Errorf("second turn read %d tokens, want %d", second.CacheReadInputTokens, first.CacheCreationInputTokens)
	}
	p.settled()
}

func TestE2E_AnthropicTools(t *testing.T) {
	t.Parallel()
	p := newPair(t, "calls=2,chunk=2")
	params := messageWith("claude-haiku-4-5", "weather?")
	params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
		Name: "weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: weather["properties"]},
	}}}
	plain := p.same("plain", func(c *clients) any { return c.message(params) }).(*anthropic.Message)
	m := p.same("stream", func(c *clients) any { return c.accumulated(params) }).(anthropic.Message)
	if len(m.Content) != 2 || m.StopReason != anthropic.StopReasonToolUse || !json.Valid(m.Content[1].Input) ||
		string(m.Content[1].Input) != string(plain.Content[1].Input) {
		t.Fatalf("streamed %s\nplain %s", show(m), show(plain))
	}
	p.same("events", func(c *clients) any { return c.messageStream(params) })
	params.Messages = append(params.Messages, m.ToParam(), anthropic.NewUserMessage(
		anthropic.NewToolResultBlock(m.Content[0].ID, "sunny", false), anthropic.NewToolResultBlock(m.Content[1].ID, "rain", true)))
	if m := p.same("answered", func(c *clients) any { return c.message(params) }).(*anthropic.Message); m.Content[0].Text == "" {
		t.Errorf("after the results: %s", show(m))
	}
	p.settled()
}

func TestE2E_AnthropicImagesAndCountTokens(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	params := messageWith("claude-sonnet-4-5", "what is this?")
	_, data, _ := strings.Cut(photo, ",")
	params.Messages[0].Content = append(params.Messages[0].Content, anthropic.NewImageBlockBase64("image/png", data))
	answer := p.same("plain", func(c *clients) any { return c.message(params) }).(*anthropic.Message)
	p.same("stream", func(c *clients) any { return c.messageStream(params) })
	counted := p.same("count_tokens", func(c *clients) any {
		return either(c.anthropic.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: params.Model, Messages: params.Messages}))
	}).(*anthropic.MessageTokensCount)
	if counted.InputTokens != answer.Usage.InputTokens || counted.InputTokens < 1000 {
		t.Errorf("counted %d tokens, charged %d", counted.InputTokens, answer.Usage.InputTokens)
	}
	p.settled()
}

// Older SDKs send x-api-key, newer ones a bearer token: both pass as they are.
func TestE2E_AnthropicModelsWithEitherCredential(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	for _, credential := range []anthropicoption.RequestOption{
		anthropicoption.WithAPIKey("key"), anthropicoption.WithAuthToken("token"),
	} {
		p.same("models", func(c *clients) any {
			client := anthropic.NewClient(anthropicoption.WithoutEnvironmentDefaults(), anthropicoption.WithBaseURL(c.anthropicURL),
				anthropicoption.WithHTTPClient(c.http), anthropicoption.WithMaxRetries(0), credential)
			list, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
			if err != nil {
				return err
			}
			if len(list.Data) == 0 {
				t.Error("no models")
			}
			return list.Data
		})
	}
	p.same("model", func(c *clients) any {
		return either(c.anthropic.Models.Get(t.Context(), "claude-sonnet-4-5-20250929", anthropic.ModelGetParams{}))
	})
	p.settled()
}
