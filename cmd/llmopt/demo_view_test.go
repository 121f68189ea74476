package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// busyState is a demo that has been running for long.
func busyState() *demoState {
	sum := &controlpb.Summary{Requests: 9_876_543, Errors: 987_654, CostNanousd: 9_999_990_000_000}
	st := &demoState{
		elapsed: 90 * time.Second, clock: "18:00", load: &load.Stats{InFlight: 4096, Outcomes: make([]int64, len(window.Outcomes()))}, left: 1234, cancelled: 1234,
		status: &controlpb.GetStatusResponse{Total: sum}, total: sum,
		kept: &demoKeptState{Worth: 9_999_990_000_000, Refresh: 10_000_000, Saved: 9_999_980_000_000, Spent: 1_000_000_000, Kinds: []demoKind{
			{Class: "light", Stays: 20, Now: demoSpan{Seconds: 1.5, Requests: 100, Hits: 50, Stale: 25}}, {Class: "medium", Now: demoSpan{Seconds: 60, Requests: 9, Hits: 9}},
		}},
		shared: &demoSharedState{Target: demoBulk, Rate: 13.83, Waiting: 1000, Sent: 9_876_543, Refused: 987, Used: 1, words: "13.8 requests/s found by trial, 1000 wait", Callers: []demoCaller{
			{Name: demoNightly, Asks: 18.52, Answered: 12.21, Longest: 2}, {Name: demoSupport, Asks: 1.25, Answered: 1.25},
		}},
		savings: &optimizer.Savings{Routes: []optimizer.RouteSavings{{
			Route: demoRoute, Saved: optimizer.Estimate{Known: true, Value: .001234, Low: -.0001, High: .0026}, Part: optimizer.Estimate{Known: true, Value: .2, Low: -.1, High: .5},
		}}},
	}
	st.load.Outcomes[window.OK], st.load.Outcomes[window.Broken] = 8_888_888, 4
	for _, p := range demoProviders() {
		st.targets = append(st.targets, demoTarget{
			Name: p.name, Price: "$10.50/$42.00", State: "rate_limited", Share: 1, Got: 1, Exchanges: 9_876_543, Late: .999, TTFT: 12.34, Errors: 987_654, Cost: 99_999_990_000_000,
		})
		st.static = append(st.static, demoStatic{Policy: "all on " + p.name, Cost: 1234.5678})
	}
	st.load.Overhead.Record(55 * time.Microsecond)
	return st
}

// escapes are what a terminal does not show.
var escapes = regexp.MustCompile(`\x1b\[\??[0-9]*[a-zA-Z]`)

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
	if len(up) != 2 || up[1] != "21" || strings.Count(first, "\n") != 21 {
		t.Fatalf("got %q after %q, want it to begin 21 lines further up", second, first)
	}
	for _, frame := range []string{first, second} {
		if strings.Count(frame, clearLine+"\n") != 21 || !strings.HasSuffix(frame, clearBelow+wrap) || strings.Count(frame, noWrap) != 1 {
			t.Errorf("got frame %q", frame)
		}
		for line := range strings.Lines(escapes.ReplaceAllString(frame, "")) {
			if n := utf8.RuneCountInString(strings.Trim(line, "\r\n")); n > 110 {
				t.Errorf("a line of %d characters: %q", n, line)
			}
		}
	}
	if !strings.Contains(first, "1m30s of 1h, Ctrl-C ends it") || !strings.Contains(second, "1m30s of 1h, ending") ||
		!strings.Contains(first, "8888888 answered, 4 failed, 4096 waiting, 1234 left early") || !strings.Contains(first, "all on thrifty $1234.5678") ||
		!strings.Contains(first, "saved $9999.98 of the $10000.99 that its answers would have cost") ||
		!strings.Contains(escapes.ReplaceAllString(first, ""), "bulk: 13.8 requests/s found by trial, 1000 wait; 987 of 9876543 refused by it") {
		t.Errorf("got %q and %q", first, second)
	}
	out.Reset()
	v.end()
	if got := out.String(); !strings.HasPrefix(got, "\x1b[21A") || !strings.Contains(got, clearBelow) || !strings.HasSuffix(got, showCursor) {
		t.Errorf("at the end: got %q, want the live part cleared and the cursor back", got)
	}
}

// What has happened stays above the table, which is drawn again below it.
func TestDemoScreen_TellsAboveTheTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := &demoScreen{c: &demoCmd{For: time.Hour}, w: &out}
	v.show(busyState())
	out.Reset()
	v.tell(&demoEvent{Clock: "08:00", Who: "script", What: "a \x1bthing"})
	want := regexp.MustCompile(`(?s)^\x1b\[21A\r.*08:00  script     a \?thing\n\r.*day 18:00.*requests .*its cache .*its provider `)
	if got := out.String(); !want.MatchString(got) || v.lines != 21 {
		t.Errorf("got %q, %d lines", got, v.lines)
	}
}

func TestDemoLines_FitAScreen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := &demoLines{w: &out}
	v.show(busyState())
	const want = "18:00  8888888 answered, 4 failed, 1234 left, swift 100% steady 100% thrifty 100%, $9999.99, overhead p50 55µs\n" +
		"18:00  helpdesk keeps light 1.5s: 50% hits, 50% stale; medium 1m: 100% hits; saved $9999.98\n" +
		"18:00  batch: nightly gets 12.2 of 18.5/s, support 1.2 of 1.2; bulk at 13.8/s, 1000 wait, 987 refused\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The summary has the proof as it is, doubt included.
func TestDemoProof_SaysWhenItIsUncertain(t *testing.T) {
	t.Parallel()
	check := func(st *demoState, want string, not string) {
		t.Helper()
		var out bytes.Buffer
		appendDemoProof(&out, st, false)
		if got := out.String(); !strings.Contains(got, want) || not != "" && strings.Contains(got, not) {
			t.Errorf("got %s, want %q and not %q", got, want, not)
		}
	}
	st := busyState()
	check(st, "nothing that stands out from chance", "")
	check(st, "intervals shrink with traffic", "")
	r := &st.savings.Routes[0]
	r.Saved, r.Sure = optimizer.Estimate{Known: true, Value: 2, Low: 1, High: 3}, true
	check(st, "saved $2.00 ± 1.00", "intervals")
	r.Missing = "there are none"
	check(st, "not yet measurable: there are none", "intervals")
	st.savings = nil
	check(st, "nothing is known yet", "")
}

// Sentences go on below where they began, no line is too long, and numbers stay with their percent signs.
func TestAppendWrapped(t *testing.T) {
	t.Parallel()
	check := func(text, want string) {
		t.Helper()
		var out bytes.Buffer
		appendWrapped(&out, "08:00  ", 7, text)
		if got := out.String(); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	long, full := strings.Repeat("x", demoWidth), strings.Repeat("x", demoWidth-7)
	check("", "08:00  \n")
	check("one two\x1b", "08:00  one two?\n")
	check(full+" y", "08:00  "+full+"\n       y\n")
	check(full[:88]+" 95 % y", "08:00  "+full[:88]+" 95 %\n       y\n")
	check(full[:89]+" 95 % y", "08:00  "+full[:89]+"\n       95 % y\n")
	check(long+" y", "08:00  "+long+"\n       y\n")
}

// Whatever has changed is no decision, and what the caching tuner has decided stands with what came of it.
func TestDemoSummary_CountsDecisions(t *testing.T) {
	t.Parallel()
	told := []demoEvent{
		{Clock: "01:00", Who: "optimizer", Tuner: "routing", What: "moved something"}, {Clock: "02:00", Who: "optimizer", Tuner: "loop", What: "noticed: a price"},
		{Clock: "03:00", Who: "optimizer", Tuner: cachingTuner, What: "helpdesk now keeps answers shorter"}, {Clock: "04:00", Who: "reflex", What: "a is ejected"},
		{Clock: "05:00", Who: "reflex", Route: demoShared, What: "bulk is kept to less"},
	}
	var out bytes.Buffer
	appendDemoDecisions(&out, told, false)
	if got := out.String(); !strings.HasPrefix(got, "Decided: 1 times a cheaper mix, 0 times room for incidents; reflexes acted 1 times.\n") || strings.Contains(got, "shorter") ||
		!strings.Contains(got, "02:00  noticed: a price") {
		t.Errorf("got %s", got)
	}
	out.Reset()
	st := busyState()
	st.kept.Kinds[0].Spans = []demoSpan{{Clock: "00:00", Seconds: 10, Requests: 100, Hits: 80, Stale: 20}, {Clock: "03:00", Seconds: 2, Requests: 50, Hits: 30}}
	appendDemoKeptSummary(&out, st, told, false)
	for _, want := range []string{
		"The cache of helpdesk saved $9999.98 of the $10000.99 that", "\n  03:00  now keeps answers shorter\n",
		"  light: change every 20s          10s  00:00       100         80%          25%\n", "                                    2s  03:00        50         60%           0%\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant it to contain %q", out.String(), want)
		}
	}
}
