package sim

import (
	"testing"
	"time"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	now := fixed()
	a := NewAccount(MustQuota("requests=60/m,tokens=6000/m,concurrent=2"))
	check := func(input, output int, through bool, wait time.Duration) {
		t.Helper()
		if w, ok := a.Ask(now, input, output); ok != through || w != wait {
			t.Errorf("%d and %d tokens: %v, %v; want %v, %v", input, output, ok, w, through, wait)
		}
	}
	check(1000, 5500, true, 0)
	a.Done()
	check(100, 100, false, 6*time.Second) // 500 of debt, 100 a second
	const told = "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n" +
		"x-ratelimit-limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1m5s\r\n"
	if got := string(a.Headers(nil, now)); got != told {
		t.Errorf("headers %q", got)
	}
	now = now.Add(10 * time.Second)
	check(100, 100, true, 0)
	check(100, 100, true, 0)
	check(100, 100, false, time.Second) // a third at a time
	a.Done()
	a.Set(now, MustQuota("requests=60/m,headers=off,retry-after=off"))
	check(100, 100, true, 0)
	if got := a.Headers(nil, now); len(got) != 0 || !a.Silent() {
		t.Errorf("hidden: %q", got)
	}
	if total := a.Totals(now); total.Through != 4 || total.Refused != 2 || total.Taken[measureRequests] != 4 || total.Allowed[measureRequests] != 10 || total.Allowed[measureTokens] != 1000 {
		t.Errorf("totals %+v", total)
	}
}
