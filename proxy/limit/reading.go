package limit

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// Reading is what a provider says of one of its limits.
type Reading struct {
	Of               Dimension
	Window           time.Duration // that the limit is for; 0: not said
	Limit, Remaining int64         // -1: not said
	Reset            time.Time     // when it is whole again; zero: not said
	Dated            bool          // it was told as a point in time, and not as one from now
}

// maxReadings is how many limits a provider may tell of. More are passed over.
const maxReadings = 12

// Headers collects what the headers of an answer say of limits. Add takes the headers one by one, in any order; it knows the spellings of OpenAI, Anthropic, Azure, Groq,
// Mistral, Cerebras, Fireworks, Together and GitHub Models by the words that they are made of (x-ratelimit-remaining-tokens-minute, anthropic-ratelimit-input-tokens-reset), and the
// fields of the IETF's drafts, and how long to wait before another try. A name with a word that it does not know is passed over: it may be the limit of something else. The
// zero value is empty. It is not safe for concurrent use.
type Headers struct {
	n        int
	after    retryAfter
	slots    [maxReadings]slot
	readings [maxReadings]Reading
}

// slot is which limit a reading is of.
type slot struct {
	family family
	policy uint64 // hash of the name of an IETF policy
	of     Dimension
	window time.Duration // as the names of the headers say
}

type family uint8

const (
	byWords family = iota
	bySize         // Mistral's ratelimitbysize
	byAnthropic
	byPolicy
)

// Readings are the limits that were told of. They are valid until the next call of Reset.
func (h *Headers) Readings() []Reading { return h.readings[:h.n] }

// Reset empties h.
func (h *Headers) Reset() { h.n, h.after = 0, retryAfter{} }

// at finds or makes the reading of a limit; nil where there are too many.
func (h *Headers) at(s slot) *Reading {
	for i := range h.n {
		if h.slots[i] == s {
			return &h.readings[i]
		}
	}
	if h.n == maxReadings {
		return nil
	}
	h.slots[h.n], h.readings[h.n] = s, Reading{Of: s.of, Window: s.window, Limit: -1, Remaining: -1}
	h.n++
	return &h.readings[h.n-1]
}

// maxName is the length of the longest name that is looked at.
const maxName = 64

// Add takes one header; name in any case. now is when the answer came. It tells whether the header is about a limit.
func (h *Headers) Add(name, value []byte, now time.Time) bool {
	if !MayTell(name) {
		return false
	}
	var room [maxName]byte
	lower := room[:len(name)]
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	value = bytes.TrimSpace(value)
	switch string(lower) {
	case "retry-after", "retry-after-ms":
		return h.after.read(lower, value, now)
	case "ratelimit":
		return h.fields(value, now)
	case "ratelimit-policy":
		return h.policies(value)
	}
	s, verb, ok := spell(lower)
	if !ok {
		return false
	}
	return h.put(s, verb, value, now)
}

// mayLimit looks for "limit" as cheaply as it can.
func mayLimit(name []byte) bool {
	for i, c := range name[:len(name)-4] {
		if c|' ' == 'l' && name[i+1]|' ' == 'i' && name[i+2]|' ' == 'm' && name[i+3]|' ' == 'i' && name[i+4]|' ' == 't' {
			return true
		}
	}
	return false
}

// verb is what a header says of its limit.
type verb uint8

const (
	saysLimit verb = iota + 1
	saysRemaining
	saysReset
	saysWindow
)

func (h *Headers) put(s slot, v verb, value []byte, now time.Time) bool {
	switch v {
	case saysLimit, saysRemaining:
		n, ok := count(value)
		if !ok {
			return false
		}
		r := h.at(s)
		if r == nil {
			return false
		}
		if v == saysLimit {
			r.Limit = n
		} else {
			r.Remaining = n
		}
	case saysReset:
		at, dated, ok := moment(value, now)
		if !ok {
			return false
		}
		r := h.at(s)
		if r == nil {
			return false
		}
		r.Reset, r.Dated = at, dated
	case saysWindow:
		seconds, ok := count(value)
		if !ok || seconds <= 0 || seconds > int64(maxWait/time.Second) {
			return false
		}
		r := h.at(s)
		if r == nil {
			return false
		}
		r.Window = time.Duration(seconds) * time.Second
	}
	return true
}

// spell takes the name of a header apart.
func spell(name []byte) (s slot, v verb, ok bool) {
	const none = dimensions
	s.of = none
	about, rate, input, output := false, false, false, false
	for rest := name; len(rest) > 0; {
		word := rest
		if i := either(rest, '-', '_'); i >= 0 {
			word, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		next := verb(0)
		switch string(word) {
		case "x":
		case "anthropic":
			s.family = byAnthropic
		case "ratelimit":
			about = true
		case "rate": // x-rate-limit-…
			rate = true
		case "ratelimitbysize":
			about, s.family, s.of = true, bySize, Tokens
		case "tokenlimit":
			about, s.of = true, Tokens
		case "limit":
			if rate && !about {
				about = true
				continue
			}
			next = saysLimit
		case "remaining":
			next = saysRemaining
		case "reset":
			next = saysReset
		case "renewalperiod":
			next = saysWindow
		case "requests", "request", "req":
			s.of = Requests
		case "tokens", "token":
			s.of = Tokens
		case "input", "prompt":
			input = true
		case "output", "generated":
			output = true
		case "second":
			s.window = time.Second
		case "minute":
			s.window = time.Minute
		case "hour":
			s.window = time.Hour
		case "day":
			s.window = 24 * time.Hour
		case "month":
			s.window = Month.Length()
		default:
			return s, 0, false
		}
		if next != 0 {
			if v != 0 {
				return s, 0, false
			}
			v = next
		}
	}
	switch {
	case input && s.of == Tokens:
		s.of = InputTokens
	case output && s.of == Tokens:
		s.of = OutputTokens
	case input || output:
		return s, 0, false
	case s.of == none:
		s.of = Requests
	}
	return s, v, about && v != 0 && !(input && output)
}

// count reads a number of units: the first of a list, without parameters. Negative ones, and what is no number, say nothing.
func count(value []byte) (int64, bool) {
	if i := either(value, ',', ';'); i >= 0 {
		value = bytes.TrimSpace(value[:i])
	}
	n, ok := number(value)
	if !ok || !(n >= 0) {
		return 0, false
	}
	if n >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return int64(n), true
}

// either is the first index of one of two characters, or -1. Values are short: bytes.IndexAny takes longer to begin than this to end.
func either(s []byte, a, b byte) int {
	for i, c := range s {
		if c == a || c == b {
			return i
		}
	}
	return -1
}

// number reads a decimal number.
func number(value []byte) (float64, bool) {
	whole := uint64(0)
	for i, c := range value {
		if c < '0' || c > '9' || i >= 15 { // what has more digits is not exact
			for _, c := range value {
				if (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
					return 0, false // errors of strconv allocate
				}
			}
			n, err := strconv.ParseFloat(string(value), 64)
			return n, err == nil
		}
		whole = whole*10 + uint64(c-'0')
	}
	return float64(whole), len(value) > 0
}

// MayTell tells in no time whether a header may be one that Add wants.
func MayTell(name []byte) bool {
	return len(name) >= len("ratelimit") && len(name) <= maxName && (mayLimit(name) || mayRetry(name))
}
