package cache

import (
	"slices"
	"time"
)

// Store says which answers a route keeps.
type Store uint8

// The values of the setting store: "deterministic" and "all".
const (
	StoreDeterministic Store = iota // what temperature 0 answers, and embeddings
	StoreAll                        // also what another try would answer differently
)

// ParseStore is the inverse of Store.String.
func ParseStore(s string) (Store, bool) {
	switch s {
	case "deterministic":
		return StoreDeterministic, true
	case "all":
		return StoreAll, true
	}
	return 0, false
}

// String is the spelling of the configuration.
func (s Store) String() string {
	if s == StoreAll {
		return "all"
	}
	return "deterministic"
}

// Settings are what a route says of its cache. The zero value keeps nothing.
type Settings struct {
	Enabled   bool
	TTL       time.Duration // how long an answer is given out; 0: not at all
	Idle      time.Duration // without a hit, after which an answer goes; 0: never
	WhileNew  time.Duration // past TTL, in which an answer is given out while a new one is fetched (stale-while-revalidate)
	OnError   time.Duration // past TTL, in which an answer is given out when the provider fails (stale-if-error)
	Store     Store
	Shared    bool          // one caller's answers are given to others
	Finish    []string      // why answers that are kept have ended, as their dialects spell it; nil: DefaultFinish
	MaxEntry  int           // bytes of an answer; 0: DefaultMaxEntry
	EarlyBeta float64       // of EarlyRefresh; 0: none
	KeyHeader bool          // requests may name a key of their own: x-llmopt-cache-key
	TTLHeader bool          // requests may shorten or prolong TTL: x-llmopt-cache-ttl
	MaxTTL    time.Duration // that TTLHeader allows; 0: TTL
}

// DefaultMaxEntry is the size of a long answer as a stream, several times.
const DefaultMaxEntry = 1 << 20

// DefaultFinish are the reasons of answers that came to their own end: no limit was hit and nothing was filtered.
var DefaultFinish = []string{
	"stop", "tool_calls", "function_call", // OpenAI chat and completions
	"completed",                             // OpenAI responses
	"end_turn", "stop_sequence", "tool_use", // Anthropic
	"STOP", // Gemini
}

// Finished reports whether an answer that ended for this reason is kept.
func (s *Settings) Finished(reason []byte) bool {
	list := s.Finish
	if list == nil {
		list = DefaultFinish
	}
	return slices.Contains(list, string(reason))
}

// MaxSize is the number of bytes an answer may have.
func (s *Settings) MaxSize() int {
	if s.MaxEntry > 0 {
		return s.MaxEntry
	}
	return DefaultMaxEntry
}

// TTLFor is how long an answer is given out that a request wants kept for asked; 0 for one that asks nothing.
func (s *Settings) TTLFor(asked time.Duration) time.Duration {
	if asked <= 0 || !s.TTLHeader {
		return s.TTL
	}
	return min(asked, max(s.TTL, s.MaxTTL))
}
