package provider

import (
	"bytes"
	"strconv"
	"time"
)

// resetHeaders say when a limit is whole again, each beside the header that says how much is left of it: OpenAI, Azure, Groq, Mistral, Cerebras,
// Anthropic, and the IETF's drafts.
var resetHeaders = [...]struct{ remaining, reset string }{
	{"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
	{"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
	{"x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"},
	{"x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"},
	{"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
	{"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
	{"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"},
	{"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"},
	{"x-ratelimit-remaining", "x-ratelimit-reset"},
	{"ratelimit-remaining", "ratelimit-reset"},
}

// httpDate is the form of dates in HTTP (RFC 9110, section 5.6.7).
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// maxRetryAfter is the longest wait that is taken seriously.
const maxRetryAfter = 7 * 24 * time.Hour

// RetryAfter is how long the provider wants to be left alone, as the headers of its answer say it: retry-after-ms, Retry-After, or the latest reset
// of a limit that is used up. get returns a header's value by its name in lower case. It is 0 where nothing usable is said.
func RetryAfter(get func(name string) []byte, now time.Time) time.Duration {
	if d, ok := number(get("retry-after-ms"), time.Millisecond); ok {
		return bounded(d)
	}
	if d, ok := waitOf(get("retry-after"), now); ok {
		return bounded(d)
	}
	longest := time.Duration(0)
	for i := range resetHeaders {
		h := &resetHeaders[i]
		left := bytes.TrimSpace(get(h.remaining))
		if n, err := strconv.ParseFloat(string(left), 64); err != nil || n > 0 {
			continue
		}
		if d, ok := waitOf(get(h.reset), now); ok {
			longest = max(longest, bounded(d))
		}
	}
	return longest
}

func bounded(d time.Duration) time.Duration { return min(max(d, 0), maxRetryAfter) }

// waitOf reads seconds, a duration such as 6m0s or 120ms, a date of HTTP or RFC 3339, or a time in Unix seconds.
func waitOf(value []byte, now time.Time) (time.Duration, bool) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return 0, false
	}
	if d, ok := number(value, time.Second); ok {
		if d > 365*24*time.Hour { // a point in time
			seconds, _ := strconv.ParseFloat(string(value), 64)
			if seconds > 1e11 { // in milliseconds
				seconds /= 1e3
			}
			return time.Unix(0, int64(min(seconds, 9e9)*1e9)).Sub(now), true
		}
		return d, true
	}
	if d, err := time.ParseDuration(string(value)); err == nil {
		return d, d >= 0
	}
	for _, layout := range [...]string{time.RFC3339, httpDate, time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, string(value)); err == nil {
			return t.Sub(now), true
		}
	}
	return 0, false
}

// number reads a plain number of units that is not negative.
func number(value []byte, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
	if err != nil || !(n >= 0) {
		return 0, false
	}
	return time.Duration(min(n*float64(unit), float64(1<<62))), true
}
