package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestPriceTable_LookupOfTheBuiltIn(t *testing.T) {
	t.Parallel()
	table := embedded(t)
	check := func(hint, model, want string) { // want: the key of the entry, empty if unpriced
		t.Helper()
		got := ""
		if p, ok := table.Lookup(hint, []byte(model)); ok {
			got = p.Key()
		}
		if got != want {
			t.Errorf("Lookup(%q, %q): got %q, want %q", hint, model, got, want)
		}
	}
	// A provider's own entries.
	check("openai", "gpt-4o", "gpt-4o")
	check("openai", "gpt-4", "gpt-4")
	check("openai", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06")
	check("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929")
	check("gemini", "gemini-2.5-pro", "gemini/gemini-2.5-pro")
	check("azure", "gpt-4o", "azure/gpt-4o") // a reseller has its own
	check("azure_openai", "gpt-4o", "azure/gpt-4o")
	check("vertex_ai", "claude-sonnet-4-5@20250929", "vertex_ai/claude-sonnet-4-5@20250929")
	check("groq", "llama-3.3-70b-versatile", "groq/llama-3.3-70b-versatile")
	check("mistral", "mistral-large-latest", "mistral/mistral-large-latest")
	check("deepseek", "deepseek-chat", "deepseek/deepseek-chat") // listed with and without the provider
	check("xai", "grok-4", "xai/grok-4")
	check("grok", "grok-4", "xai/grok-4")
	check("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0")
	check("openrouter", "qwen/qwen3.5-plus-02-15", "openrouter/qwen/qwen3.5-plus-02-15")

	// Versions.
	check("openai", "gpt-4o-2031-01-31", "gpt-4o")
	check("openai", "gpt-4.1-mini-20310131", "gpt-4.1-mini")
	check("openai", "gpt-5-latest", "gpt-5")
	check("anthropic", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929")
	check("anthropic", "claude-haiku-4-5-latest", "claude-haiku-4-5")
	check("anthropic", "claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219") // listed with its date only
	check("gemini", "models/gemini-2.5-flash", "gemini/gemini-2.5-flash")
	check("gemini", "gemini-2.5-flash-001", "gemini/gemini-2.5-flash")
	check("gemini", "gemini-2.0-flash-lite-001", "gemini/gemini-2.0-flash-lite-001")
	check("vertex_ai", "publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro")
	check("openai", "ft:gpt-4o-mini-2024-07-18:acme::AbC1", "ft:gpt-4o-mini-2024-07-18")
	check("openai", "ft:gpt-4o-mini-2024-07-18:acme:suffix:AbC1:ckpt-step-90", "ft:gpt-4o-mini-2024-07-18")
	check("openai", "ft:gpt-3.5-turbo-2031-01-31:acme::1", "ft:gpt-3.5-turbo")

	// Not what they look like.
	check("openai", "gpt-4o-foo", "")
	check("openai", "gpt-4oo", "")
	check("openai", "gpt-", "")
	check("openai", "", "")
	check("openai", "gpt-4-9999", "")        // four digits are not a date
	check("openai", "gpt-4o-2024-13-06", "") // nor is this
	check("openai", "gpt-4o-2024-08-06-x", "")
	check("openai", "GPT-4O", "")
	check("openai", "ft:gpt-5:acme::1", "") // a fine-tuned model is not its base
	check("openai", "ft:gpt-4o", "")        // two dated ones, at two prices
	check("openai", "models", "")
	check("gemini", "tunedModels/gemini-2.5-flash", "")
	check("openai", "text-embedding-ada-001", "")
	check("openrouter", "qwen/qwen3.5-plus-02-15:free", "")
	check("openai", "llama-3.3-70b-versatile", "") // another provider's
	check("groq", "deepseek/deepseek-chat", "")    // names another provider
	check("openai", strings.Repeat("x", 4096)+"@20250929", "")

	// Providers that the list doesn't know: vendors' own names, and whole keys.
	check("my_gateway", "gpt-4o", "gpt-4o")
	check("my_gateway", "gpt-4o-2031-01-31", "gpt-4o")
	check("my_gateway", "claude-sonnet-4-5", "claude-sonnet-4-5")
	check("my_gateway", "gemini-2.5-pro", "gemini-2.5-pro")
	check("my_gateway", "groq/llama-3.3-70b-versatile", "groq/llama-3.3-70b-versatile")
	check("my_gateway", "llama-3.3-70b-versatile", "")
	check("my_gateway", "llama3", "") // ollama/llama3 and others
	check("my_gateway", "command-r", "")
	check("my_gateway", "deepseek-chat", "")
	check("", "gpt-4o", "gpt-4o")
	check("groq", "gpt-4o", "gpt-4o") // it can only be OpenAI's

	// Programs that serve models themselves, and subscriptions.
	check("vllm", "gpt-4o", "")
	check("vllm", "groq/llama-3.3-70b-versatile", "")
	check("lmstudio", "llama3", "")
	check("ollama", "llama3", "ollama/llama3") // listed, as free
	check("ollama", "llama-3.3-70b-versatile", "")
	check("github_copilot", "gpt-4o", "")
}

func TestPriceTable_LookupAllocatesNothing(t *testing.T) {
	table := embedded(t)
	for _, model := range []string{
		"gpt-4o", "gpt-4o-2031-01-31", "models/gemini-2.5-pro", "claude-sonnet-4-5@20250929", "ft:gpt-4.1-2025-04-14:acme::1",
		"groq/llama-3.3-70b-versatile", "unknown-model-latest",
	} {
		name := []byte(model)
		for _, hint := range []string{"openai", "gemini", "anthropic", "my_gateway"} {
			if n := testing.AllocsPerRun(100, func() {
				if p, ok := table.Lookup(hint, name); ok {
					p.Rates(Priority, 300_000)
				}
			}); n != 0 {
				t.Errorf("%s %s: %v allocations", hint, model, n)
			}
		}
	}
}

func TestPriceTable_MergeWinsByModel(t *testing.T) {
	t.Parallel()
	base := parsed(t, `{
		"gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
		"gpt-y": {"litellm_provider": "openai", "input_cost_per_token": 2e-6, "output_cost_per_token": 2e-6},
		"deepseek/chat": {"litellm_provider": "deepseek", "input_cost_per_token": 3e-6, "output_cost_per_token": 3e-6}}`)
	over := parsed(t, `{
		"gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 9e-6, "output_cost_per_token": 9e-6},
		"chat": {"litellm_provider": "deepseek", "input_cost_per_token": 8e-6, "output_cost_per_token": 8e-6},
		"gpu_box/llama3": {"input_cost_per_token": 7e-6, "output_cost_per_token": 7e-6},
		"ours": {"input_cost_per_token": 6e-6, "output_cost_per_token": 6e-6}}`)
	table := base.Merge(over)
	check := func(hint, model string, want PicoUSD) {
		t.Helper()
		p, ok := table.Lookup(hint, []byte(model))
		if !ok || p.Rates(Standard, 1).Input != want*1_000_000 {
			t.Errorf("%s %s: got %v %v, want %d USD per million", hint, model, p, ok, want)
		}
	}
	check("openai", "gpt-x", 9)
	check("openai", "gpt-y", 2)
	check("deepseek", "chat", 8) // also over a key that names the provider
	check("gpu_box", "llama3", 7)
	check("vllm", "ours", 6) // listed for any provider
	if p, _ := base.Lookup("openai", []byte("gpt-x")); p.Rates(Standard, 1).Input != 1_000_000 {
		t.Error("the base table changed")
	}
	if base.Len() != 3 || table.Len() != 6 {
		t.Errorf("got %d and %d models", base.Len(), table.Len())
	}
}

// TestPriceTable_StemsNeedOnePrice: a name without a date stands for dated models only if it doesn't matter for which.
func TestPriceTable_StemsNeedOnePrice(t *testing.T) {
	t.Parallel()
	entry := func(key string, usd int) string {
		return fmt.Sprintf(`%q: {"litellm_provider": "openai", "input_cost_per_token": %de-6, "output_cost_per_token": 0}`, key, usd)
	}
	table := parsed(t, "{"+strings.Join([]string{
		entry("same-2024-01-01", 1), entry("same-2025-01-01", 1),
		entry("differ-2024-01-01", 1), entry("differ-2024-06-01", 1), entry("differ-2025-01-01", 2),
		entry("back-2024-01-01", 1), entry("back-2024-06-01", 2), entry("back-2025-01-01", 1),
		entry("own", 5), entry("own-2025-01-01", 1),
		entry("newest-latest", 1),
	}, ",")+"}")
	check := func(model, want string) {
		t.Helper()
		got := ""
		if p, ok := table.Lookup("openai", []byte(model)); ok {
			got = p.Key()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", model, got, want)
		}
	}
	check("same", "same-2025-01-01")
	check("same-latest", "same-2025-01-01")
	check("differ", "")
	check("differ-2024-02-02", "")
	check("back", "")
	check("own", "own")
	check("own-2024-01-01", "own")
	check("newest", "")
}

func TestProvider_PriceHint(t *testing.T) {
	t.Parallel()
	check := func(name, base, pricedAs, want string) {
		t.Helper()
		if got := (Provider{Name: name, BaseURL: base, PricedAs: pricedAs}).PriceHint(); got != want {
			t.Errorf("%s %s %s: got %q, want %q", name, base, pricedAs, got, want)
		}
	}
	check("openai", "https://api.openai.com/v1", "", "openai")
	check("openai", "http://127.0.0.1:9000", "", "openai")
	check("eu", "https://eu.api.openai.com/v1", "", "openai")
	check("openai", "https://acme.openai.azure.com/openai", "", "azure")
	check("openai", "https://acme.openai.azure.com/openai", "openai", "openai")
	check("main", "https://API.GROQ.com/openai/v1", "", "groq")
	check("main", "https://us-east5-aiplatform.googleapis.com/v1", "", "vertex_ai")
	check("google", "http://localhost", "", "gemini")
	check("together", "http://localhost", "", "together_ai")
	check("gpu_box", "http://10.0.0.1:8000/v1", "", "gpu_box")
	check("x", "https://notapi.openai.com.evil.example/v1", "", "x")
	check("x", "https://fakeapi.x.ai/v1", "", "x")
}

func BenchmarkPriceTable_Lookup(b *testing.B) {
	table := embedded(b)
	for _, model := range []string{"gpt-4o", "gpt-4o-2031-01-31", "unknown-model"} {
		name := []byte(model)
		b.Run("model="+model, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Lookup("openai", name)
			}
		})
	}
}

func BenchmarkPrice_Rates(b *testing.B) {
	p, _ := embedded(b).Lookup("anthropic", []byte("claude-sonnet-4-5"))
	for _, total := range []int64{1_000, 300_000} {
		b.Run(fmt.Sprintf("tokens=%d", total), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Rates(Standard, total)
			}
		})
	}
}

func BenchmarkEmbeddedPrices(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseCompact(embeddedPrices); err != nil {
			b.Fatal(err)
		}
	}
}
