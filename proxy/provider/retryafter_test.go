package provider

import (
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	check := func(want time.Duration, headers ...string) {
		t.Helper()
		get := func(name string) []byte {
			for i := 0; i < len(headers); i += 2 {
				if headers[i] == name {
					return []byte(headers[i+1])
				}
			}
			return nil
		}
		if got := RetryAfter(get, now); got != want {
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
		get := func(name string) []byte {
			switch name {
			case "x-ratelimit-remaining":
				return []byte("0")
			case "x-ratelimit-reset", "retry-after":
				return []byte(value)
			}
			return nil
		}
		if d := RetryAfter(get, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}

func TestRewritePath(t *testing.T) {
	t.Parallel()
	check := func(op Operation, path, want string) {
		t.Helper()
		got, ok := RewritePath(nil, op, []byte(path), "new model/x")
		if !ok {
			got = nil
		}
		if string(got) != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	check(GenerateContent, "/v1beta/models/gemini-2.5-pro:streamGenerateContent", "/v1beta/models/new%20model%2Fx:streamGenerateContent")
	check(GenerateContent, "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent",
		"/v1/projects/p/locations/l/publishers/google/models/new%20model%2Fx:generateContent")
	check(ChatCompletions, "/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/new%20model%2Fx/chat/completions")
	check(ChatCompletions, "/v1/chat/completions", "")
	check(Messages, "/v1/messages", "")
}
