package sim

import (
	"errors"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"
)

func TestQuota_RefusalsAreTypedByTheSDKs(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Quota: MustQuota("requests=1/h")})
	o, a, g := s.openAI(), s.anthropic(), s.gemini("key", "v1beta")
	stream := false
	ask := map[string]func() error{
		"OpenAI": func() error {
			_, err := o.Chat.Completions.New(t.Context(), chatParams("gpt-4o", "hello"))
			return err
		},
		"Anthropic": func() error {
			if stream {
				events := a.Messages.NewStreaming(t.Context(), messageParams("claude", "hello"))
				for events.Next() {
				}
				return events.Err()
			}
			_, err := a.Messages.New(t.Context(), messageParams("claude", "hello"))
			return err
		},
		"Gemini": func() error {
			_, err := g.Models.GenerateContent(t.Context(), "gemini-2.5-flash", genai.Text("hello"), nil)
			return err
		},
	}
	for name, call := range ask {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var eo *openai.Error
	if err := ask["OpenAI"](); !errors.As(err, &eo) || eo.StatusCode != 429 || eo.Type != "requests" || eo.Code != "rate_limit_exceeded" ||
		!strings.HasPrefix(eo.Message, "Rate limit reached for gpt-4o in organization org-simulated on requests per hour (RPH): Limit 1, Used 1, Requested 1. Please try again in ") ||
		eo.Response.Header.Get("Retry-After") == "" {
		t.Errorf("OpenAI: %v: %q %q %q", err, eo.Type, eo.Code, eo.Message)
	}
	for _, stream = range []bool{false, true} {
		var ea *anthropic.Error
		if err := ask["Anthropic"](); !errors.As(err, &ea) || ea.StatusCode != 429 || ea.Type() != anthropic.ErrorTypeRateLimitError || ea.RequestID == "" ||
			ea.Response.Header.Get("anthropic-ratelimit-requests-remaining") != "0" {
			t.Errorf("Anthropic: %v", err)
		}
	}
	var eg genai.APIError
	if err := ask["Gemini"](); !errors.As(err, &eg) || eg.Code != 429 || eg.Status != "RESOURCE_EXHAUSTED" || len(eg.Details) != 3 {
		t.Errorf("Gemini: %v", err)
	}
}

func TestQuota_SDKsComeBackWhenToldTo(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Quota: MustQuota("requests=10/s,burst=100ms")})
	c := s.openAI(option.WithMaxRetries(1))
	for range 3 {
		if _, err := c.Chat.Completions.New(t.Context(), chatParams("gpt-4o", "hello")); err != nil {
			t.Error(err)
		}
	}
	if st := s.Stats().Quota; st.Through != 3 || st.Refused < 1 {
		t.Errorf("%d let through, %d refused", st.Through, st.Refused)
	}
}
