package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// boastful is a provider that lets real requests through in each second, and tells of told. It does not say how many tokens its answers have.
type boastful struct {
	told, real int
	takes      time.Duration // an answer

	mu      sync.Mutex
	second  int64
	sent    int // in it
	refused int // in all
	flying  int // at a time
	peak    int // since most was called
}

func (b *boastful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	through, now := true, time.Now()
	b.mu.Lock()
	b.flying++
	b.peak = max(b.peak, b.flying)
	if b.told > 0 {
		if second := now.Unix(); second != b.second {
			b.second, b.sent = second, 0
		}
		if through = b.sent < b.real; through {
			b.sent++
		} else {
			b.refused++
		}
		w.Header().Set("x-ratelimit-limit-requests", strconv.Itoa(b.told))
		w.Header().Set("x-ratelimit-remaining-requests", strconv.Itoa(b.told-b.sent))
		w.Header().Set("x-ratelimit-reset-requests", fmt.Sprintf("%dms", now.Truncate(time.Second).Add(time.Second).Sub(now).Milliseconds()))
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.flying--
		b.mu.Unlock()
	}()
	if !through {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"Rate limit reached.","type":"requests","code":"rate_limit_exceeded"}}`)
		return
	}
	<-time.After(b.takes)
	_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hi there."},"finish_reason":"stop"}]}`)
}

func (b *boastful) refusals() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// most is how many requests were under way at a time since it was last asked.
func (b *boastful) most() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.peak
	b.peak = b.flying
	return n
}

// tunedLimits serves a route to the provider, with the tuner of limits in force.
func tunedLimits(t *testing.T, b *boastful, more string) *served {
	t.Helper()
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	file := newSettingsFile(t, `
[schedule]
optimize = ""
[optimizer]
cool_down = "0s"
max_per_hour = 3600
holdback = 0
[optimizer.limits]
mode = "auto"
`+more+`
[[routes]]
name = "chat"
match = { model = ["gpt-4o"] }
retry_on = []
targets = [{ name = "a", provider = "openai", key = "env:KEY" }]
`)
	return serveFile(t, file.path, srv.URL, "KEY=k", "OPTIMIZER_STORAGE__DIR="+t.TempDir(), "OPTIMIZER_SERVER__HASH_KEY=secret")
}

// crowd sends requests from so many clients at a time for a while, and tells how many were served and how many were not.
func (g *served) crowd(clients int, lasts time.Duration) (served, refused int64) {
	g.t.Helper()
	var yes, no atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(lasts)
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				req, _ := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(`{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}`))
				req.Header.Set("Authorization", "Bearer k")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					yes.Add(1)
					continue
				}
				no.Add(1)
				<-time.After(20 * time.Millisecond) // an SDK would wait, too
			}
		})
	}
	wg.Wait()
	return yes.Load(), no.Load()
}

// A provider allows 5 % less than its headers tell: less of what they tell is used, until it refuses nothing any more.
func TestE2E_LimitsOverstatedShareComesDown(t *testing.T) {
	t.Parallel()
	b := &boastful{told: 40, real: 38, takes: 10 * time.Millisecond}
	g := tunedLimits(t, b, "[provider_defaults.pacing]\nmax_wait = \"150ms\"\n")
	g.cli(0, "optimizer", "run")
	quiet, first := 0, 0
	for round := 0; round < 30 && quiet < 2; round++ {
		before := b.refusals()
		g.crowd(30, time.Second)
		if n := b.refusals() - before; n > 0 {
			first, quiet = first+n, 0
		} else {
			quiet++
		}
		g.cli(0, "optimizer", "run")
	}
	if first == 0 || quiet < 2 {
		t.Errorf("%d refused, then %d seconds without", first, quiet)
	}
	want(t, "status", g.cli(0, "optimizer"), `chat .*limits auto.* pace/a 0\.97 → 0\.9\d`)
	want(t, "journal", g.cli(0, "journal"), `chat now uses 95 % of the limits that a tells of in place of 97 %: requests are answered\s+by 429 though what it tells is kept to`)
	want(t, "show", g.cli(0, "journal", "show", "d1"), `(?s)Limits of providers\s+TARGET +USED +ATTEMPTS +ANSWERED BY 429.*a +97 % +\d+ +\d+ .*pace/a +0\.97 → 0\.95`)
	want(t, "replay", g.cli(0, "journal", "replay"), `[1-9]\d* decisions: ([1-9]\d*) come out as they did, 0 otherwise`)
	want(t, "pin", g.cli(0, "optimizer", "pin", "chat", "pace/a", "0.9", "--by=ann"), `ann pinned pace/a to 0.9`)
	want(t, "reset", g.cli(0, "optimizer", "reset", "chat"), `put the route back`)
	want(t, "reset", g.cli(0, "optimizer"), `chat .* nothing`)
}

// Of answers whose length a provider does not tell, far too much output is reserved at a limit of output tokens: less is, until twice as many get through at a time.
func TestE2E_LimitsReservationsComeDown(t *testing.T) {
	t.Parallel()
	b := &boastful{takes: 100 * time.Millisecond}
	g := tunedLimits(t, b, "[admission]\nmax_wait = \"0s\"\n[[limits]]\noutput_tokens_per_minute = 10_000\n")
	g.cli(0, "optimizer", "run")
	g.crowd(60, 200*time.Millisecond)
	before := b.most()
	tuned := func() string { return g.cli(0, "optimizer") }
	for round := 0; round < 20 && !strings.Contains(tuned(), "limit_output 1 → 0.4096"); round++ {
		g.crowd(30, 500*time.Millisecond)
		g.cli(0, "optimizer", "run")
	}
	want(t, "status", tuned(), `limit_output 1 → 0\.4096`)
	want(t, "journal", g.cli(0, "journal"), `chat now\s+reserves\s+0\.8\s+times\s+the\s+output\s+that\s+answers\s+are\s+thought\s+not\s+to\s+exceed`)
	b.most()
	g.crowd(60, 200*time.Millisecond)
	if after := b.most(); before > 10 || after < 20 || after > 24 {
		t.Errorf("%d at a time, then %d", before, after)
	}
}
