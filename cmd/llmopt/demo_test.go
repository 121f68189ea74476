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

	"llm-auto-optimizer/analysis/window"
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
	out := demo(t, environ, "--for", "2s", "--rate", "60")
	for _, want := range []string{
		"llmopt demo: a day in 2s. 3 simulated providers", "curl -N http://127.0.0.1:", " holdback=0.2", "  llmopt savings --admin http://127.0.0.1:",
		"\nSecond route, helpdesk: it keeps its answers for 10s", "  light    60 short questions, whose answers change every 4s\n", "\nThe cache of helpdesk ",
		"\nThird route, batch: two callers share bulk", "  script     bulk lets no more than 6 requests/s through", "\nThe hidden limit of bulk: ", "\n  support  all day ",
		"\nswift    $3.00/$12.00 ", "\nthrifty  $1.50/$6.00 ", "  script     thrifty raises its price from $0.30/$1.20 to $1.50/$6.00 per million tokens",
		"  script     steady goes out", "  script     a slow drip", "\nDecided: ", "\nMeasured against the hold-back", "\nComputed: ", "\n  all on swift ",
		"\nown overhead  p50 ", "\n  llmopt serve\n", "\n  OPENAI_BASE_URL=http://127.0.0.1:8080/openai\n", "\n  ANTHROPIC_BASE_URL=http://127.0.0.1:8080/anthropic\n",
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
	var got demoReport
	for range 3 { // where the machine stands still for a while, many clients leave when the provider has just finished: once more, then
		out := demo(t, nil, "--for", "3s", "--rate", "80", "--no-faults", "--json", "--seed", "7")
		got = demoReport{}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got.CallsCancelled >= got.ClientsLeft*9/10 {
			break
		}
	}
	if got.Faults || got.Seed != 7 || got.Rate != 80 || got.Seconds < 1 {
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
	if got.Tokens.Input == 0 || got.Tokens.Output == 0 || got.Cost == 0 {
		t.Errorf("got tokens %+v, cost %d", got.Tokens, got.Cost)
	}
	if n := got.Overhead.Count; n < got.Outcomes[ok] || got.Overhead.P50 <= 0 || got.Overhead.P99 < got.Overhead.P50 {
		t.Errorf("got overhead %+v", got.Overhead)
	}
	var calls int64
	for _, p := range got.Providers {
		calls += p.Total()
	}
	if len(got.Providers) != 3 {
		t.Errorf("got providers %v", got.Providers)
	}
	near("calls of providers", calls, got.Requests)
	var status struct{ Targets []struct{ Target string } }
	if err := json.Unmarshal(got.Status, &status); err != nil || len(status.Targets) != 5 {
		t.Errorf("got status %s, %v", got.Status, err)
	}
	var answers, attempts, spent int64
	for _, target := range got.Targets {
		answers, attempts, spent = answers+target.Exchanges, attempts+target.Attempts, spent+target.Cost
	}
	near("attempts in the table", attempts, got.Requests)
	near("exchanges in the book", answers, got.Clients.Sent)
	near("cost in the book", spent, got.Cost)
	if len(got.Static) != 4 || got.Static[1].Policy != "all on swift" || got.Static[1].Cost <= got.Static[2].Cost || got.Spent <= 0 || got.Spent > got.Static[1].Cost {
		t.Errorf("spent $%v, computed %+v", got.Spent, got.Static)
	}
	k := got.Kept
	if k == nil || len(k.Kinds) != 2 || k.Kinds[0].Class != "light" || k.Requests < 30 || k.Worth <= 0 || k.Spent <= 0 || k.Saved != k.Worth-k.Refresh {
		t.Fatalf("got %+v of the kept answers", k)
	}
	var requests int64
	for i := range k.Kinds {
		kind := &k.Kinds[i]
		for _, s := range append(kind.Spans, kind.Heldback) {
			if requests += s.Requests; s.Hits > s.Requests || s.Stale > s.Hits || s.Seconds != demoKeptFor.Seconds() && s.Seconds < 1 {
				t.Errorf("got %+v of the %s ones", s, kind.Class)
			}
		}
	}
	if requests != k.Requests {
		t.Errorf("%d requests by class, %d in all", requests, k.Requests)
	}
	shared := got.Shared
	if shared == nil || shared.Storm != nil || len(shared.Callers) != 2 {
		t.Fatalf("got %+v of the shared route", shared)
	}
	requests = 0
	for i := range shared.Callers {
		all := shared.Callers[i].part(demoDayLong)
		if requests += all.Requests; all.Requests != all.Answered+all.OwnLimit+all.NoRoom+all.Refused+all.Other {
			t.Errorf("got %+v", shared.Callers[i])
		}
	}
	if requests != shared.Requests || requests == 0 || shared.Refused != 0 {
		t.Errorf("%d requests by caller, got %+v", requests, shared)
	}
	if len(got.Events) == 0 || got.Events[0].Who == "" || got.Savings == nil {
		t.Errorf("got events %+v, savings %+v", got.Events, got.Savings)
	}
}

// The tuner of the cache finds out which answers change and which don't: it keeps the ones shorter and the others longer than is configured.
func TestDemo_TunesTheCache(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := newCapture()
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, []string{"demo", "--for", "2m", "--no-faults"}, nil, out, out)
	}()
	told := func() string { return strings.Join(strings.Fields(out.String()), " ") }
	eventually(t, "both are decided", 90*time.Second, func() bool {
		text := told()
		return strings.Contains(text, "optimizer helpdesk now keeps answers shorter, light ones for ") &&
			strings.Contains(text, "optimizer helpdesk now keeps answers longer, medium ones for ")
	})
	cancel()
	if code := <-exited; code != 0 {
		t.Fatalf("status %d, printed %s", code, out)
	}
	_, summary, _ := strings.Cut(told(), "The cache of helpdesk saved $")
	first := regexp.MustCompile(`light: change every 20s 10s 00:\d\d [1-9]\d* (\d+)% (\d+)% `).FindStringSubmatch(summary)
	if len(first) != 3 || first[1] == "0" || first[2] == "0" {
		t.Errorf("of what changes none was stale before: %s", summary)
	}
	if !regexp.MustCompile(`medium: never change 10s 00:\d\d [1-9]\d* \d+% 0% (1[1-9]|[2-6]\d)`).MatchString(summary) {
		t.Errorf("what never changes is not kept longer: %s", summary)
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

func TestInk(t *testing.T) {
	t.Parallel()
	if got := ink(true).bold("x"); got != "\x1b[1mx\x1b[0m" {
		t.Errorf("got %q", got)
	}
	if got := ink(true).dim("") + ink(false).bold("x"); got != "x" {
		t.Errorf("got %q, want no escape sequences", got)
	}
}
