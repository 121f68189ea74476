package main

import (
	"math"
	"math/rand/v2"
	"sort"

	"llm-auto-optimizer/bench/load"
)

// demoAnswer is how many tokens an answer has at most.
const demoAnswer = 480

// different are prompts that repeat: that many of them, of which the k-th is asked in proportion to k to the power of -skew, as what people ask is.
type different struct {
	prompts int
	skew    float64
	tokens  func(rng *rand.Rand) int // of one: a block of the load's at most, which makes a prompt a function of its number
}

// The first route's prompts. One that comes again is the same session, which stays on the same side of the hold-back.
const (
	demoPrompts = 1500
	demoSkew    = .8
	demoPrompt  = 180 // tokens, in the median
	demoSpread  = .5  // sigma of their logarithm
	demoLongest = 500 // tokens
)

var demoDifferent = different{demoPrompts, demoSkew, func(rng *rand.Rand) int {
	return int(min(max(demoPrompt*math.Exp(demoSpread*rng.NormFloat64()), 8), demoLongest))
}}

// asked has arrivals ask these prompts.
func (d *different) asked(arrivals load.Arrivals, seed uint64) load.Arrivals {
	return func(yield func(load.Arrival) bool) {
		rng := rand.New(rand.NewPCG(seed, 1))
		upTo := make([]float64, d.prompts)
		tokens := make([]int, d.prompts)
		sum := 0.
		for i := range upTo {
			sum += math.Pow(float64(i+1), -d.skew)
			upTo[i] = sum
			tokens[i] = d.tokens(rng)
		}
		for a := range arrivals {
			i := min(sort.SearchFloat64s(upTo, rng.Float64()*sum), d.prompts-1)
			a.Input, a.Blocks = tokens[i], []uint64{uint64(i)} //nolint:gosec // an index
			if !yield(a) {
				return
			}
		}
	}
}

// demoKinds is the mixture that the load sends: chats, most of them streamed. Some clients lose patience.
func demoKinds(proxy string) []load.Kind {
	const impatient = .03
	kinds := []load.Kind{{Stream: true, Weight: 4}, {Weight: 1}}
	for i := range kinds {
		k := &kinds[i]
		k.API, k.Model, k.BaseURL, k.Key = load.Chat, demoRoute, proxy+"/v1", "simulated"
		k.Prompt, k.MaxTokens, k.Leave = load.Size{Median: demoPrompt}, demoAnswer, impatient
	}
	return kinds
}
