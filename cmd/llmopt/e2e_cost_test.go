package main

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// tokens is what the access log says that an exchange has used.
type tokens struct {
	input, cacheRead, cacheWrite, output, reasoning int64
	cost                                            int64 // NanoUSD
}

func (l *logLine) used() tokens {
	return tokens{l.Input, l.CacheRead, l.CacheWrite, l.Output, l.Reasoning, l.Cost}
}

// bill makes calls and checks what the access log says of them.
type bill struct {
	t       *testing.T
	gateway *served
	c       *clients
	lines   expectations
	total   int64
}

func newBill(t *testing.T, environ ...string) *bill {
	t.Helper()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url, environ...)
	return &bill{t: t, gateway: g, c: newClients(t, g.url+"/openai", g.url+"/anthropic", g.url+"/gemini")}
}

// check makes a call, plain and streamed alike, whose price is known. Its error fails the test.
func (b *bill) check(name, target string, want tokens, calls ...func() any) {
	b.t.Helper()
	for i, call := range calls {
		result := call()
		if list, ok := result.([]any); ok && len(list) > 0 {
			result = list[len(list)-1]
		}
		if err, failed := result.(error); failed {
			b.t.Errorf("%s: %s", name, show(err))
			continue
		}
		b.total += want.cost
		usd := b.c.wire.last().Header.Get("x-llmopt-cost-usd")
		b.lines.expect(b.c.wire.last(), func(line logLine) {
			if line.used() != want || line.Target != target || line.Estimated || line.Unpriced || line.Outcome != "ok" || line.Attempts != 1 {
				b.t.Errorf("%s, call %d: access log %+v, want %+v of %s", name, i, line, want, target)
			}
			if streamed := line.TTFT != nil; streamed != (i == 1) {
				b.t.Errorf("%s, call %d: time to first token: %v", name, i, line.TTFT)
			}
			stated := i == 0 && want != tokens{} // streams can't know in their head, and counting costs nothing
			if v, err := strconv.ParseFloat(usd, 64); stated && (err != nil || math.Round(v*1e9) != float64(want.cost)) || !stated && usd != "" {
				b.t.Errorf("%s, call %d: x-llmopt-cost-usd %q, want %d NanoUSD", name, i, usd, want.cost)
			}
		})
	}
}

// settle checks the access log, and that metrics say the same.
func (b *bill) settle() {
	b.t.Helper()
	b.lines.check(b.gateway)
	if got := math.Round(b.gateway.metric("llmopt_cost_usd_total") * 1e9); got != float64(b.total) {
		b.t.Errorf("llmopt_cost_usd_total: %v NanoUSD, want %d", got, b.total)
	}
	var sum tokens
	for _, l := range b.gateway.log() {
		sum.input += l.Input
		sum.cacheRead += l.CacheRead
		sum.cacheWrite += l.CacheWrite
		sum.output += l.Output
	}
	kinds := map[string]float64{}
	for line := range strings.Lines(b.gateway.metrics()) {
		if rest, ok := strings.CutPrefix(line, "llmopt_tokens_total{"); ok {
			labels, value, _ := strings.Cut(rest, "} ")
			_, kind, _ := strings.Cut(labels, `type="`)
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.t.Errorf("metrics: %q: %v", line, err)
			}
			kinds[strings.TrimSuffix(kind, `"`)] += n
		}
	}
	got := tokens{
		input:     int64(kinds["input"] + kinds["audio_input"] + kinds["image_input"]),
		cacheRead: int64(kinds["cache_read"]), cacheWrite: int64(kinds["cache_write"]),
		output: int64(kinds["output"] + kinds["audio_output"] + kinds["image_output"]),
	}
	if got != sum {
		b.t.Errorf("llmopt_tokens_total: %+v, the access log says %+v", got, sum)
	}
}

func TestE2E_CostOpenAI(t *testing.T) {
	t.Parallel()
	b := newBill(t)
	ctx := t.Context()
	chat := func(model, directives string, more ...func(*openai.ChatCompletionNewParams)) []func() any {
		params := chatWith(model, "hello")
		for _, f := range more {
			f(&params)
		}
		opt := openaioption.WithHeader("x-sim", directives)
		return []func() any{
			func() any { return either(b.c.openai.Chat.Completions.New(ctx, params, opt)) },
			func() any { return b.c.chatStream(params, opt) },
		}
	}
	flex := func(p *openai.ChatCompletionNewParams) { p.ServiceTier = openai.ChatCompletionNewParamsServiceTierFlex }

	// $0.15 a million tokens, cached $0.075, output $0.60.
	b.check("cached", "openai/gpt-4o-mini", tokens{400, 600, 0, 50, 0, 400*150 + 600*75 + 50*600},
		chat("gpt-4o-mini", "input=1000,cached=600,tokens=50")...)
	// $2, cached $0.50, output $8; reasoning is output. Flex costs half.
	b.check("reasoning", "openai/o3", tokens{500, 0, 0, 120, 100, 500*2000 + 120*8000}, chat("o3", "input=500,reasoning=100,tokens=20")...)
	b.check("flex", "openai/o3", tokens{500, 0, 0, 120, 100, 500*1000 + 120*4000}, chat("o3", "input=500,reasoning=100,tokens=20", flex)...)
	// $2.50, output $10, audio output $80.
	b.check("audio", "openai/gpt-4o-audio-preview", tokens{100, 0, 0, 50, 0, 100*2500 + 20*10_000 + 30*80_000},
		chat("gpt-4o-audio-preview", "input=100,tokens=20,audio=30")...)
	// Compressed answers are read, too.
	b.check("gzip", "openai/gpt-4o-mini", tokens{400, 600, 0, 50, 0, 135_000}, chat("gpt-4o-mini", "input=1000,cached=600,tokens=50,fault=gzip")...)
	// $1.25, cached $0.125, output $10.
	response := responseWith("gpt-5", "hello")
	opt := openaioption.WithHeader("x-sim", "input=2000,cached=1024,reasoning=64,tokens=36")
	b.check("responses", "openai/gpt-5", tokens{976, 1024, 0, 100, 64, 976*1250 + 1024*125 + 100*10_000},
		func() any { return either(b.c.openai.Responses.New(ctx, response, opt)) },
		func() any {
			s := b.c.openai.Responses.NewStreaming(ctx, response, opt)
			return drain(s.Next, s.Current, s.Err)
		})
	// $1.50, output $2.
	completion := openai.CompletionNewParams{Model: "gpt-3.5-turbo-instruct", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("once")}}
	opt2 := openaioption.WithHeader("x-sim", "input=100,tokens=10")
	b.check("completions", "openai/gpt-3.5-turbo-instruct", tokens{100, 0, 0, 10, 0, 100*1500 + 10*2000},
		func() any { return either(b.c.openai.Completions.New(ctx, completion, opt2)) },
		func() any {
			s := b.c.openai.Completions.NewStreaming(ctx, completion, opt2)
			return drain(s.Next, s.Current, s.Err)
		})
	// $0.02. "hello" and its quotes are 7 bytes, 2 tokens.
	b.check("embeddings", "openai/text-embedding-3-small", tokens{2, 0, 0, 0, 0, 2 * 20}, func() any {
		return either(b.c.openai.Embeddings.New(ctx, openai.EmbeddingNewParams{
			Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("hello")},
		}))
	})
	b.settle()
}

func TestE2E_CostAnthropic(t *testing.T) {
	t.Parallel()
	b := newBill(t)
	ctx := t.Context()
	message := func(params anthropic.MessageNewParams, directives string) []func() any {
		opt := anthropicoption.WithHeader("x-sim", directives)
		return []func() any{
			func() any { return either(b.c.anthropic.Messages.New(ctx, params, opt)) },
			func() any { return b.c.messageStream(params, opt) },
		}
	}
	// $3 a million tokens, cache read $0.30, cache write $3.75 for five minutes and $6 for an hour, output $15.
	plain := messageWith("claude-sonnet-4-5", "hello")
	b.check("cached", "anthropic/claude-sonnet-4-5", tokens{400, 600, 0, 50, 0, 400*3000 + 600*300 + 50*15_000}, message(plain, "input=1000,cached=600,tokens=50")...)
	b.check("thinking", "anthropic/claude-sonnet-4-5", tokens{100, 0, 0, 52, 32, 100*3000 + 52*15_000}, message(plain, "input=100,reasoning=32,tokens=20")...)
	b.check("gzip", "anthropic/claude-sonnet-4-5", tokens{100, 0, 0, 52, 32, 1_080_000}, message(plain, "input=100,reasoning=32,tokens=20,fault=gzip")...)
	// Above 200,000 tokens of input $6 and $22.50.
	b.check("long", "anthropic/claude-sonnet-4-5", tokens{250_000, 0, 0, 10, 0, 250_000*6000 + 10*22_500}, message(plain, "input=250000,tokens=10")...)

	// A system prompt of 8000 bytes is written for an hour, what follows for five minutes; then both are read.
	marked := messageWith("claude-sonnet-4-5", "hello")
	marked.System = []anthropic.TextBlockParam{{
		Text: strings.Repeat("be kind ", 1000), CacheControl: anthropic.CacheControlEphemeralParam{TTL: anthropic.CacheControlEphemeralTTLTTL1h},
	}}
	marked.Messages[0].Content[0].OfText.CacheControl = anthropic.NewCacheControlEphemeralParam()
	for i := range 2 {
		result := message(marked, "tokens=10")[0]()
		m, ok := result.(*anthropic.Message)
		if !ok {
			t.Fatal(show(result))
		}
		u := m.Usage
		written5m, written1h := u.CacheCreation.Ephemeral5mInputTokens, u.CacheCreation.Ephemeral1hInputTokens
		if first := i == 0; first != (written1h > 2000) || first != (written5m > 0) || first == (u.CacheReadInputTokens > 2000) {
			t.Fatalf("call %d: the test has not tested: %s", i, show(m))
		}
		cost := u.InputTokens*3000 + u.CacheReadInputTokens*300 + written5m*3750 + written1h*6000 + 10*15_000
		b.total += cost
		want := tokens{u.InputTokens, u.CacheReadInputTokens, written5m + written1h, 10, 0, cost}
		b.lines.expect(b.c.wire.last(), func(line logLine) {
			if line.used() != want {
				t.Errorf("cache control, call %d: access log %+v, want %+v", i, line.used(), want)
			}
		})
	}
	b.check("count_tokens", "anthropic/claude-sonnet-4-5", tokens{}, func() any {
		return either(b.c.anthropic.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: plain.Model, Messages: plain.Messages}))
	})
	b.settle()
}

func TestE2E_CostGemini(t *testing.T) {
	t.Parallel()
	b := newBill(t)
	generate := func(model, directives string, contents []*genai.Content) []func() any {
		config := &genai.GenerateContentConfig{HTTPOptions: &genai.HTTPOptions{Headers: http.Header{"X-Sim": {directives}}}}
		return []func() any{
			func() any { return b.c.generate(model, contents, config) },
			func() any { return b.c.generateStream(model, contents, config) },
		}
	}
	hello := genai.Text("hello")
	// $0.30 a million tokens, cached $0.03, output and thoughts $2.50, audio input $1.
	b.check("cached", "gemini/gemini-2.5-flash", tokens{600, 400, 0, 100, 70, 600*300 + 400*30 + 100*2500},
		generate("gemini-2.5-flash", "input=1000,cached=400,tokens=30,reasoning=70", hello)...)
	b.check("gzip", "gemini/gemini-2.5-flash", tokens{600, 400, 0, 100, 70, 442_000},
		generate("gemini-2.5-flash", "input=1000,cached=400,tokens=30,reasoning=70,fault=gzip", hello)...)
	spoken := []*genai.Content{genai.NewContentFromParts([]*genai.Part{
		genai.NewPartFromText("listen"), genai.NewPartFromBytes(make([]byte, 30_000), "audio/wav"),
	}, genai.RoleUser)}
	// 40,002 bytes of base64 in quotes are 41 tokens of audio at 1000 bytes each.
	b.check("audio", "gemini/gemini-2.5-flash", tokens{100, 0, 0, 30, 0, 59*300 + 41*1000 + 30*2500},
		generate("gemini-2.5-flash", "input=100,cached=0,tokens=30,reasoning=0", spoken)...)
	// $2.50 and $15 above 200,000 tokens.
	b.check("long", "gemini/gemini-2.5-pro", tokens{250_000, 0, 0, 10, 0, 250_000*2500 + 10*15_000},
		generate("gemini-2.5-pro", "input=250000,tokens=10,reasoning=0", hello)...)
	b.check("countTokens", "gemini/gemini-2.5-pro", tokens{}, func() any {
		return either(b.c.gemini.Models.CountTokens(t.Context(), "gemini-2.5-pro", hello, nil))
	})
	b.settle()
}

// A model that is in no price list is unpriced: counted as such, and never free of charge in silence.
func TestE2E_UnknownModelIsUnpriced(t *testing.T) {
	t.Parallel()
	b := newBill(t)
	for _, result := range []any{b.c.chat(chatWith("nobody-knows-me", "hello")), b.c.chatStream(chatWith("nobody-knows-me", "hello"))} {
		if err, failed := result.(error); failed {
			t.Fatal(show(err))
		}
		if usd := b.c.wire.last().Header.Get("x-llmopt-cost-usd"); usd != "" {
			t.Errorf("x-llmopt-cost-usd %q for an unknown price", usd)
		}
		b.lines.expect(b.c.wire.last(), func(line logLine) {
			if !line.Unpriced || line.Cost != 0 || line.Output == 0 || line.Estimated {
				t.Errorf("access log %+v, want unpriced", line)
			}
		})
	}
	b.settle()
	if got := b.gateway.metric("llmopt_unpriced_attempts_total"); got != 2 {
		t.Errorf("llmopt_unpriced_attempts_total: %v, want 2", got)
	}
}

// Where a provider does not say what a stream has used, the bytes that went each way tell, and the line says so.
func TestE2E_UsageNotStatedIsEstimated(t *testing.T) {
	t.Parallel()
	b := newBill(t, "OPTIMIZER_PROVIDERS__OPENAI__REQUEST_USAGE=false")
	var texts int64
	for _, e := range b.c.chatStream(chatWith("gpt-4o-mini", "hello"), openaioption.WithHeader("x-sim", "tokens=200")).([]any) {
		for _, choice := range e.(openai.ChatCompletionChunk).Choices {
			texts += int64(len(choice.Delta.Content))
		}
	}
	b.lines.expect(b.c.wire.last(), func(line logLine) {
		// Four bytes make a token; escapes of JSON may count as they stand on the wire.
		if least := (texts + 3) / 4; !line.Estimated || line.Input == 0 || line.Output < least || line.Output > least*11/10 {
			t.Errorf("access log %+v, want an estimate of about %d tokens", line, least)
		}
		if want := line.Input*150 + line.Output*600; line.Cost != want {
			t.Errorf("cost %d, want %d", line.Cost, want)
		}
	})
	b.lines.check(b.gateway)
	if got := b.gateway.metric("llmopt_estimated_attempts_total"); got != 1 {
		t.Errorf("llmopt_estimated_attempts_total: %v, want 1", got)
	}
}

// Answers that a limit has cut short cost what they say, too.
func TestE2E_CostOfIncompleteAnswers(t *testing.T) {
	t.Parallel()
	b := newBill(t)
	params := responseWith("gpt-5", "hello")
	params.MaxOutputTokens = openai.Int(10)
	opt := openaioption.WithHeader("x-sim", "input=100,reasoning=0,tokens=50")
	b.check("responses", "openai/gpt-5", tokens{100, 0, 0, 10, 0, 100*1250 + 10*10_000},
		func() any { return either(b.c.openai.Responses.New(t.Context(), params, opt)) },
		func() any {
			s := b.c.openai.Responses.NewStreaming(t.Context(), params, opt)
			events := drain(s.Next, s.Current, s.Err).([]any)
			if last, ok := events[len(events)-1].(responses.ResponseStreamEventUnion); !ok || last.Type != "response.incomplete" {
				t.Errorf("the test has not tested: %s", show(events[len(events)-1]))
			}
			return events
		})
	message := messageWith("claude-sonnet-4-5", "hello")
	message.MaxTokens = 10
	opt2 := anthropicoption.WithHeader("x-sim", "input=100,tokens=50")
	b.check("messages", "anthropic/claude-sonnet-4-5", tokens{100, 0, 0, 10, 0, 100*3000 + 10*15_000},
		func() any { return either(b.c.anthropic.Messages.New(t.Context(), message, opt2)) },
		func() any { return b.c.messageStream(message, opt2) })
	b.settle()
}

// A provider that refuses stream_options gets the request again without it, once, and is not asked again.
func TestE2E_UsageOptionThatIsRefusedIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newPair(t, "fault=no-usage-option,tokens=20")
	var lines expectations
	for i := range 3 {
		p.same("stream", func(c *clients) any { return c.chatStream(chatWith("gpt-4o-mini", "hello")) })
		lines.expect(p.around.wire.last(), func(line logLine) {
			want := 1
			if i == 0 {
				want = 2
			}
			if line.Attempts != want || !line.Estimated || line.Outcome != "ok" || line.Cost == 0 {
				t.Errorf("call %d: access log %+v, want %d attempts and an estimate", i, line, want)
			}
		})
	}
	lines.check(p.gateway)
	if got := p.behind.Stats(); got.Calls["chat"] != 4 || got.Faults["no-usage-option"] != 1 {
		t.Errorf("the provider saw %+v", got)
	}
	// A client that asks itself gets the provider's own 400.
	asked := chatWith("gpt-4o-mini", "hello")
	asked.StreamOptions.IncludeUsage = openai.Bool(true)
	list := p.same("asked", func(c *clients) any { return c.chatStream(asked) }).([]any)
	if err, ok := list[0].(error); !ok || factsOf(err).Status != 400 {
		t.Errorf("asked: %s", show(list))
	}
}
