package simulate

import "time"

// blockTokens is the length of a block of a trace that names its prefixes: Mooncake's.
const blockTokens = 512

// promptCache is when each block was used last. A block's name stands for all that precedes it, too.
type promptCache map[uint64]time.Duration

// take returns how many input tokens of a request are there, and stores those that are not.
func (c *promptCache) take(r *request, now, keeps time.Duration) (tokens float64) {
	if *c == nil {
		*c = promptCache{}
	}
	hit := true
	for _, b := range r.blocks {
		used, known := (*c)[b]
		if hit = hit && known && now-used <= keeps; hit {
			tokens += blockTokens
		}
		(*c)[b] = now
	}
	return min(tokens, float64(r.input))
}
