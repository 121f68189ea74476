package config

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// maxPriceFile is the largest price file that is read, in bytes: some twenty times the public list of 2026.
const maxPriceFile = 32 << 20

// PriceTable is a list of prices by provider and model. It is immutable and safe for concurrent use.
type PriceTable struct {
	date   string // when the list was taken, 2006-01-02; empty: unknown
	origin string

	entries map[string]*Price            // by the list's keys
	spaces  map[string]map[string]*Price // by provider and the provider's own name of the model
	vendors map[string]*Price            // models of vendors whose names say what they cost
	anyone  map[string]*Price            // models listed without a provider
	skipped []SkippedPrice
}

// LoadPrices reads a price list in LiteLLM's own JSON format. It is read as a whole or not at all: an error says which
// field of which model is wrong. The table holds the models of the file only; Merge adds them to another.
func LoadPrices(path string) (*PriceTable, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	} else if info.Size() > maxPriceFile {
		return nil, fmt.Errorf("price list %s: larger than %v", path, Size(maxPriceFile))
	}
	table, err := ParsePrices(f)
	if err != nil {
		return nil, fmt.Errorf("price list %s: %w", path, err)
	}
	return table, nil
}

// ParsePrices reads a price list in LiteLLM's own JSON format.
func ParsePrices(r io.Reader) (*PriceTable, error) {
	list, err := parsePriceList(r)
	if err != nil {
		return nil, err
	}
	t := newPriceTable(list.prices, nil)
	t.skipped = list.skipped
	return t, nil
}

// Merge returns a table with the models of both, where over wins, model by model. Date and origin stay t's.
func (t *PriceTable) Merge(over *PriceTable) *PriceTable {
	entries := maps.Clone(t.entries)
	maps.Copy(entries, over.entries)
	merged := newPriceTable(slices.Collect(maps.Values(entries)), over.entries)
	merged.date, merged.origin = t.date, t.origin
	merged.skipped = slices.Concat(t.skipped, over.skipped)
	return merged
}

// Date returns when the list was taken, as 2006-01-02; empty if it doesn't say.
func (t *PriceTable) Date() string { return t.date }

// Origin returns where the list comes from and its licence; empty if it doesn't say.
func (t *PriceTable) Origin() string { return t.origin }

// Len returns the number of models in the table.
func (t *PriceTable) Len() int { return len(t.entries) }

// ModelsOf returns how many models the list has of the provider that a hint names. Names that stand for a dated model
// count too.
func (t *PriceTable) ModelsOf(providerHint string) int { return len(t.spaces[providerHint]) }

// Skipped returns the models whose prices can't be used, and why. The slice must not be changed.
func (t *PriceTable) Skipped() []SkippedPrice { return t.skipped }

// Lookup returns what a model costs at a provider, named as Provider.PriceHint does. It reports false for what is not
// known for certain: unpriced is not the same as free. It doesn't allocate and keeps nothing of model.
//
// The order, first match wins:
//
//  1. the provider's own entries, if the list knows the provider: a reseller has its own price;
//  2. for a provider that the list doesn't know, the model as a whole key of the list (groq/…), which names the
//     provider behind a gateway;
//  3. entries that name no provider, as an operator's own list may have;
//  4. models of OpenAI, Anthropic and Google under their vendor's own name, since nobody else gives those to other
//     models; but not for programs that serve models themselves and for subscriptions, nor a vendor's other namespace.
//
// In each, a model is looked for as it is named, without models/ in front; then a fine-tuned one (ft:base:…) as ft:base;
// then without its date (-2024-08-06, -20250929, @20250929), -latest or, for Gemini, -001. A name without a date also
// finds the dated ones if all of them cost the same. Nothing else is alike: gpt-4o-foo is not gpt-4o, gpt-4 is not
// gpt-4o, and a fine-tuned model never costs what its base does.
func (t *PriceTable) Lookup(providerHint string, model []byte) (*Price, bool) {
	model = trimModel(model)
	if space, known := t.spaces[providerHint]; known {
		if p := find(space, model); p != nil {
			return p, true
		}
	} else if !ownPrices[providerHint] && bytes.IndexByte(model, '/') > 0 {
		if p := t.entries[string(model)]; p != nil {
			return p, true
		}
	}
	if p := find(t.anyone, model); p != nil {
		return p, true
	}
	if !ownPrices[providerHint] {
		if p := find(t.vendors, model); p != nil {
			return p, true
		}
	}
	return nil, false
}

var fineTuned = []byte("ft:")

// find returns the entry of a model among those of one provider, or nil.
func find(models map[string]*Price, model []byte) *Price {
	if p := models[string(model)]; p != nil {
		return p
	}
	if rest, ok := bytes.CutPrefix(model, fineTuned); ok {
		end := bytes.IndexByte(rest, ':')
		if end < 0 {
			end = len(rest)
		}
		model = model[:len(fineTuned)+end]
		if p := models[string(model)]; p != nil {
			return p
		}
	}
	stem, ok := cutVersion(model)
	if !ok {
		return nil
	}
	if model[len(stem)] == '@' && len(model) <= maxModelName { // Vertex spells -20250929 so
		var name [maxModelName]byte
		n := copy(name[:], model)
		name[len(stem)] = '-'
		if p := models[string(name[:n])]; p != nil {
			return p
		}
	}
	return models[string(stem)]
}

// maxModelName is the longest name that is looked for with another spelling of its date, in bytes.
const maxModelName = 128

// newPriceTable indexes prices. Of two that give one provider the same model the one that wins is that of the keys in
// over, then the one whose key names the provider.
func newPriceTable(prices []*Price, over map[string]*Price) *PriceTable {
	t := &PriceTable{
		entries: make(map[string]*Price, len(prices)),
		spaces:  make(map[string]map[string]*Price),
		vendors: make(map[string]*Price),
		anyone:  make(map[string]*Price),
	}
	rank := func(p *Price) (r int) {
		if _, ok := over[p.key]; ok {
			r = 2
		}
		if _, prefixed := modelOf(p.key, p.namespace); prefixed {
			r++
		}
		return r
	}
	for _, p := range prices {
		t.entries[p.key] = p
		model, prefixed := modelOf(p.key, p.namespace)
		if p.namespace == "" {
			t.anyone[model] = p
			continue
		}
		if !prefixed && isVendor(p.namespace) {
			t.vendors[model] = p
		}
		space := t.spaces[p.namespace]
		if space == nil {
			space = make(map[string]*Price)
			t.spaces[p.namespace] = space
		}
		if old := space[model]; old == nil || rank(p) > rank(old) {
			space[model] = p
		}
	}
	for _, space := range t.spaces {
		addStems(space)
	}
	addStems(t.vendors)
	for name, namespace := range namespaceNames {
		if t.spaces[name] == nil && t.spaces[namespace] != nil {
			t.spaces[name] = t.spaces[namespace]
		}
	}
	return t
}

// addStems adds names without a version for dated models that all cost the same.
func addStems(models map[string]*Price) {
	stems := make(map[string]*Price) // nil: they differ
	for _, model := range slices.Sorted(maps.Keys(models)) {
		stem, ok := cutVersion(model)
		if !ok || models[stem] != nil || !isDigit(model[len(model)-1]) {
			continue
		}
		p := models[model] // the last, newest one stands for all
		if old, seen := stems[stem]; seen && (old == nil || !slices.Equal(old.listed, p.listed)) {
			p = nil
		}
		stems[stem] = p
	}
	for stem, p := range stems {
		if p != nil {
			models[stem] = p
		}
	}
}
