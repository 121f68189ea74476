package limit

import (
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	check := func(want time.Duration, headers ...string) {
		t.Helper()
		h := Headers{}
		for i := 0; i < len(headers); i += 2 {
			h.Add([]byte(headers[i]), []byte(headers[i+1]), now)
		}
		if got, _ := h.RetryAfter(now); got != want {
			t.Errorf("%q: got %v, want %v", headers, got, want)
		}
	}
	check(0)
	check(7*time.Second, "retry-after", "7")
	check(1500*time.Millisecond, "retry-after", "1.5")
	check(30*time.Second, "retry-after", "Fri, 01 May 2026 12:00:30 GMT")
	check(0, "retry-after", "Fri, 01 May 2026 11:00:30 GMT")
	check(250*time.Millisecond, "retry-after-ms", "250", "retry-after", "1")
	check(0, "retry-after", "soon")
	check(0, "retry-after", "-5")
	check(0, "retry-after", "NaN")
	check(maxRetryAfter, "retry-after", "1e30")
	check(20*time.Second, "retry-after", "1777636820")
	check(20*time.Second, "retry-after", "1777636820000")
	check(6*time.Minute, "x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "6m0s")
	check(120*time.Millisecond, "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "120ms", "x-ratelimit-remaining-requests", "5", "x-ratelimit-reset-requests", "1h")
	check(9*time.Second, "anthropic-ratelimit-input-tokens-remaining", "0", "anthropic-ratelimit-input-tokens-reset", "2026-05-01T12:00:09Z",
		"anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset", "2026-05-01T12:00:03Z")
	check(4*time.Second, "x-ratelimit-remaining-tokens-minute", "0", "x-ratelimit-reset-tokens-minute", "4.0")
	check(3*time.Second, "ratelimit-remaining", "0", "ratelimit-reset", "3")
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "6m0s", "Fri, 01 May 2026 12:00:30 GMT", "2026-05-01T12:00:09Z", "1e308", "-1"} {
		f.Add(s)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		h := Headers{}
		h.Add([]byte("x-ratelimit-remaining"), []byte("0"), now)
		for _, name := range []string{"x-ratelimit-reset", "retry-after"} {
			h.Add([]byte(name), []byte(value), now)
		}
		if d, _ := h.RetryAfter(now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}
