package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	picoPlaces = 12 // decimal places of PicoUSD
	nanoPlaces = 9  // of NanoUSD

	// maxPrice is the largest price of a token or query that a list may state: 1 USD per token in PicoUSD, 1000 USD per
	// query in NanoUSD. Larger ones are errors of the list.
	maxPrice = 1_000_000_000_000
	// maxPlausible is the largest price per token that is believed: 1000 USD per million tokens, beyond the dearest
	// model there is. The public list holds prices per thousand or million tokens entered as prices per token; a model
	// with one is left out, because unpriced is nearer the truth than a price a thousand times too high.
	maxPlausible = 1_000_000_000

	// maxPriceProblems is how many problems of a list are reported; a wrong file has one for every model.
	maxPriceProblems = 10
)

// fieldKinds are the fields of the list that hold prices per token, without the suffixes of tiers.
var fieldKinds = map[string]kind{
	"input_cost_per_token":                      kindInput,
	"output_cost_per_token":                     kindOutput,
	fieldCacheRead:                              kindCacheRead,
	"cache_creation_input_token_cost":           kindWrite5m,
	"cache_creation_input_token_cost_above_1hr": kindWrite1h,
	"output_cost_per_reasoning_token":           kindReasoning,
	"input_cost_per_audio_token":                kindAudioInput,
	"output_cost_per_audio_token":               kindAudioOutput,
	"input_cost_per_image_token":                kindImageInput,
	"output_cost_per_image_token":               kindImageOutput,
}

// tierSuffixes end the fields that hold for one service tier.
var tierSuffixes = [tiersEnd]string{Batch: "_batches", Flex: "_flex", Priority: "_priority"}

// Fields of the list with a meaning of their own.
const (
	fieldCacheHit  = "input_cost_per_token_cache_hit" // what DeepSeek's entries call a cache read
	fieldCacheRead = "cache_read_input_token_cost"
	fieldSearch    = "search_context_cost_per_query"
	fieldTiers     = "tiered_pricing"
	fieldProvider  = "litellm_provider"
	sampleEntry    = "sample_spec" // documents the list's fields
	mediumSearches = "search_context_size_medium"
)

// SkippedPrice is a model that a list prices per token in a way that can't be used, so that it stays unpriced.
type SkippedPrice struct{ Model, Reason string }

// priceList is what a list says.
type priceList struct {
	prices  []*Price
	skipped []SkippedPrice
}

// parsePriceList reads a list in LiteLLM's own JSON format: an object of models, each an object of fields. Fields
// without a meaning here are ignored, and so are models that are not priced per token. All of it is right or an error
// says what is wrong with which field of which model.
func parsePriceList(r io.Reader) (*priceList, error) {
	decoder := json.NewDecoder(r)
	if start, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	} else if start != json.Delim('{') {
		return nil, errors.New("not an object of models")
	}
	out := &priceList{}
	seen := make(map[string]bool)
	var wrong []error
	for decoder.More() && len(wrong) < maxPriceProblems {
		key, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		model := key.(string) // the decoder takes no other keys
		if seen[model] {
			wrong = append(wrong, fmt.Errorf("model %q: listed twice", model))
			continue
		}
		if seen[model] = true; model == sampleEntry {
			continue
		}
		wrong = append(wrong, out.add(model, raw)...)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return out, nil
}

// add reads the entry of one model.
func (o *priceList) add(model string, raw json.RawMessage) (wrong []error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return []error{fmt.Errorf("model %q: not an object of fields", model)}
	}
	e := entryReader{fields: fields}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := e.field(name, fields[name]); err != nil {
			wrong = append(wrong, fmt.Errorf("model %q: %s: %w", model, name, err))
		}
	}
	provider, err := e.text(fieldProvider)
	if err != nil {
		wrong = append(wrong, fmt.Errorf("model %q: %s: %w", model, fieldProvider, err))
	}
	if len(wrong) > 0 || len(e.prices) == 0 || e.otherUnit() {
		return wrong
	}
	if reason := e.complete(); reason != "" {
		o.skipped = append(o.skipped, SkippedPrice{model, reason})
		return nil
	}
	o.prices = append(o.prices, newPrice(model, namespaceOf(provider, model), e.prices))
	return nil
}

// entryReader collects the prices of one entry.
type entryReader struct {
	fields map[string]json.RawMessage
	prices []listed
}

// has reports whether a price is there.
func (e *entryReader) has(k kind, tier Tier, above int64) bool {
	return slices.ContainsFunc(e.prices, func(l listed) bool { return l.kind == k && l.tier == tier && l.above == above })
}

// field reads one field.
func (e *entryReader) field(name string, raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	switch name {
	case fieldSearch:
		return e.search(raw)
	case fieldTiers:
		return e.tiers(raw)
	case fieldCacheHit:
		if read := string(e.fields[fieldCacheRead]); read != "" && read != "null" {
			return nil
		}
		name = fieldCacheRead
	}
	k, tier, above, ok := parseField(name)
	if !ok {
		return nil
	}
	value, err := parsePrice(raw, picoPlaces)
	if err != nil {
		return err
	}
	e.prices = append(e.prices, listed{value: value, above: above, kind: k, tier: tier})
	return nil
}

// search reads the price of a search: that of the medium context size, which is the default of the providers that
// tell sizes apart.
func (e *entryReader) search(raw json.RawMessage) error {
	var sizes map[string]json.RawMessage
	if err := json.Unmarshal(raw, &sizes); err != nil {
		return errors.New("not an object of context sizes")
	}
	medium, ok := sizes[mediumSearches]
	if !ok || string(medium) == "null" {
		return nil
	}
	value, err := parsePrice(medium, nanoPlaces)
	if err != nil {
		return fmt.Errorf("%s: %w", mediumSearches, err)
	}
	e.prices = append(e.prices, listed{value: value, kind: kindWebSearch})
	return nil
}

// tiers reads a list of context tiers, each with the range of input tokens that it is for. Tiers of something else,
// such as of search results, have no such range and are ignored.
func (e *entryReader) tiers(raw json.RawMessage) error {
	var tiers []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &tiers); err != nil {
		return errors.New("not an array of objects")
	}
	for i, tier := range tiers {
		rangeOf, ok := tier["range"]
		if !ok {
			continue
		}
		var ends []json.RawMessage
		if err := json.Unmarshal(rangeOf, &ends); err != nil || len(ends) != 2 {
			return fmt.Errorf("tier %d: range: not two numbers of tokens", i)
		}
		above, err := parsePrice(ends[0], 0)
		if err != nil {
			return fmt.Errorf("tier %d: range: %w", i, err)
		}
		for _, name := range slices.Sorted(maps.Keys(tier)) {
			k, service, inner, ok := parseField(name)
			if !ok || inner != 0 || e.has(k, service, above) {
				continue
			}
			value, err := parsePrice(tier[name], picoPlaces)
			if err != nil {
				return fmt.Errorf("tier %d: %s: %w", i, name, err)
			}
			e.prices = append(e.prices, listed{value: value, above: above, kind: k, tier: service})
		}
	}
	return nil
}

// text returns a field that holds a string, empty when absent.
func (e *entryReader) text(name string) (s string, err error) {
	if raw, ok := e.fields[name]; ok && string(raw) != "null" && json.Unmarshal(raw, &s) != nil {
		return "", errors.New("not a string")
	}
	return s, nil
}

// otherUnit reports whether the model is charged by another unit than tokens: all its prices of tokens are zero, but
// one per request, second, character, image or the like is not.
func (e *entryReader) otherUnit() bool {
	if slices.ContainsFunc(e.prices, func(l listed) bool { return l.value != 0 }) {
		return false
	}
	for name, raw := range e.fields {
		if _, _, _, ok := parseField(name); ok || !strings.Contains(name, "cost_per_") || name == fieldSearch {
			continue
		}
		if value, err := parsePrice(raw, picoPlaces); err == nil && value > 0 {
			return true
		}
	}
	return false
}

// complete fills in what the kind of model leaves open and returns why the prices can't be used, or "".
func (e *entryReader) complete() string {
	for _, l := range e.prices {
		if l.kind != kindWebSearch && l.value > maxPlausible {
			return "a price above 1000 USD per million tokens"
		}
	}
	if !e.has(kindInput, Standard, 0) {
		return "no price of input tokens"
	}
	if e.has(kindOutput, Standard, 0) {
		return ""
	}
	for _, l := range e.prices { // models that answer with images or sound only
		if (l.kind == kindImageOutput || l.kind == kindAudioOutput) && l.tier == Standard && l.above == 0 {
			e.prices = append(e.prices, listed{value: l.value, kind: kindOutput})
			return ""
		}
	}
	switch mode, _ := e.text("mode"); mode {
	case "embedding", "rerank", "moderation": // write no tokens
		e.prices = append(e.prices, listed{kind: kindOutput})
		return ""
	}
	return "no price of output tokens"
}

// parseField tells what a field of the list prices: a name, then for context tiers "_above_200k_tokens", then for
// service tiers "_batches", "_flex" or "_priority".
func parseField(name string) (k kind, tier Tier, above int64, ok bool) {
	for t, suffix := range tierSuffixes {
		if base, found := strings.CutSuffix(name, suffix); found && suffix != "" {
			name, tier = base, Tier(t)
		}
	}
	if base, found := strings.CutSuffix(name, "_tokens"); found {
		i := strings.LastIndex(base, "_above_")
		if i < 0 {
			return 0, 0, 0, false
		}
		number, thousands := strings.CutSuffix(base[i+len("_above_"):], "k")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n <= 0 {
			return 0, 0, 0, false
		}
		if above = n; thousands {
			above *= 1000
		}
		name = base[:i]
	}
	k, ok = fieldKinds[name]
	return k, tier, above, ok
}

// parsePrice reads a JSON number times 10^places.
func parsePrice(raw json.RawMessage, places int) (int64, error) {
	if len(raw) == 0 || bytes.IndexByte([]byte("-0123456789"), raw[0]) < 0 {
		return 0, fmt.Errorf("%w: %.40s", errNotNumber, raw)
	}
	value, err := scaleDecimal(string(raw), places)
	if err == nil && value > maxPrice {
		err = errTooLarge
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %.40s", err, raw)
	}
	return value, nil
}
