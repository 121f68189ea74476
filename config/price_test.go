package config

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// embedded returns the built-in table.
func embedded(t testing.TB) *PriceTable {
	t.Helper()
	table, err := EmbeddedPrices()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// parsed returns the table of a list.
func parsed(t testing.TB, list string) *PriceTable {
	t.Helper()
	table, err := ParsePrices(strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestEmbeddedPrices_HasDateAndOrigin(t *testing.T) {
	t.Parallel()
	table := embedded(t)
	if table.Date() != "2026-08-01" || !strings.Contains(table.Origin(), "LiteLLM") || !strings.Contains(table.Origin(), "MIT") {
		t.Errorf("got date %q, origin %q", table.Date(), table.Origin())
	}
	if table.Len() < 2400 {
		t.Errorf("got %d models", table.Len())
	}
}

// TestEmbeddedPrices_EqualTheSource compares every price of every model of the source with the table, by rational
// arithmetic on the source's own text.
func TestEmbeddedPrices_EqualTheSource(t *testing.T) {
	t.Parallel()
	data := os.Getenv("OPTIMIZER_DATA")
	if data == "" {
		t.Skip("OPTIMIZER_DATA is not set: it names the directory that holds prices/model_prices_and_context_window.json.gz")
	}
	f, err := os.Open(filepath.Join(data, "prices/model_prices_and_context_window.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(unpacked)
	decoder.UseNumber()
	var source map[string]map[string]any
	if err := decoder.Decode(&source); err != nil {
		t.Fatal(err)
	}
	table := embedded(t)
	models, prices := 0, 0
	for model, fields := range source {
		p := table.entries[model]
		if p == nil {
			if reason := unpriced(model, fields); reason == "" {
				t.Errorf("%s: missing", model)
			}
			continue
		}
		models++
		check := func(field string, value any, tier Tier, total int64) {
			t.Helper()
			rate, ok := rateOf(p.Rates(tier, total), field)
			if !ok {
				return
			}
			prices++
			exact, ok := new(big.Rat).SetString(value.(json.Number).String())
			if !ok {
				t.Fatalf("%s: %s: %v", model, field, value)
			}
			exact.Mul(exact, big.NewRat(1_000_000_000_000, 1)).Sub(exact, new(big.Rat).SetInt64(int64(rate))).Abs(exact)
			if exact.Cmp(big.NewRat(1, 2)) > 0 {
				t.Errorf("%s: %s: got %d PicoUSD, want %v USD", model, field, rate, value)
			}
		}
		for field, value := range fields {
			switch {
			case field == "search_context_cost_per_query":
				usd, _ := value.(map[string]any)["search_context_size_medium"].(json.Number).Float64()
				if got := p.Rates(Standard, 0).WebSearch; got != NanoUSD(usd*1e9+0.5) {
					t.Errorf("%s: search: got %d NanoUSD, want %v USD", model, got, usd)
				}
			case field == "tiered_pricing":
				for _, tier := range value.([]any) {
					low, err := tier.(map[string]any)["range"].([]any)[0].(json.Number).Float64()
					if err != nil {
						t.Fatal(err)
					}
					for inner, value := range tier.(map[string]any) {
						check(inner, value, Standard, int64(low)+1)
					}
				}
			case strings.Contains(field, "token") && strings.Contains(field, "cost"):
				base, tier, total := splitField(field)
				check(base, value, tier, total)
			}
		}
	}
	if models != table.Len() || prices < 7000 {
		t.Errorf("compared %d models and %d prices of %d models", models, prices, table.Len())
	}
}

// splitField parts a field of the source, with fixed cases instead of the parser's grammar.
func splitField(field string) (base string, tier Tier, total int64) {
	for suffix, t := range map[string]Tier{"_batches": Batch, "_flex": Flex, "_priority": Priority} {
		if strings.HasSuffix(field, suffix) {
			field, tier = strings.TrimSuffix(field, suffix), t
		}
	}
	for suffix, n := range map[string]int64{
		"_above_128k_tokens": 128_001, "_above_200k_tokens": 200_001, "_above_256k_tokens": 256_001,
		"_above_272k_tokens": 272_001, "_above_512k_tokens": 512_001,
	} {
		if strings.HasSuffix(field, suffix) {
			field, total = strings.TrimSuffix(field, suffix), n
		}
	}
	return field, tier, total
}

// rateOf returns the rate that a field of the source states.
func rateOf(r Rates, field string) (PicoUSD, bool) {
	switch field {
	case "input_cost_per_token":
		return r.Input, true
	case "output_cost_per_token":
		return r.Output, true
	case "cache_read_input_token_cost":
		return r.CacheRead, true
	case "cache_creation_input_token_cost":
		return r.CacheWrite5m, true
	case "cache_creation_input_token_cost_above_1hr":
		return r.CacheWrite1h, true
	case "output_cost_per_reasoning_token":
		return r.Reasoning, true
	case "input_cost_per_audio_token":
		return r.AudioInput, true
	case "output_cost_per_audio_token":
		return r.AudioOutput, true
	case "input_cost_per_image_token":
		return r.ImageInput, true
	case "output_cost_per_image_token":
		return r.ImageOutput, true
	}
	return 0, false
}

// unpriced returns why a model of the source may be missing, or "".
func unpriced(model string, fields map[string]any) string {
	input, _ := fields["input_cost_per_token"].(json.Number)
	output, _ := fields["output_cost_per_token"].(json.Number)
	in, _ := input.Float64()
	out, _ := output.Float64()
	tiers, _ := json.Marshal(fields["tiered_pricing"])
	switch {
	case model == "sample_spec":
		return "documents the list"
	case in > 0.001 || out > 0.001:
		return "dearer than 1000 USD per million tokens"
	case in == 0 && out == 0 && !bytes.Contains(tiers, []byte("per_token")):
		for field, value := range fields {
			if n, ok := value.(json.Number); ok && strings.Contains(field, "cost_per_") {
				if usd, _ := n.Float64(); usd > 0 {
					return "charged by another unit"
				}
			}
		}
		if input == "" {
			return "no price of tokens"
		}
	case input == "":
		return "input is charged by another unit"
	}
	return ""
}

func TestPrice_Rates(t *testing.T) {
	t.Parallel()
	table := parsed(t, `{
		"plain": {"input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6},
		"free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0},
		"tiers": {
			"input_cost_per_token": 4e-6, "input_cost_per_token_batches": 2e-6, "input_cost_per_token_priority": 8e-6,
			"output_cost_per_token": 10e-6, "output_cost_per_token_batches": 5e-6,
			"cache_read_input_token_cost": 1e-6,
			"output_cost_per_reasoning_token": 10e-6, "output_cost_per_audio_token": 20e-6,
			"input_cost_per_token_above_200k_tokens": 6e-6, "output_cost_per_token_above_200k_tokens": 15e-6,
			"input_cost_per_token_above_200k_tokens_priority": 12e-6},
		"writes": {
			"input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6, "input_cost_per_token_above_200k_tokens": 6e-6,
			"cache_creation_input_token_cost": 3.75e-6, "cache_creation_input_token_cost_above_1hr": 6e-6,
			"cache_creation_input_token_cost_above_200k_tokens": 7.5e-6},
		"image": {"input_cost_per_token": 5e-6, "output_cost_per_image_token": 40e-6},
		"embedding": {"mode": "embedding", "input_cost_per_token": 1e-7}
	}`)
	check := func(model string, tier Tier, total int64, want Rates) {
		t.Helper()
		p, ok := table.Lookup("", []byte(model))
		if !ok {
			t.Fatalf("%s: unpriced", model)
		}
		if got := p.Rates(tier, total); got != want {
			t.Errorf("%s %d %d:\ngot  %+v\nwant %+v", model, tier, total, got, want)
		}
	}
	rates := func(input, read, write5m, write1h, output, reasoning, audioOut PicoUSD) Rates {
		const m = 1_000_000 // PicoUSD per token of one USD per million tokens
		return Rates{
			Input: input * m / 100, CacheRead: read * m / 100, CacheWrite5m: write5m * m / 100, CacheWrite1h: write1h * m / 100,
			Output: output * m / 100, Reasoning: reasoning * m / 100, AudioInput: input * m / 100,
			AudioOutput: audioOut * m / 100, ImageInput: input * m / 100, ImageOutput: output * m / 100,
		}
	}
	plain := rates(200, 200, 200, 200, 800, 800, 800)
	check("plain", Standard, 0, plain)
	check("plain", Batch, 1_000_000, plain)
	check("plain", tiersEnd, 1, plain)
	check("free", Priority, 1, Rates{})

	check("tiers", Standard, 200_000, rates(400, 100, 400, 400, 1000, 1000, 2000)) // the threshold itself is below
	check("tiers", Standard, 200_001, rates(600, 100, 600, 600, 1500, 1500, 2000))
	check("tiers", Batch, 1, rates(200, 100, 200, 200, 500, 500, 2000))
	check("tiers", Batch, 200_001, rates(600, 100, 600, 600, 1500, 1500, 2000)) // no batch price there: the standard one
	check("tiers", Flex, 1, rates(400, 100, 400, 400, 1000, 1000, 2000))
	check("tiers", Priority, 1, rates(800, 100, 800, 800, 1000, 1000, 2000))
	check("tiers", Priority, 200_001, rates(1200, 100, 1200, 1200, 1500, 1500, 2000))

	check("writes", Standard, 1, rates(300, 300, 375, 600, 1500, 1500, 1500))
	check("writes", Standard, 300_000, rates(600, 600, 750, 1200, 1500, 1500, 1500)) // 1 h keeps its ratio

	image := rates(500, 500, 500, 500, 4000, 4000, 4000)
	check("image", Standard, 1, image)
	check("embedding", Standard, 1, rates(10, 10, 10, 10, 0, 0, 0))
}

// TestPrice_RatesOfTheBuiltIn checks prices that the vendors publish, end to end.
func TestPrice_RatesOfTheBuiltIn(t *testing.T) {
	t.Parallel()
	table := embedded(t)
	check := func(hint, model string, tier Tier, total int64, kind string, want PicoUSD) {
		t.Helper()
		p, ok := table.Lookup(hint, []byte(model))
		if !ok {
			t.Fatalf("%s %s: unpriced", hint, model)
		}
		if got, _ := rateOf(p.Rates(tier, total), kind); got != want {
			t.Errorf("%s %s %d %d %s: got %d, want %d", hint, model, tier, total, kind, got, want)
		}
	}
	check("openai", "gpt-4o", Standard, 1, "input_cost_per_token", 2_500_000)
	check("openai", "gpt-4o", Batch, 1, "output_cost_per_token", 5_000_000)
	check("openai", "gpt-4o-2024-05-13", Standard, 1, "input_cost_per_token", 5_000_000)
	check("openai", "gpt-4o-mini", Standard, 1, "input_cost_per_token", 150_000)
	check("anthropic", "claude-sonnet-4-5", Standard, 200_001, "output_cost_per_token", 22_500_000)
	check("anthropic", "claude-sonnet-4-5", Standard, 200_001, "cache_creation_input_token_cost_above_1hr", 12_000_000)
	check("anthropic", "claude-haiku-4-5", Standard, 1, "cache_read_input_token_cost", 100_000)
	check("gemini", "gemini-2.5-pro", Standard, 200_001, "input_cost_per_token", 2_500_000)
	check("dashscope", "qwen-flash", Standard, 256_001, "input_cost_per_token", 250_000)
	check("deepseek", "deepseek-chat", Standard, 1, "cache_read_input_token_cost", 28_000)
}

func TestParseTier(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Tier{
		"batch": Batch, "flex": Flex, "priority": Priority, "default": Standard, "auto": Standard, "standard": Standard, "": Standard,
	} {
		if got := ParseTier([]byte(name)); got != want {
			t.Errorf("%q: got %d, want %d", name, got, want)
		}
	}
}
