package sim

import (
	"sync"
	"time"
)

// blockBytes is the grain of implicit caching: 128 tokens, as with OpenAI.
const blockBytes = 128 * bytesPerToken

// maxEntries bounds the prompt cache: with that many prefixes in it the older half is forgotten.
const maxEntries = 1 << 16

// implicitTTL is how long a prefix is remembered that nobody asked to be.
const implicitTTL = 10 * time.Minute

// promptCache remembers prefixes of prompts by hash, and until when. Safe for concurrent use.
type promptCache struct {
	min        int // tokens; negative: nothing is cached
	mu         sync.Mutex
	young, old map[uint64]time.Time
}

func (p *promptCache) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.young, p.old = nil, nil
}

// has tells whether a prefix is known at that time. The caller holds mu.
func (p *promptCache) has(h uint64, now time.Time) bool {
	until, ok := p.young[h]
	if !ok {
		until, ok = p.old[h]
	}
	return ok && now.Before(until)
}

// put remembers a prefix. The caller holds mu.
func (p *promptCache) put(h uint64, until time.Time) {
	if p.young == nil || len(p.young) >= maxEntries/2 {
		p.old, p.young = p.young, make(map[uint64]time.Time)
	}
	p.young[h] = until
}

// implicit returns how many tokens of the prompt were a known prefix, in whole blocks, and remembers all of it. That
// is how OpenAI and Gemini cache without being asked.
func (p *promptCache) implicit(start uint64, now time.Time, parts ...string) (tokens int) {
	size := 0
	for _, s := range parts {
		size += len(s)
	}
	if p.min < 0 || size/bytesPerToken < p.min {
		return 0
	}
	hashes := blockHashes(start, parts)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := 0
	for known < len(hashes) && p.has(hashes[known], now) {
		known++
	}
	for _, h := range hashes {
		p.put(h, now.Add(implicitTTL))
	}
	if tokens = known * blockBytes / bytesPerToken; tokens < p.min {
		return 0
	}
	return tokens
}

// blockHashes returns the hash of every prefix of whole blocks of the parts put together.
func blockHashes(h uint64, parts []string) []uint64 {
	var (
		hashes []uint64
		block  = make([]byte, 0, blockBytes)
	)
	for _, s := range parts {
		for len(s) > 0 {
			n := min(blockBytes-len(block), len(s))
			block = append(block, s[:n]...)
			s = s[n:]
			if len(block) == blockBytes {
				h = fold(h, block)
				hashes = append(hashes, h)
				block = block[:0]
			}
		}
	}
	return hashes
}

// lookBack is how many positions the provider looks at for a known prefix, from a mark backwards and the mark's own included.
const lookBack = 20

// section is a prefix of a prompt that explicit caching can end at.
type section struct {
	hash   uint64
	tokens int
	ttl    time.Duration // that its last block asks for; 0: it asks for nothing
	run    bool          // its last block counts as one position with the one before: calls of tools side by side, and their results
}

// explicit looks up a prompt that the client wants cached as far as its marked sections: read is the longest known prefix within reach of a mark, the rest
// up to the last mark is written, one entry at each mark, for the lifetime of that mark. Marks on what is too short count for nothing. That is how
// Anthropic caches.
func (p *promptCache) explicit(sections []section, now time.Time) (read, write5m, write1h int) {
	if p.min < 0 {
		return 0, 0, 0
	}
	marked := func(i int) bool { return sections[i].ttl > 0 && sections[i].tokens >= p.min }
	p.mu.Lock()
	defer p.mu.Unlock()
	known := -1
	for i := len(sections) - 1; i >= 0 && known < 0; i-- {
		if marked(i) {
			if known = p.reach(sections[:i+1], now); known >= 0 { // what is read lives on
				p.put(sections[known].hash, now.Add(sections[i].ttl))
			}
		}
	}
	at := 0
	if known >= 0 {
		at = sections[known].tokens
		read = at
	}
	for i := range sections {
		if !marked(i) {
			continue
		}
		s := &sections[i]
		p.put(s.hash, now.Add(s.ttl))
		if i <= known {
			continue
		}
		if s.ttl >= time.Hour {
			write1h += s.tokens - at
		} else {
			write5m += s.tokens - at
		}
		at = s.tokens
	}
	return read, write5m, write1h
}

// reach is the longest known prefix that is looked at from the last section; -1: none. The caller holds mu.
func (p *promptCache) reach(sections []section, now time.Time) int {
	seen := 1
	for i := len(sections) - 1; i >= 0 && seen <= lookBack; i-- {
		if p.has(sections[i].hash, now) {
			return i
		}
		if !sections[i].run {
			seen++
		}
	}
	return -1
}
