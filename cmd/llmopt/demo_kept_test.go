package main

import (
	"fmt"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// keptLog is an account of the second route that is written by lines of the access log.
type keptLog struct {
	*demoBook
	t *testing.T
}

func (l *keptLog) line(at time.Time, class, arm, cache string, age float64, tokens int) {
	l.t.Helper()
	saved, cost := 0, 100
	if cache == "hit" || cache == "coalesced" {
		saved, cost = 100, 0
	}
	if _, err := fmt.Fprintf(l, `{"time":%d,"route":%q,"class":%q,"arm":%q,"cache":%q,"cache_age_s":%g,"tokens_input":%d,"saved_nanousd":%d,"cost_nanousd":%d}`+"\n",
		at.UnixMilli(), demoCached, class, arm, cache, age, tokens, saved, cost); err != nil {
		l.t.Fatal(err)
	}
}

// What came is told apart by the time to live that was in force, the hold-back has an account of its own, and a hit is stale where the provider would say something else.
func TestDemoKept_AccountsByWhatIsInForce(t *testing.T) {
	t.Parallel()
	asked := demoAsked(2 * time.Minute)
	l := &keptLog{newDemoBook(asked), t}
	const tokens = 50
	start := time.Now().Truncate(time.Millisecond)
	for sim.Version(start, asked[0].stays, tokens) == sim.Version(start.Add(-time.Millisecond), asked[0].stays, tokens) { // just changed
		start = start.Add(time.Millisecond)
	}
	ttl := func(light, medium float64) [policy.Classes]float64 { return [policy.Classes]float64{light, medium, 10} }
	l.inForce(start, "00:00", ttl(10, 10))
	l.line(start, "light", "treated", "miss", 0, tokens)
	l.line(start.Add(time.Second), "light", "treated", "hit", 5, tokens)   // of before the change
	l.line(start.Add(time.Second), "light", "treated", "hit", .95, tokens) // stored after it, but asked for before
	l.line(start.Add(time.Second), "light", "treated", "hit", .8, tokens)
	l.line(start.Add(time.Second), "light", "holdback", "hit", 5, tokens)
	l.line(start.Add(time.Second), "light", "treated", "coalesced", 0, tokens)
	l.line(start.Add(time.Second), "light", "treated", "refresh", 0, tokens)
	l.line(start.Add(time.Second), "medium", "treated", "hit", 500, tokens) // never changes
	l.line(start.Add(time.Second), "heavy", "treated", "hit", 500, tokens)  // by hand
	l.inForce(start.Add(2*time.Second), "01:00", ttl(2, 10))
	l.line(start.Add(3*time.Second), "light", "treated", "hit", 1, tokens)
	l.line(start.Add(time.Second), "light", "treated", "miss", 0, tokens) // has begun before, and ends now
	st := l.keeps(start.Add(3 * time.Second))
	light, medium := st.Kinds[0], st.Kinds[1]
	check := func(what string, s demoSpan, clock string, seconds float64, requests, hits, stale int64) {
		t.Helper()
		s.from = time.Time{}
		if want := (demoSpan{Clock: clock, Seconds: seconds, Requests: requests, Hits: hits, Stale: stale}); s != want {
			t.Errorf("%s: got %+v, want %+v", what, s, want)
		}
	}
	if len(light.Spans) != 2 || len(medium.Spans) != 1 {
		t.Fatalf("got %+v and %+v", light.Spans, medium.Spans)
	}
	check("before", light.Spans[0], "00:00", 10, 6, 4, 2)
	check("after", light.Spans[1], "01:00", 2, 1, 1, 0)
	check("held back", light.Heldback, "00:00", 10, 1, 1, 1)
	check("now", light.Now, "01:00", 2, 7, 5, 2)
	check("what never changes", medium.Spans[0], "00:00", 10, 1, 1, 0)
	if st.Requests != 10 || st.Worth != 800 || st.Refresh != 100 || st.Saved != 700 || st.Spent != 200 {
		t.Errorf("got %+v", st)
	}
	if n := l.exchanges(); n != 0 {
		t.Errorf("%d exchanges of the first route", n)
	}
	if now := l.keeps(start.Add(time.Minute)).Kinds[0].Now; now.Requests != 0 || now.Seconds != 2 {
		t.Errorf("a minute later: %+v", now)
	}
}

// What the targets of the second and the third route have had is no part of what the day's story is about.
func TestTotalOf_LeavesTheOtherRoutesOut(t *testing.T) {
	t.Parallel()
	sum := &controlpb.Summary{
		Requests: 3, Errors: 1, Outcomes: map[string]int64{"ok": 2, "timeout": 1}, TokensInput: 5, TokensCacheRead: 6, TokensCacheWrite: 7, TokensOutput: 8, TokensReasoning: 9,
		CostNanousd: 10, Estimated: 11, Unpriced: 12,
	}
	total := totalOf(&controlpb.GetStatusResponse{Targets: []*controlpb.TargetStatus{
		{Target: demoRoute + "/a", Summary: sum}, {Target: demoCached + "/" + demoDesk, Summary: sum}, {Target: demoShared + "/" + demoBulk, Summary: sum},
		{Target: "direct/b", Summary: sum},
	}})
	want := `requests:6 errors:2 outcomes:{ok:4, timeout:2} 10, 12, 14, 16, 18, 20, 22, 24`
	got := fmt.Sprintf("requests:%d errors:%d outcomes:{ok:%d, timeout:%d} %d, %d, %d, %d, %d, %d, %d, %d", total.GetRequests(), total.GetErrors(), total.GetOutcomes()["ok"], total.GetOutcomes()["timeout"],
		total.GetTokensInput(), total.GetTokensCacheRead(), total.GetTokensCacheWrite(), total.GetTokensOutput(), total.GetTokensReasoning(), total.GetCostNanousd(), total.GetEstimated(), total.GetUnpriced())
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
