package main

import (
	"strings"
	"testing"
	"time"

	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	openaioption "github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// The provider's own errors pass as they are: the SDK's typed error has the same fields, and the access log the outcome.
func TestE2E_ProviderErrorsAreTheSDKsOwn(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	var lines expectations
	check := func(name string, call func(c *clients, fault string) any, faults map[string]string) {
		t.Helper()
		for fault, outcome := range faults {
			failed := p.same(name+" "+fault, func(c *clients) any { return call(c, fault) })
			if list, ok := failed.([]any); ok && len(list) > 0 {
				failed = list[len(list)-1]
			}
			err, ok := failed.(error)
			if !ok {
				t.Errorf("%s %s: no error but %s", name, fault, show(failed))
				continue
			}
			if facts := factsOf(err); strings.HasPrefix(facts.Type, "*") {
				t.Errorf("%s %s: not the SDK's own error: %+v", name, fault, facts)
			}
			lines.expect(p.around.wire.last(), func(line logLine) {
				if line.Outcome != outcome || line.Error != "" {
					t.Errorf("%s %s: outcome %q, error %q; want %q and the provider's own error", name, fault, line.Outcome, line.Error, outcome)
				}
				if fault != "error-event" && (line.Cost != 0 || line.Estimated) {
					t.Errorf("%s %s: charged %d, estimated %v", name, fault, line.Cost, line.Estimated)
				}
			})
		}
	}
	plain := map[string]string{
		"400": "client_error", "401": "client_error", "404": "client_error", "429": "rate_limited", "500": "upstream_error",
		"503": "upstream_error", "529": "upstream_error",
	}
	streamed := map[string]string{"429": "rate_limited", "500": "upstream_error", "529": "upstream_error", "400": "client_error", "error-event": "stream_error"}
	at := func(model, fault string) string { return model + "@sim:after=5,fault=" + fault }

	check("openai chat", func(c *clients, f string) any { return c.chat(chatWith(at("gpt-4o", f), "hello")) }, plain)
	check("openai stream", func(c *clients, f string) any { return c.chatStream(chatWith(at("gpt-4o", f), "hello")) }, streamed)
	check("anthropic message", func(c *clients, f string) any { return c.message(messageWith(at("claude-sonnet-4-5", f), "hello")) }, plain)
	check("anthropic stream", func(c *clients, f string) any {
		return c.messageStream(messageWith(at("claude-sonnet-4-5", f), "hello"))
	}, streamed)
	check("gemini generate", func(c *clients, f string) any { return c.generate(at("gemini-2.0-flash", f), genai.Text("hello"), nil) }, plain)
	check("gemini stream", func(c *clients, f string) any {
		return c.generateStream(at("gemini-2.0-flash", f), genai.Text("hello"), nil)
	}, streamed)
	p.settled()
	lines.check(p.gateway)
}

// A wrong key, a model that does not exist and a path that does not exist are the provider's to refuse.
func TestE2E_WrongKeysModelsAndPaths(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	ctx := t.Context()
	check := func(name string, status int, call func(c *clients) any) {
		t.Helper()
		err, ok := p.same(name, call).(error)
		if !ok || factsOf(err).Status != status {
			t.Errorf("%s: got %v, want status %d", name, err, status)
		}
	}
	check("openai key", 401, func(c *clients) any {
		return either(c.openai.Chat.Completions.New(ctx, chatWith("gpt-4o", "hello"), openaioption.WithAPIKey("sk-bad")))
	})
	check("anthropic key", 401, func(c *clients) any {
		return either(c.anthropic.Messages.New(ctx, messageWith("claude-sonnet-4-5", "hello"), anthropicoption.WithAPIKey("sk-bad")))
	})
	check("gemini key", 400, func(c *clients) any {
		return either(c.geminiWith("bad").Models.GenerateContent(ctx, "gemini-2.0-flash", genai.Text("hello"), nil))
	})
	check("openai model", 404, func(c *clients) any { return either(c.openai.Models.Get(ctx, "missing")) })
	check("gemini model", 404, func(c *clients) any { return c.generate("missing", genai.Text("hello"), nil) })
	check("openai path", 404, func(c *clients) any { return either(nil, c.openai.Post(ctx, "no/such/path", map[string]any{}, nil)) })
	p.settled()
}

// The SDKs retry by themselves what says retry-after; the gateway neither hides the header nor retries on top of them.
func TestE2E_SDKsRetryAsWithoutTheGateway(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	check := func(name, step string, calls int64, operation string, call func(c *clients) any) {
		t.Helper()
		script := sim.MustScript("2*fault=" + step + ",retry-after=1ms")
		p.direct.SetScript(script)
		p.behind.SetScript(script)
		before := p.behind.Stats().Calls[operation]
		if err, failed := p.same(name, call).(error); failed {
			t.Errorf("%s: %v", name, err)
		}
		if got := p.behind.Stats().Calls[operation] - before; got != calls {
			t.Errorf("%s: the provider got %d calls, want %d", name, got, calls)
		}
	}
	chat := func(c *clients) any {
		return either(c.openai.Chat.Completions.New(t.Context(), chatWith("gpt-4o", "hello"), openaioption.WithMaxRetries(2)))
	}
	message := func(c *clients) any {
		return either(c.anthropic.Messages.New(t.Context(), messageWith("claude-sonnet-4-5", "hello"), anthropicoption.WithMaxRetries(2)))
	}
	check("openai", "429", 3, "chat", chat)
	check("openai", "503", 3, "chat", chat)
	check("openai", "none", 1, "chat", chat)
	check("anthropic", "429", 3, "messages", message)
	check("anthropic", "529", 3, "messages", message)
	check("gemini", "503", 3, "generate_content", func(c *clients) any {
		return either(c.gemini.Models.GenerateContent(t.Context(), "gemini-2.0-flash", genai.Text("hello"), &genai.GenerateContentConfig{
			HTTPOptions: &genai.HTTPOptions{RetryOptions: &genai.HTTPRetryOptions{
				Attempts: genai.Ptr[int32](3), InitialDelay: genai.Ptr(0.001), MaxDelay: genai.Ptr(0.002),
			}},
		}))
	})
	p.settled()
}

// gatewayErrors makes every SDK meet the same error of the gateway's own, plain and streamed.
func gatewayErrors(t *testing.T, g *served, status int, code, outcome, text string) {
	t.Helper()
	c := newClients(t, g.url+"/openai", g.url+"/anthropic", g.url+"/gemini")
	openaiKind, anthropicKind, geminiKind := "server_error", "api_error", "INTERNAL"
	switch status {
	case 413:
		openaiKind, anthropicKind, geminiKind = "invalid_request_error", "request_too_large", "INVALID_ARGUMENT"
	case 502:
		geminiKind = "UNAVAILABLE"
	case 504:
		anthropicKind, geminiKind = "timeout_error", "DEADLINE_EXCEEDED"
	}
	var lines expectations
	check := func(name string, failed any, want errorFacts) {
		t.Helper()
		if list, ok := failed.([]any); ok {
			failed = list[len(list)-1]
		}
		err, ok := failed.(error)
		if !ok {
			t.Errorf("%s: no error but %s", name, show(failed))
			return
		}
		got := factsOf(err)
		all := got.Raw + got.Message
		for _, secret := range []string{"127.0.0.1", "localhost", "dial", "tcp", "connection refused", "sim"} {
			if strings.Contains(all, secret) {
				t.Errorf("%s: the client learns %q: %s", name, secret, all)
			}
		}
		if got.Type != want.Type || got.Status != status || got.Kind != want.Kind || got.Code != want.Code || len(all) < 20 {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		lines.expect(c.wire.last(), func(line logLine) {
			if line.Status != status || line.Outcome != outcome || line.Error != code {
				t.Errorf("%s: access log %+v, want status %d, outcome %q, error %q", name, line, status, outcome, code)
			}
		})
	}
	o := errorFacts{Type: "openai", Kind: openaiKind, Code: code}
	a := errorFacts{Type: "anthropic", Kind: anthropicKind}
	m := errorFacts{Type: "gemini", Kind: geminiKind}
	check("openai", c.chat(chatWith("gpt-4o", text)), o)
	check("openai stream", c.chatStream(chatWith("gpt-4o", text)), o)
	check("openai responses", c.responseStream(responseWith("gpt-4o", text)), o)
	check("anthropic", c.message(messageWith("claude-sonnet-4-5", text)), a)
	check("anthropic stream", c.messageStream(messageWith("claude-sonnet-4-5", text)), a)
	check("gemini", c.generate("gemini-2.0-flash", genai.Text(text), nil), m)
	check("gemini stream", c.generateStream("gemini-2.0-flash", genai.Text(text), nil), m)
	lines.check(g)
}

func TestE2E_ProviderThatIsDownIsA502(t *testing.T) {
	t.Parallel()
	gatewayErrors(t, serve(t, "http://127.0.0.1:1"), 502, "upstream_unreachable", "connect", "hello")
}

func TestE2E_ProviderThatIsSilentIsA504(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("fault=stall-head")})
	const patience = "50ms"
	g := serve(t, s.url, "OPTIMIZER_PROVIDER_DEFAULTS__TIMEOUTS__FIRST_BYTE="+patience)
	gatewayErrors(t, g, 504, "upstream_timeout", "timeout_first_byte", "hello")
	// Nobody waits for the answers any more, and the provider is told so.
	eventually(t, "all calls canceled at the provider", time.Second, func() bool { return s.Stats().Canceled == 7 })
}

func TestE2E_RequestThatIsTooLargeIsA413(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url, "OPTIMIZER_SERVER__MAX_BODY=64KiB")
	gatewayErrors(t, g, 413, "request_too_large", "refused", strings.Repeat("too long ", 10_000))
	if st := s.Stats(); st.Total() != 0 {
		t.Errorf("the provider got %d calls", st.Total())
	}
}
