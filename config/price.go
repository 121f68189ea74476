package config

import (
	"cmp"
	"slices"
)

// kind is what a listed price is for.
type kind uint8

// The kinds of prices, parents before the kinds that follow them.
const (
	kindInput kind = iota
	kindOutput
	kindCacheRead
	kindWrite5m
	kindWrite1h
	kindReasoning
	kindAudioInput
	kindAudioOutput
	kindImageInput
	kindImageOutput
	kindWebSearch // NanoUSD per query; all others PicoUSD per token

	kindsEnd // one past the last
)

// parents tell whose price a kind has that is not listed itself.
var parents = [kindsEnd]kind{
	kindInput: kindInput, kindOutput: kindOutput, kindWebSearch: kindWebSearch,
	kindCacheRead: kindInput, kindWrite5m: kindInput, kindWrite1h: kindWrite5m, kindReasoning: kindOutput,
	kindAudioInput: kindInput, kindAudioOutput: kindOutput, kindImageInput: kindInput, kindImageOutput: kindOutput,
}

// listed is one price as the list states it.
type listed struct {
	value int64
	above int64 // holds for requests with more input tokens than this; 0: for all
	kind  kind
	tier  Tier
}

// compareListed orders prices by threshold, kind and tier.
func compareListed(a, b listed) int {
	return cmp.Or(cmp.Compare(a.above, b.above), cmp.Compare(a.kind, b.kind), cmp.Compare(a.tier, b.tier))
}

// Price is what a model costs at one provider. It is immutable.
type Price struct {
	key       string // in the list, such as azure/gpt-4o
	namespace string // the provider in the list's spelling; empty: any
	listed    []listed
	levels    [tiersEnd][]level // ascending by threshold; the first holds for all
}

// level is what holds for requests with more than a number of input tokens.
type level struct {
	above int64
	rates Rates
}

// Key returns the name of the entry in the price list that this is.
func (p *Price) Key() string { return p.key }

// Rates returns what a request costs that was served at the tier and read inputTotal tokens, cached ones included. The
// prices of a context tier hold for all tokens of a request that reads strictly more than its threshold. What the list
// doesn't state is filled in, in this order:
//
//   - a price that is missing at the service tier is the standard one of the same context tier, so a batch without a
//     batch price costs the standard price;
//   - a price that is missing in a context tier is the one of the next lower tier;
//   - a cache read or write, audio or image input without a price costs as much as input; a 1-hour cache write as much
//     as a 5-minute one; reasoning, audio or image output as much as output;
//   - a kind whose price equals that of the kind it would be filled in from follows it into tiers that list only the
//     latter, and a 1-hour cache write keeps its ratio to the 5-minute one there.
func (p *Price) Rates(tier Tier, inputTotal int64) Rates {
	if tier >= tiersEnd {
		tier = Standard
	}
	levels := p.levels[tier]
	for i := len(levels) - 1; i > 0; i-- {
		if inputTotal > levels[i].above {
			return levels[i].rates
		}
	}
	return levels[0].rates
}

// newPrice makes a price of what the list states, which must hold input and output for all requests.
func newPrice(key, namespace string, prices []listed) *Price {
	slices.SortFunc(prices, compareListed)
	p := &Price{key: key, namespace: namespace, listed: slices.Clip(prices)}
	var thresholds []int64
	var tiers [tiersEnd]bool
	for _, l := range prices {
		tiers[l.tier] = true
		if len(thresholds) == 0 || thresholds[len(thresholds)-1] != l.above {
			thresholds = append(thresholds, l.above)
		}
	}
	grid := make([][tiersEnd][kindsEnd]cell, len(thresholds))
	for i := range thresholds {
		for tier := range tiersEnd {
			for k := range kindsEnd {
				grid[i][tier][k] = p.fill(grid, thresholds, i, tier, k)
			}
		}
	}
	for tier := range tiersEnd {
		if tier != Standard && !tiers[tier] {
			p.levels[tier] = p.levels[Standard]
			continue
		}
		p.levels[tier] = make([]level, len(thresholds))
		for i, above := range thresholds {
			p.levels[tier][i] = level{above, ratesOf(&grid[i][tier])}
		}
	}
	return p
}

// cell is the price of a kind in a context and service tier, and the tiers where the list states it.
type cell struct {
	value  int64
	stated bool
	level  int
	tier   Tier
}

// fill returns the cell of a kind; those of lower levels, of the standard tier and of the kind's parent are there.
func (p *Price) fill(grid [][tiersEnd][kindsEnd]cell, thresholds []int64, i int, tier Tier, k kind) cell {
	var c cell
	if value, ok := p.find(thresholds[i], k, tier); ok {
		return cell{value, true, i, tier}
	} else if value, ok := p.find(thresholds[i], k, Standard); ok {
		c = cell{value, true, i, Standard}
	} else if i > 0 {
		c = grid[i-1][tier][k]
	}
	parent := parents[k]
	if parent == k {
		return c
	}
	here := grid[i][tier][parent].value
	if !c.stated {
		c.value = here
		return c
	}
	there := grid[c.level][c.tier][parent].value
	c.value = grid[c.level][c.tier][k].value
	switch {
	case c.value == there:
		c.value = here
	case k == kindWrite1h && there > 0:
		c.value = mulDiv(c.value, here, there)
	}
	return c
}

// find returns a price that the list states.
func (p *Price) find(above int64, k kind, tier Tier) (int64, bool) {
	i, ok := slices.BinarySearchFunc(p.listed, listed{above: above, kind: k, tier: tier}, compareListed)
	if !ok {
		return 0, false
	}
	return p.listed[i].value, true
}

func ratesOf(cells *[kindsEnd]cell) Rates {
	pico := func(k kind) PicoUSD { return PicoUSD(cells[k].value) }
	return Rates{
		Input:        pico(kindInput),
		CacheRead:    pico(kindCacheRead),
		CacheWrite5m: pico(kindWrite5m),
		CacheWrite1h: pico(kindWrite1h),
		Output:       pico(kindOutput),
		Reasoning:    pico(kindReasoning),
		AudioInput:   pico(kindAudioInput),
		AudioOutput:  pico(kindAudioOutput),
		ImageInput:   pico(kindImageInput),
		ImageOutput:  pico(kindImageOutput),
		WebSearch:    NanoUSD(cells[kindWebSearch].value),
	}
}
