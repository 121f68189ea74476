package cache

import (
	"bytes"
	"strconv"
	"time"
)

// Directives is what a request asks of the cache, from its header cache-control (RFC 9111, section 5.2.1). The zero value asks nothing.
type Directives struct {
	NoCache      bool // no stored answer without asking the provider again; the new one is stored
	NoStore      bool // neither this answer nor the question leaves a trace
	OnlyIfCached bool // a stored answer or 504
	HasMaxAge    bool
	MaxAge       time.Duration // of a stored answer, from 0; counts if HasMaxAge
}

// maxSeconds is what larger numbers of seconds count as (RFC 9111, section 1.2.2).
const maxSeconds = 1 << 31

// ParseDirectives reads a list like "no-cache, max-age=60". Unknown and malformed directives are ignored, and so is max-age with anything but a
// number; of several the strictest counts. Header fields that repeat are to be joined by commas.
func ParseDirectives(list []byte) (d Directives) {
	for len(list) > 0 {
		var one []byte
		one, list = cutDirective(list)
		name, value, valued := bytes.Cut(one, []byte{'='})
		switch name = bytes.TrimSpace(name); {
		case bytes.EqualFold(name, []byte("no-cache")):
			d.NoCache = true
		case bytes.EqualFold(name, []byte("no-store")):
			d.NoStore = true
		case bytes.EqualFold(name, []byte("only-if-cached")):
			d.OnlyIfCached = true
		case valued && bytes.EqualFold(name, []byte("max-age")):
			if age, ok := parseSeconds(value); ok && (!d.HasMaxAge || age < d.MaxAge) {
				d.HasMaxAge, d.MaxAge = true, age
			}
		}
	}
	return d
}

// cutDirective takes the first directive off the list: up to a comma that is not between quotes.
func cutDirective(list []byte) (one, rest []byte) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return list, nil
}

// parseSeconds reads a number of seconds, also between quotes.
func parseSeconds(b []byte) (time.Duration, bool) {
	b = bytes.TrimSpace(b)
	if n := len(b); n > 2 && b[0] == '"' && b[n-1] == '"' {
		b = b[1 : n-1]
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), maxSeconds)
	}
	return time.Duration(n) * time.Second, len(b) > 0
}

// ParseTTL reads the header x-llmopt-cache-ttl: seconds, or a duration like "90s" or "2h". False for anything else, and for what is not above 0.
func ParseTTL(b []byte) (time.Duration, bool) {
	if d, ok := parseSeconds(b); ok {
		return d, d > 0
	}
	if len(b) > maxTTLText {
		return 0, false
	}
	d, err := time.ParseDuration(string(b))
	return d, err == nil && d > 0
}

const maxTTLText = 32 // bytes of a duration worth reading

// AppendAge appends the value of the header age.
func AppendAge(dst []byte, age time.Duration) []byte {
	return strconv.AppendInt(dst, int64(max(age, 0)/time.Second), 10)
}
