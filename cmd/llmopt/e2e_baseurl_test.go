package main

import (
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// The environment variables that the SDKs document, as the README says to set them: each form of the base URL reaches
// the provider at the path that the SDK's own default would have reached. The environment belongs to the process, so
// this test does not run beside others.
func TestE2E_BaseURLFromTheEnvironment(t *testing.T) {
	s := simulate(t, sim.Options{})
	g := serve(t, s.url)
	for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"} {
		t.Setenv(name, "key")
	}
	t.Setenv("GOOGLE_API_KEY", "")
	ctx := t.Context()
	check := func(variable, path, operation string, call func() (any, error)) {
		t.Helper()
		t.Setenv(variable, g.url+path)
		before := s.Stats().Calls[operation]
		if _, err := call(); err != nil {
			t.Errorf("%s=http://host%s: %s", variable, path, show(err))
		} else if got := s.Stats().Calls[operation] - before; got != 1 {
			t.Errorf("%s=http://host%s: the provider got %d calls of %s", variable, path, got, operation)
		}
	}
	for _, path := range []string{"/openai", "/openai/", "/openai/v1", "/openai/v1/", "/v1", "/v1/"} {
		check("OPENAI_BASE_URL", path, "chat", func() (any, error) {
			c := openai.NewClient()
			return c.Chat.Completions.New(ctx, chatWith("gpt-4o", "hello"))
		})
		check("OPENAI_BASE_URL", path, "models", func() (any, error) {
			c := openai.NewClient()
			return c.Models.List(ctx)
		})
	}
	for _, path := range []string{"/anthropic", "/anthropic/", "", "/"} {
		check("ANTHROPIC_BASE_URL", path, "messages", func() (any, error) {
			c := anthropic.NewClient()
			return c.Messages.New(ctx, messageWith("claude-sonnet-4-5", "hello"))
		})
		check("ANTHROPIC_BASE_URL", path, "anthropic_models", func() (any, error) {
			c := anthropic.NewClient()
			return c.Models.List(ctx, anthropic.ModelListParams{})
		})
	}
	for _, path := range []string{"/gemini", "/gemini/", "", "/"} {
		check("GOOGLE_GEMINI_BASE_URL", path, "generate_content", func() (any, error) {
			c, err := genai.NewClient(ctx, nil)
			if err != nil {
				return nil, err
			}
			return c.Models.GenerateContent(ctx, "gemini-2.0-flash", genai.Text("hello"), nil)
		})
		check("GOOGLE_GEMINI_BASE_URL", path, "gemini_models", func() (any, error) {
			c, err := genai.NewClient(ctx, nil)
			if err != nil {
				return nil, err
			}
			return c.Models.List(ctx, nil)
		})
	}
	if st := s.Stats(); st.Calls["unknown"] != 0 || st.Malformed != 0 {
		t.Errorf("the provider saw %+v", st)
	}
}

// The base URL set in code, with and without the provider's name in it, has the same results as the provider itself.
func TestE2E_BaseURLInCode(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	for _, base := range []struct{ openai, anthropic, gemini string }{
		{"/openai", "/anthropic", "/gemini"},
		{"/openai/v1/", "/anthropic/", "/gemini/"},
		{"/v1", "", ""},
		{"/v1/", "/", "/"},
	} {
		p.around = newClients(t, p.gateway.url+base.openai, p.gateway.url+base.anthropic, p.gateway.url+base.gemini)
		p.same("openai at "+base.openai, func(c *clients) any { return c.chat(chatWith("gpt-4o", "hello")) })
		p.same("openai models at "+base.openai, func(c *clients) any { return either(c.openai.Models.Get(t.Context(), "gpt-4o")) })
		p.same("anthropic at "+base.anthropic, func(c *clients) any { return c.messageStream(messageWith("claude-sonnet-4-5", "hello")) })
		p.same("anthropic models at "+base.anthropic, func(c *clients) any {
			return either(c.anthropic.Models.Get(t.Context(), "claude-sonnet-4-5-20250929", anthropic.ModelGetParams{}))
		})
		p.same("gemini at "+base.gemini, func(c *clients) any { return c.generateStream("gemini-2.5-flash", genai.Text("hello"), nil) })
		for _, version := range []string{"v1", "v1beta"} {
			p.same("gemini "+version+" at "+base.gemini, func(c *clients) any {
				return either(c.gemini.Models.GenerateContent(t.Context(), "gemini-2.0-flash", genai.Text("hello"),
					&genai.GenerateContentConfig{HTTPOptions: &genai.HTTPOptions{APIVersion: version}}))
			})
		}
		p.same("gemini models at "+base.gemini, func(c *clients) any { return either(c.gemini.Models.Get(t.Context(), "gemini-2.5-flash", nil)) })
	}
	p.settled()
}
