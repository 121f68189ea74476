package limit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var readAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// read takes lines of headers and tells what is understood, one limit a line.
func read(h *Headers, lines string) string {
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		h.Add([]byte(name), []byte(value), readAt)
	}
	var b strings.Builder
	for _, r := range h.Readings() {
		reset := "-"
		if !r.Reset.IsZero() {
			reset = r.Reset.Sub(readAt).String()
		}
		window := "-"
		if r.Window > 0 {
			window = r.Window.String()
		}
		fmt.Fprintf(&b, "%s per %s: %d of %d, reset %s\n", r.Of, window, r.Remaining, r.Limit, reset)
	}
	return b.String()
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	check := func(vendor, lines string, want ...string) {
		t.Helper()
		if got := read(&Headers{}, lines); got != strings.Join(want, "\n")+"\n" && got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%swant\n%s", vendor, got, strings.Join(want, "\n"))
		}
	}
	check("OpenAI", `x-ratelimit-limit-requests: 5000
		x-ratelimit-limit-tokens: 160000
		x-ratelimit-limit-tokens_usage_based: 99
		x-ratelimit-remaining-requests: 4999
		x-ratelimit-remaining-tokens: 159976
		x-ratelimit-reset-requests: 12ms
		x-ratelimit-reset-tokens: 6m0s`,
		"requests per -: 4999 of 5000, reset 12ms", "tokens per -: 159976 of 160000, reset 6m0s")
	check("Anthropic", `anthropic-ratelimit-requests-limit: 1000
		anthropic-ratelimit-requests-remaining: 999
		anthropic-ratelimit-requests-reset: 2026-03-01T12:00:01Z
		anthropic-ratelimit-input-tokens-limit: 80000
		anthropic-ratelimit-input-tokens-remaining: 79000
		anthropic-ratelimit-input-tokens-reset: 2026-03-01T12:00:30Z
		anthropic-ratelimit-output-tokens-limit: 16000
		anthropic-ratelimit-output-tokens-remaining: 16000
		anthropic-ratelimit-output-tokens-reset: 2026-03-01T11:59:59Z
		anthropic-ratelimit-unified-reset: 1772366400
		anthropic-priority-input-tokens-limit: 10
		anthropic-organization-id: 1`,
		"requests per -: 999 of 1000, reset 1s", "input tokens per -: 79000 of 80000, reset 30s", "output tokens per -: 16000 of 16000, reset 0s")
	check("Azure", "x-ratelimit-remaining-requests: 19\nx-ratelimit-remaining-tokens: 19913", "requests per -: 19 of -1, reset -", "tokens per -: 19913 of -1, reset -")
	check("GitHub Models", `X-RateLimit-Limit-Requests: 20000
		X-RateLimit-Remaining-Requests: 19999
		X-RateLimit-RenewalPeriod-Requests: 60
		X-RateLimit-Reset-Requests: 3
		x-ratelimit-abusepenalty-active: False`,
		"requests per 1m0s: 19999 of 20000, reset 3s")
	check("Groq", `x-ratelimit-limit-requests: 14400
		x-ratelimit-remaining-requests: 14370
		x-ratelimit-reset-requests: 2m59.56s
		x-ratelimit-limit-tokens: 18000
		x-ratelimit-remaining-tokens: 17997
		x-ratelimit-reset-tokens: 7.66s`,
		"requests per -: 14370 of 14400, reset 2m59.56s", "tokens per -: 17997 of 18000, reset 7.66s")
	check("Mistral", `x-ratelimit-limit-tokens-minute: 5000000
		x-ratelimit-remaining-tokens-minute: 4999911
		x-ratelimit-tokens-query-cost: 52
		x-ratelimit-limit-req-minute: 720
		x-ratelimit-remaining-req-minute: 717`,
		"tokens per 1m0s: 4999911 of 5000000, reset -", "requests per 1m0s: 717 of 720, reset -")
	check("Mistral before", `ratelimitbysize-limit: 500000
		ratelimitbysize-remaining: 499900
		ratelimitbysize-reset: 28
		x-ratelimitbysize-remaining-month: 10
		x-ratelimitbysize-limit-month: 20`,
		"tokens per -: 499900 of 500000, reset 28s", "tokens per 720h0m0s: 10 of 20, reset -")
	check("Cerebras", `x-ratelimit-limit-requests-day: 1000000000
		x-ratelimit-remaining-requests-day: 999997455
		x-ratelimit-reset-requests-day: 33011.382867097855
		x-ratelimit-limit-tokens-minute: 1000000000
		x-ratelimit-remaining-tokens-minute: 999998298
		x-ratelimit-reset-tokens-minute: 11.5`,
		"requests per 24h0m0s: 999997455 of 1000000000, reset 9h10m11.382867097s", "tokens per 1m0s: 999998298 of 1000000000, reset 11.5s")
	check("Fireworks", `x-ratelimit-limit-tokens-prompt: 7200000
		x-ratelimit-remaining-tokens-prompt: 7193993
		x-ratelimit-limit-tokens-generated: 72000
		x-ratelimit-remaining-tokens-generated: 69338
		x-ratelimit-limit-tokens-cache-adjusted-prompt: 1
		x-ratelimit-over-limit: no`,
		"input tokens per -: 7193993 of 7200000, reset -", "output tokens per -: 69338 of 72000, reset -")
	check("Together", "x-ratelimit-limit: 10\nx-ratelimit-remaining: 9\nx-ratelimit-reset: 1\nx-tokenlimit-limit: 3000\nx-tokenlimit-remaining: 2000",
		"requests per -: 9 of 10, reset 1s", "tokens per -: 2000 of 3000, reset -")
	check("milliseconds since 1970", "X-Rate-Limit-Remaining: 3\nX-Rate-Limit-Limit: 20\nX-Rate-Limit-Reset: 1772366460000", "requests per -: 3 of 20, reset 1m0s")
	check("IETF, draft 6", "RateLimit-Limit: 100, 100;w=10\nRateLimit-Remaining: 50\nRateLimit-Reset: 7", "requests per -: 50 of 100, reset 7s")
	check("IETF, draft 7", "RateLimit: limit=100, remaining=50, reset=30\nRateLimit-Policy: 10;w=1, 100;w=60", "requests per 1m0s: 50 of 100, reset 30s")
	check("IETF, draft 8", `RateLimit-Policy: "burst";q=100;w=60, "day; all";q=1000;w=86400;qu="tokens"
		RateLimit: "burst";r=50;t=30, "day; all";r=5`,
		"requests per 1m0s: 50 of 100, reset 30s", "tokens per 24h0m0s: 5 of 1000, reset -")
	check("IETF, draft 8, the other way round", `RateLimit: "day";r=5, "burst";r=50;t=30
		RateLimit-Policy: "burst";q=100;w=60, "day";q=1000;w=86400;qu="tokens", "bytes";q=7;qu="content-bytes"`,
		"tokens per 24h0m0s: 5 of 1000, reset -", "requests per 1m0s: 50 of 100, reset 30s")
	check("nonsense", `x-ratelimit-remaining-requests: many
		x-ratelimit-remaining-tokens: -1
		x-ratelimit-limit-limit: 1
		x-ratelimit-input: 5
		x-ratelimit-remaining-images: 5
		x-ratelimit-reset-requests: tomorrow
		x-ratelimit-reset-tokens: 1d900h
		x-ratelimit-renewalperiod-tokens: 0
		RateLimit: ;;,=,"
		RateLimit-Policy: q=1
		limited: 1`)
}

func TestMoment(t *testing.T) {
	t.Parallel()
	check := func(value string, want time.Duration, ok bool) {
		t.Helper()
		got, _, understood := moment([]byte(value), readAt)
		if understood != ok || ok && got.Sub(readAt) != want {
			t.Errorf("%q: got %v, %v; want %v, %v", value, got.Sub(readAt), understood, want, ok)
		}
	}
	check("0", 0, true)
	check("1.5", 1500*time.Millisecond, true)
	check("250ms", 250*time.Millisecond, true)
	check("1d2h3m4.5s", 26*time.Hour+3*time.Minute+4500*time.Millisecond, true)
	check("7.66s", 7660*time.Millisecond, true)
	check("1772366410", 10*time.Second, true)
	check("1772366410000", 10*time.Second, true)
	check("1772366410000000", 10*time.Second, true)
	check("1772366400", 0, true)
	check("1672366400", 0, true) // past is now
	check("Sun, 01 Mar 2026 12:01:00 GMT", time.Minute, true)
	check("2026-03-01T13:00:30.5+01:00", 30*time.Second+500*time.Millisecond, true)
	for _, bad := range []string{"", "-1", "NaN", "Inf", "1e30", "5 parsecs", "s", ".s", "1.2.3s", "99999h", "2027-01-01T00:00:00Z", "3000000", "1e18d"} {
		check(bad, 0, false)
	}
}

// Whatever headers say, readings are in their bounds, and neither the order nor the case of the headers matters.
func FuzzHeaders(f *testing.F) {
	f.Add("x-ratelimit-limit-requests: 5\nx-ratelimit-remaining-requests: 4\nx-ratelimit-reset-requests: 1s", uint64(1))
	f.Add("anthropic-ratelimit-input-tokens-reset: 2026-03-01T12:00:30Z\nratelimitbysize-limit: 1e300", uint64(2))
	f.Add(`RateLimit-Policy: "a\";q=1;w=2;qu="tokens", 5;w=1`+"\n"+`RateLimit: "a\";r=1;t=5`, uint64(3))
	f.Add("ratelimit: limit=1, remaining=2, reset=3", uint64(4))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		var h Headers
		got := read(&h, text)
		for _, r := range h.Readings() {
			if r.Of >= dimensions || r.Limit < -1 || r.Remaining < -1 || r.Window < 0 || r.Window > maxWait || !r.Reset.IsZero() && (r.Reset.Before(readAt) || r.Reset.After(readAt.Add(maxWait))) {
				t.Fatalf("%+v", r)
			}
		}
		if again := read(&h, text); len(again) > 0 && len(got) == 0 {
			t.Fatalf("read twice: %q, before %q", again, got)
		}
		lines := strings.Split(strings.ToUpper(text), "\n")
		if !strings.Contains(text, ";") && !strings.Contains(strings.ToLower(text), "ratelimit:") && h.n < maxReadings {
			names := map[string]bool{}
			for _, l := range lines {
				name, _, _ := strings.Cut(strings.TrimSpace(l), ":")
				if names[name] {
					return // of two that say different things the last counts
				}
				names[name] = true
			}
			rand.New(rand.NewPCG(seed, 1)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
			var other Headers
			read(&other, strings.ToLower(strings.Join(lines, "\n")))
			if other.n != h.n && strings.ToLower(text) == text {
				t.Errorf("%q: %d limits in another order, %d before", text, other.n, h.n)
			}
		}
	})
}

func BenchmarkHeaders(b *testing.B) {
	var names, values [][]byte
	for line := range strings.Lines(`content-type: text/event-stream
openai-processing-ms: 120
x-ratelimit-limit-requests: 5000
x-ratelimit-limit-tokens: 160000
x-ratelimit-remaining-requests: 4999
x-ratelimit-remaining-tokens: 159976
x-ratelimit-reset-requests: 12ms
x-ratelimit-reset-tokens: 6m0s
cf-cache-status: DYNAMIC
date: Sun, 01 Mar 2026 12:01:00 GMT
`) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		names, values = append(names, []byte(name)), append(values, []byte(value))
	}
	var h Headers
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		for i := range names {
			h.Add(names[i], values[i], readAt)
		}
	}
}
