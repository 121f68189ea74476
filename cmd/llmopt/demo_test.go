package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// demo runs the command as a user does and returns what it printed.
func demo(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), append([]string{"demo"}, args...), environ, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("%v: status %d, stderr %q", args, code, errs.String())
	}
	return out.String()
}

// Not parallel: it looks at all goroutines.
func TestDemo_EndsByItselfAndLeavesNothing(t *testing.T) {
	// What the user has set for serve must not get in the way, nor be used.
	environ := []string{"OPTIMIZER_PROVIDERS__OPENAI__BASE_URL=nonsense", "OPTIMIZER_SERVER__LISTEN=nonsense"}
	out := demo(t, environ, "--for", "1s", "--rate", "60")
	for _, want := range []string{
		"llmopt demo: 4 simulated providers", "for 1s.\n", "curl -N http://127.0.0.1:", "  OPENAI_BASE_URL=http://127.0.0.1:",
		"\nopenai/gpt-4.1-mini ", "\nselfhosted/llama-3.3-70b ", "\ntotal ", "\nown overhead  p50 ", "\n  llmopt serve\n",
		"\n  ANTHROPIC_BASE_URL=http://127.0.0.1:8080/anthropic\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant it to contain %q", out, want)
		}
	}
	if !regexp.MustCompile(`client left: seen [1-9]\d* of [1-9]\d*\n`).MatchString(out) {
		t.Errorf("got\n%s\nwant cancellations seen", out)
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("got escape sequences where there is no terminal: %q", out)
	}
	intro, _, _ := strings.Cut(out, "\nNext: ")
	for _, addr := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(intro, -1) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("something still listens at %s", addr)
		}
	}
	stacks := make([]byte, 1<<20)
	eventually(t, "no goroutine left behind", 10*time.Second, func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		for _, part := range []string{"/bench/load.", "/bench/sim.", module + "/proxy", "/optimizer/control.", "net/http."} {
			if strings.Contains(all, part) {
				return false
			}
		}
		return true
	})
}

// Not beside other tests: it counts what happens within milliseconds.
func TestDemo_JSONAddsUp(t *testing.T) {
	out := demo(t, nil, "--for", "2s", "--rate", "40", "--no-faults", "--json", "--seed", "7")
	var got demoReport
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Faults || got.Seed != 7 || got.Rate != 40 || got.Seconds < 1 {
		t.Errorf("got faults %v, seed %d, rate %v, %v s", got.Faults, got.Seed, got.Rate, got.Seconds)
	}
	// On a machine that is busy with other things clients are cut while they still send, or leave when the provider has just
	// finished. That are few.
	near := func(what string, n, want int64) {
		t.Helper()
		if n > want || n < want*9/10 {
			t.Errorf("%s: got %d, want %d or a little less", what, n, want)
		}
	}
	ok, canceled := window.OK.String(), window.Canceled.String()
	if got.Clients.Sent < 30 || got.Outcomes[ok] == 0 || got.ClientsLeft == 0 {
		t.Errorf("got %d sent, outcomes %v, %d left", got.Clients.Sent, got.Outcomes, got.ClientsLeft)
	}
	near("requests of those sent", got.Requests, got.Clients.Sent)
	near("requests without errors", got.Outcomes[ok]+got.Outcomes[canceled], got.Requests)
	near("requests whose clients saw the end", got.Clients.Outcomes[ok], got.Outcomes[ok])
	near("cancellations seen", got.CallsCancelled, got.ClientsLeft)
	if got.Tokens.Input == 0 || got.Tokens.CacheRead == 0 || got.Tokens.CacheWrite == 0 || got.Tokens.Output == 0 || got.Tokens.Reasoning == 0 || got.Cost == 0 {
		t.Errorf("got tokens %+v, cost %d", got.Tokens, got.Cost)
	}
	if n := got.Overhead.Count; n < got.Outcomes[ok] || got.Overhead.P50 <= 0 || got.Overhead.P99 < got.Overhead.P50 {
		t.Errorf("got overhead %+v", got.Overhead)
	}
	var calls int64
	for _, p := range got.Providers {
		calls += p.Total()
	}
	if len(got.Providers) != 4 {
		t.Errorf("got providers %v", got.Providers)
	}
	near("calls of providers", calls, got.Requests)
	var status struct{ Targets []struct{ Target string } }
	if err := json.Unmarshal(got.Status, &status); err != nil || len(status.Targets) != 6 {
		t.Errorf("got status %s, %v", got.Status, err)
	}
}

func TestDemo_ContextEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := newCapture()
	exited := make(chan int, 1)
	go func() { exited <- run(ctx, []string{"demo", "--for", "1h"}, nil, out, out) }()
	<-out.line
	cancel()
	if code := <-exited; code != 0 || !strings.Contains(out.String(), "\nNext: ") {
		t.Errorf("status %d, printed %s", code, out)
	}
}

func TestDemo_UsageErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--for", "0s"}, {"--for=-1s"}, {"--for", "25h"}, {"--rate", "0"}, {"--rate", "NaN"}, {"--rate", "1001"}, {"--seed=-1"}, {"more"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"demo"}, args...), nil, &out, &out); code != 2 {
			t.Errorf("%v: status %d, want 2: %s", args, code, out.String())
		}
	}
}

func TestCallsLeft(t *testing.T) {
	t.Parallel()
	check := func(clients, exchanges, attempts, want int64) {
		t.Helper()
		if got := callsLeft(clients, exchanges, attempts); got != want {
			t.Errorf("callsLeft(%d, %d, %d): got %d, want %d", clients, exchanges, attempts, got, want)
		}
	}
	check(5, 5, 5, 5)
	check(5, 5, 4, 4) // one left before a provider was called
	check(5, 7, 7, 7) // two others were started by hand
	check(5, 3, 3, 5) // the proxy has not noticed two of them, or not yet
	check(0, 0, 0, 0)
}

// busyState is a demo that has been running for long.
func busyState() *demoState {
	sum := &controlpb.Summary{
		Requests: 9_876_543, Errors: 987_654, TokensInput: 45_600_000, TokensCacheRead: 123_000_000, TokensCacheWrite: 1, TokensOutput: 12_300_000,
		CostNanousd: 9_999_990_000_000, Outcomes: map[string]int64{"ok": 1, "canceled": 2, "rate_limited": 30, "broken": 4, "upstream_error": 4},
		TtftSeconds: &controlpb.Quantiles{Count: 1, P50: 12.34, P95: 59.99},
	}
	st := &demoState{elapsed: 90 * time.Second, load: &load.Stats{InFlight: 4096}, left: 1234, cancelled: 1234, status: &controlpb.GetStatusResponse{Total: sum}}
	for _, name := range []string{"anthropic/claude-sonnet-4-5", "openai/text-embedding-3-small"} {
		st.status.Targets = append(st.status.Targets, &controlpb.TargetStatus{Target: name, Summary: sum})
	}
	st.load.Overhead.Record(55 * time.Microsecond)
	return st
}

func TestDemoScreen_RedrawsInPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := &demoScreen{c: &demoCmd{For: time.Hour}, w: &out, ink: true}
	st := busyState()
	v.show(st)
	first := out.String()
	out.Reset()
	st.ending = true
	v.show(st)
	second := out.String()
	up := regexp.MustCompile(`^\x1b\[(\d+)A\r`).FindStringSubmatch(second)
	if len(up) != 2 || up[1] != "10" || strings.Count(first, "\n") != 10 {
		t.Fatalf("got %q after %q, want it to begin 10 lines further up", second, first)
	}
	for _, frame := range []string{first, second} {
		if strings.Count(frame, clearLine+"\n") != 10 || !strings.HasSuffix(frame, clearBelow+wrap) || strings.Count(frame, noWrap) != 1 {
			t.Errorf("got frame %q", frame)
		}
		for line := range strings.Lines(regexp.MustCompile(`\x1b\[\??[0-9]*[a-zA-Z]`).ReplaceAllString(frame, "")) {
			if n := utf8.RuneCountInString(strings.Trim(line, "\r\n")); n > 100 {
				t.Errorf("a line of %d characters: %q", n, line)
			}
		}
	}
	if !strings.Contains(first, "1m30s of 1h, Ctrl-C ends it") || !strings.Contains(second, "1m30s of 1h, ending") ||
		!strings.Contains(first, "rate_limited 30, broken 4, upstream_error 4") || !strings.Contains(first, "saw 1234 of 1234 calls") {
		t.Errorf("got %q and %q", first, second)
	}
	out.Reset()
	v.end()
	if got := out.String(); !strings.HasPrefix(got, "\x1b[10A") || !strings.Contains(got, clearBelow) || !strings.HasSuffix(got, showCursor) {
		t.Errorf("at the end: got %q, want the live part cleared and the cursor back", got)
	}
}

func TestDemoLines_FitAScreen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := &demoLines{w: &out}
	v.show(busyState())
	const want = "1m30s  9876543 done, 10.0% errors, 4096 in flight, 1234 left, tokens 169M in, 12.3M out, $9999.99, overhead p50 55µs\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInk(t *testing.T) {
	t.Parallel()
	if got := ink(true).bold("x"); got != "\x1b[1mx\x1b[0m" {
		t.Errorf("got %q", got)
	}
	if got := ink(true).dim("") + ink(false).bold("x"); got != "x" {
		t.Errorf("got %q, want no escape sequences", got)
	}
}
