package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestParsePrices_RefusesBadLists(t *testing.T) {
	t.Parallel()
	check := func(list string, want ...string) {
		t.Helper()
		_, err := ParsePrices(strings.NewReader(list))
		if err == nil {
			t.Errorf("%.60s: want an error", list)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.60s: got %q, want it to say %q", list, err, w)
			}
		}
	}
	good := `"good": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}, `
	check(``, "not JSON")
	check(`[]`, "not an object of models")
	check(`{`, "not JSON")
	check(`{"a": {}`, "not JSON")
	check(`{"a": {}} {}`, "more than one")
	check(`{"a": {"b": }}`, "not JSON")
	check(`{"a": 1}`, `model "a"`, "not an object")
	check(`{"a": {}, "a": {}}`, `model "a"`, "listed twice")
	check(`{`+good+`"a": {"input_cost_per_token": "0.1"}}`, `model "a": input_cost_per_token: not a number`)
	check(`{"a": {"input_cost_per_token": -1e-6}}`, `model "a": input_cost_per_token: negative: -1e-6`)
	check(`{"a": {"output_cost_per_token_batches": 1.1}}`, `model "a": output_cost_per_token_batches: too large: 1.1`)
	check(`{"a": {"input_cost_per_token": NaN}}`, "not JSON")
	check(`{"a": {"input_cost_per_token": true}}`, `model "a": input_cost_per_token: not a number`)
	check(`{"a": {"search_context_cost_per_query": 1}}`, "search_context_cost_per_query")
	check(`{"a": {"search_context_cost_per_query": {"search_context_size_medium": -1}}}`, "negative")
	check(`{"a": {"tiered_pricing": {}}}`, "tiered_pricing: not an array")
	check(`{"a": {"tiered_pricing": [{"range": [0]}]}}`, "tier 0: range")
	check(`{"a": {"tiered_pricing": [{"range": [-1, 2]}]}}`, "tier 0: range: negative")
	check(`{"a": {"tiered_pricing": [{"range": [0, 2], "input_cost_per_token": "x"}]}}`, "tier 0: input_cost_per_token")
	check(`{"a": {"litellm_provider": 1}}`, `model "a": litellm_provider: not a string`)
	check(`{"a": {"input_cost_per_token": -1, "output_cost_per_token": -2}, "b": {"input_cost_per_token": -3}}`, "-1", "-2", "-3")
}

func TestParsePrices_IgnoresWhatIsNotPerToken(t *testing.T) {
	t.Parallel()
	table := parsed(t, `{
		"sample_spec": {"input_cost_per_token": "a number", "output_cost_per_token": 0},
		"no prices": {"mode": "chat", "rules": [1, {"a": null}]},
		"nulls": {"input_cost_per_token": null, "tiered_pricing": null, "litellm_provider": null},
		"per image": {"input_cost_per_token": 0, "output_cost_per_token": 0, "output_cost_per_image": 0.04},
		"per second": {"output_cost_per_token": 1e-6, "input_cost_per_second": 1},
		"per million": {"input_cost_per_token": 0.5, "output_cost_per_token": 1e-6},
		"searches": {"tiered_pricing": [{"input_cost_per_query": 0.005, "max_results_range": [0, 25]}]},
		"free": {"input_cost_per_token": 0, "output_cost_per_token": 0, "output_cost_per_image": 0},
		"dear": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001},
		"cache hit": {"input_cost_per_token": 4e-6, "output_cost_per_token": 0, "input_cost_per_token_cache_hit": 1e-6}
	}`)
	if got, want := table.Len(), 3; got != want {
		t.Errorf("got %d models, want %d", got, want)
	}
	want := []SkippedPrice{
		{"per second", "no price of input tokens"},
		{"per million", "a price above 1000 USD per million tokens"},
	}
	if got := table.Skipped(); !reflect.DeepEqual(got, want) {
		t.Errorf("skipped: got %v, want %v", got, want)
	}
	if p, ok := table.Lookup("", []byte("cache hit")); !ok || p.Rates(Standard, 0).CacheRead != 1_000_000 {
		t.Errorf("cache hit: got %v %v", p, ok)
	}
}

func TestParseField(t *testing.T) {
	t.Parallel()
	check := func(name string, k kind, tier Tier, above int64, ok bool) {
		t.Helper()
		gotKind, gotTier, gotAbove, gotOK := parseField(name)
		if gotOK != ok || ok && (gotKind != k || gotTier != tier || gotAbove != above) {
			t.Errorf("%s: got %d %d %d %v", name, gotKind, gotTier, gotAbove, gotOK)
		}
	}
	check("input_cost_per_token", kindInput, Standard, 0, true)
	check("output_cost_per_token_batches", kindOutput, Batch, 0, true)
	check("input_cost_per_token_above_200k_tokens_priority", kindInput, Priority, 200_000, true)
	check("cache_read_input_token_cost_flex", kindCacheRead, Flex, 0, true)
	check("cache_creation_input_token_cost_above_1hr_above_200k_tokens", kindWrite1h, Standard, 200_000, true)
	check("output_cost_per_token_above_5000_tokens", kindOutput, Standard, 5000, true)
	check("input_cost_per_token_above_0k_tokens", 0, 0, 0, false)
	check("input_cost_per_token_above_xk_tokens", 0, 0, 0, false)
	check("max_tokens", 0, 0, 0, false)
	check("_tokens", 0, 0, 0, false)
	check("input_cost_per_second", 0, 0, 0, false)
}

// TestPriceTable_CompactReadsBack writes the built-in table and reads it again.
func TestPriceTable_CompactReadsBack(t *testing.T) {
	t.Parallel()
	table := embedded(t)
	var text bytes.Buffer
	if err := table.WriteCompact(&text, table.Date(), table.Origin()); err != nil {
		t.Fatal(err)
	}
	if text.String() != embeddedPrices {
		t.Error("the text differs from what it was read from")
	}
}

func TestParseCompact_RefusesWhatItDoesNotWrite(t *testing.T) {
	t.Parallel()
	if _, err := parseCompact("# date 2026-01-01\nk\tp\ti=1 o.b>5=2\n"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"", "k", "k\tp", "k\tp\t", "k\tp\tx=1", "k\tp\tio=1", "k\tp\ti", "k\tp\ti=x", "k\tp\ti.x=1", "k\tp\ti>x=1", "k\tp\ti.=1", "k\tp\ti=1\t"} {
		if _, err := parseCompact(line + "\n"); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
}

// FuzzParsePrices holds that a list is refused, or every price of its table is in range and reads back from the compact
// form.
func FuzzParsePrices(f *testing.F) {
	f.Add([]byte(`{"a": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai"}}`))
	f.Add([]byte(`{"p/a-2024-01-01": {"tiered_pricing": [{"range": [0, 5], "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}, {"range": [5, 9], "input_cost_per_token": 2e-6}]}}`))
	f.Add([]byte(`{"a": {"input_cost_per_token": 0, "output_cost_per_image_token": 1e-6, "input_cost_per_token_above_200k_tokens_priority": 1e-5, "search_context_cost_per_query": {"search_context_size_medium": 0.01}}}`))
	f.Fuzz(func(t *testing.T, list []byte) {
		table, err := ParsePrices(bytes.NewReader(list))
		if err != nil {
			return
		}
		for key, p := range table.entries {
			for tier := range tiersEnd {
				for _, total := range []int64{0, 1, 128_001, 200_001, 1 << 40} {
					r := p.Rates(tier, total)
					for _, rate := range []PicoUSD{r.Input, r.CacheRead, r.CacheWrite5m, r.Output, r.Reasoning, r.AudioInput, r.AudioOutput, r.ImageInput, r.ImageOutput} {
						if rate < 0 || rate > maxPlausible {
							t.Errorf("%q: %+v", key, r)
						}
					}
					if r.CacheWrite1h < 0 || r.WebSearch < 0 {
						t.Errorf("%q: %+v", key, r)
					}
				}
			}
			if p.namespace != "" {
				model, _ := modelOf(key, p.namespace)
				if got, ok := table.Lookup(p.namespace, []byte(model)); trimmed(model) == model && (!ok || got.namespace != p.namespace) {
					t.Errorf("%q of %q isn't found", model, p.namespace)
				}
			}
			if strings.ContainsAny(key+p.namespace, "\t\n") || strings.HasPrefix(key, "# ") {
				return // not in the compact form
			}
		}
		var text bytes.Buffer
		if err := table.WriteCompact(&text, "", ""); err != nil {
			t.Fatal(err)
		}
		again, err := parseCompact(text.String())
		if err != nil {
			t.Fatal(err)
		}
		for key, p := range table.entries {
			if q := again.entries[key]; q == nil || !reflect.DeepEqual(p, q) {
				t.Errorf("%q: got %+v, want %+v", key, q, p)
			}
		}
	})
}

func trimmed(model string) string { return string(trimModel([]byte(model))) }
