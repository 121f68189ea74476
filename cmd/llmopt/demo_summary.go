package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// conclude prints what the demo has shown.
func (c *demoCmd) conclude(env *environment, s *demoStage, st *demoState) error {
	if c.JSON {
		report, err := c.report(s, st)
		if err != nil {
			return err
		}
		return printJSON(env.stdout, report)
	}
	pen := inkFor(env)
	defaults, err := config.Load(config.Options{})
	if err != nil {
		panic("BUG: defaults: " + err.Error())
	}
	var out bytes.Buffer
	appendDemoSummary(&out, s, st, pen)
	fmt.Fprintf(&out, "\n%s\n", pen.bold("Next: your own traffic. The keys stay with your programs."))
	out.WriteString("  llmopt serve\n")
	appendBaseURLs(&out, listenURL(defaults.Server.Listen, false))
	out.WriteString("  llmopt status --watch\n")
	_, err = env.stdout.Write(out.Bytes())
	return err
}

// totalOf sums up what the targets have had, without those of the second and the third route.
func totalOf(st *controlpb.GetStatusResponse) *controlpb.Summary {
	sum := &controlpb.Summary{Outcomes: map[string]int64{}}
	for _, t := range st.GetTargets() {
		if name := t.GetTarget(); strings.HasPrefix(name, demoCached+"/") || strings.HasPrefix(name, demoShared+"/") {
			continue
		}
		s := t.GetSummary()
		sum.Requests += s.GetRequests()
		sum.Errors += s.GetErrors()
		for outcome, n := range s.GetOutcomes() {
			sum.Outcomes[outcome] += n
		}
		sum.TokensInput += s.GetTokensInput()
		sum.TokensCacheRead += s.GetTokensCacheRead()
		sum.TokensCacheWrite += s.GetTokensCacheWrite()
		sum.TokensOutput += s.GetTokensOutput()
		sum.TokensReasoning += s.GetTokensReasoning()
		sum.CostNanousd += s.GetCostNanousd()
		sum.Estimated += s.GetEstimated()
		sum.Unpriced += s.GetUnpriced()
	}
	return sum
}

func appendDemoSummary(out *bytes.Buffer, s *demoStage, st *demoState, pen ink) {
	t := st.total
	fmt.Fprintf(out, "%s\n\n", pen.bold(fmt.Sprintf("%d requests in %s: %d answered, %d failed, %d left by their client.", st.load.Sent,
		config.FormatDuration(st.elapsed.Round(100*time.Millisecond)), st.load.Outcomes[window.OK], fruitless(st), st.load.Outcomes[window.Canceled])))
	appendDemoTargets(out, st, pen)
	out.WriteByte('\n')
	appendDemoDecisions(out, s.day.told, pen)
	appendDemoProof(out, st, pen)
	appendDemoStatics(out, s.book, st, pen)
	appendDemoKeptSummary(out, st, s.day.told, pen)
	appendDemoSharedSummary(out, st, pen)
	read := t.GetTokensCacheRead() + t.GetTokensCacheWrite()
	appendDemoRow(out, pen, "attempts", "%d, errors: %s", t.GetRequests(), errorKinds(st))
	appendDemoRow(out, pen, "tokens", "%s in, %s out", shortCount(t.GetTokensInput()+read), shortCount(t.GetTokensOutput()))
	appendDemoRow(out, pen, "cost", "%s%s", dollars(t.GetCostNanousd()), costRemarks(st))
	appendDemoRow(out, pen, "own overhead", "p50 %s, p99 %s of %d answers", overheadAt(st.load, .5), overheadAt(st.load, .99), st.load.Overhead.Count())
	appendDemoRow(out, pen, "clients", "provider calls cancelled because the client left: seen %d of %d", st.cancelled, st.left)
}

// costRemarks says how far the cost can be trusted.
func costRemarks(st *demoState) string {
	t := st.total
	var parts []string
	if n := t.GetEstimated(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d estimated, as the answers ended early", n))
	}
	if n := t.GetUnpriced(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d of a model without a known price", n))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, "; ")
}

// errorKinds lists the outcomes that are errors, most frequent first.
func errorKinds(st *demoState) string {
	outcomes := maps.Clone(st.total.GetOutcomes())
	delete(outcomes, window.OK.String())
	delete(outcomes, window.Canceled.String())
	names := slices.SortedFunc(maps.Keys(outcomes), func(a, b string) int {
		return cmp.Or(cmp.Compare(outcomes[b], outcomes[a]), cmp.Compare(a, b))
	})
	if len(names) == 0 {
		return "none"
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, outcomes[name])
	}
	return strings.Join(names, ", ")
}

// demoReport is the summary for programs.
type demoReport struct {
	Version string  `json:"version"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"`
	Seed    uint64  `json:"seed"`
	Faults  bool    `json:"faults"`

	// As the proxy counted, requests made by hand included, without those of the other two routes.
	Requests  int64            `json:"requests"`
	Errors    int64            `json:"errors"`
	Outcomes  map[string]int64 `json:"outcomes"`
	Tokens    demoTokens       `json:"tokens"`
	Cost      int64            `json:"cost_nanousd"`
	Estimated int64            `json:"estimated"`
	Unpriced  int64            `json:"unpriced"`

	Overhead       demoTimes `json:"overhead_seconds"` // the proxy's own, as its answers state
	ClientsLeft    int64     `json:"clients_left"`     // provider calls whose client left
	CallsCancelled int64     `json:"calls_cancelled"`  // of these, as the providers saw it

	Events  []demoEvent        `json:"events"`
	Targets []demoTarget       `json:"targets"`
	Savings *optimizer.Savings `json:"savings"` // as llmopt savings --json prints them
	Spent   float64            `json:"spent_usd"`
	Static  []demoStatic       `json:"static"` // computed
	Kept    *demoKeptState     `json:"kept"`   // the route that keeps its answers
	Shared  *demoSharedState   `json:"shared"` // the route that two callers share

	Clients   demoClients          `json:"clients"`
	Providers map[string]sim.Stats `json:"providers"`
	Status    json.RawMessage      `json:"status"` // what llmopt status --json prints
}

type demoTokens struct {
	Input      int64 `json:"input"` // not from the cache
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	Output     int64 `json:"output"` // reasoning included
	Reasoning  int64 `json:"reasoning"`
}

// demoClients is what the load saw.
type demoClients struct {
	Sent     int64            `json:"sent"`
	Outcomes map[string]int64 `json:"outcomes"`
	Latency  demoTimes        `json:"latency_seconds"` // from the intended sending
	TTFT     demoTimes        `json:"ttft_seconds"`
}

type demoTimes struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func demoTimesOf(h *load.Histogram) demoTimes {
	return demoTimes{
		h.Count(), h.Quantile(.5).Seconds(), h.Quantile(.95).Seconds(), h.Quantile(.99).Seconds(), h.Max().Seconds(),
	}
}

func (c *demoCmd) report(s *demoStage, st *demoState) (*demoReport, error) {
	t := st.total
	var status bytes.Buffer
	if err := appendJSON(&status, st.status, true); err != nil {
		return nil, err
	}
	clients := demoClients{
		Sent: st.load.Sent, Outcomes: map[string]int64{}, Latency: demoTimesOf(&st.load.Latency), TTFT: demoTimesOf(&st.load.TTFT),
	}
	for o, n := range st.load.Outcomes {
		if n > 0 {
			clients.Outcomes[window.Outcome(o).String()] = n
		}
	}
	spent, _ := s.book.spent()
	return &demoReport{
		Version: buildVersion().Version, Seconds: st.elapsed.Seconds(), Rate: c.Rate, Seed: c.Seed, Faults: !c.NoFaults,
		Requests: t.GetRequests(), Errors: t.GetErrors(), Outcomes: t.GetOutcomes(),
		Tokens: demoTokens{
			t.GetTokensInput(), t.GetTokensCacheRead(), t.GetTokensCacheWrite(), t.GetTokensOutput(), t.GetTokensReasoning(),
		},
		Cost: t.GetCostNanousd(), Estimated: t.GetEstimated(), Unpriced: t.GetUnpriced(),
		Overhead: demoTimesOf(&st.load.Overhead), ClientsLeft: st.left, CallsCancelled: st.cancelled,
		Events: s.day.told, Targets: st.targets, Savings: st.savings, Spent: spent, Static: st.static, Kept: st.kept, Shared: st.shared,
		Clients: clients, Providers: st.seen, Status: status.Bytes(),
	}, nil
}
