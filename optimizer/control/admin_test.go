package control

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// traffic is a recorder with three targets' worth of observations in the two minutes before noon.
func traffic() *window.Recorder {
	r := window.NewRecorder(100)
	record := func(k window.Key, ago time.Duration, n int, o window.Observation) {
		for range n {
			r.Series(k).Record(noon.Add(-ago), &o)
		}
	}
	gpt := window.Key{Target: "openai/gpt", Route: "gpt", Class: "light", Arm: "treated"}
	held := window.Key{Target: "openai/gpt", Route: "gpt", Class: "light", Arm: "holdback"}
	claude := window.Key{Target: "anthropic/claude", Route: "direct"}
	record(gpt, 115*time.Second, 95, window.Observation{
		Duration: 2 * time.Second, TTFT: 400 * time.Millisecond, TokensInput: 100, TokensCacheRead: 50, TokensOutput: 17,
		TokensReasoning: 5, CostNanoUSD: 1000,
	})
	record(gpt, 15*time.Second, 4, window.Observation{Outcome: window.RateLimited, Duration: 10 * time.Millisecond, Unpriced: true})
	record(held, 15*time.Second, 1, window.Observation{Outcome: window.Canceled, Duration: time.Second, Estimated: true, CostNanoUSD: 500})
	record(claude, 15*time.Second, 10, window.Observation{Duration: time.Second, TokensCacheWrite: 3, CostNanoUSD: 7})
	return r
}

func TestAdmin_GetStatusInEveryProtocol(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Windows = traffic()
	o.Mode = func() optimizer.Mode { return optimizer.Canary }
	o.Policy = policy.NewHolder(policy.Snapshot{})
	if _, err := o.Policy.Publish(o.Policy.Load(), policy.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	o.Providers = func() map[string]config.Provider {
		return map[string]config.Provider{
			"openai":    {Name: "openai", Dialect: "openai", BaseURL: "https://api.openai.com/v1", APIKey: config.NewSecret("sk-hidden")},
			"anthropic": {Name: "anthropic", Dialect: "anthropic", BaseURL: "https://api.anthropic.com"},
		}
	}

	base, _ := serve(t, o)
	check := func(name string, h2 bool, opts ...connect.ClientOption) {
		t.Helper()
		got, err := controlpb.NewAdminClient(client(t, h2), base, opts...).GetStatus(t.Context(), &controlpb.GetStatusRequest{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		checkStatus(t, name, got)
	}
	check("connect", false)
	check("connect over HTTP/2", true)
	check("connect GET", false, connect.WithHTTPGet())
	check("connect JSON", false, connect.WithProtoJSON())
	check("grpc", true, connect.WithGRPC())
	check("grpc, compressed", true, connect.WithGRPC(), connect.WithSendGzip())
	check("grpc-web", false, connect.WithGRPCWeb())
}

func checkStatus(t *testing.T, name string, got *controlpb.GetStatusResponse) {
	t.Helper()
	if strings.Contains(got.String(), "sk-hidden") {
		t.Errorf("%s: the answer shows a key", name)
	}
	if got.GetVersion().GetVersion() != "v1.2.3" || got.GetPolicyVersion() != 2 || got.GetMode() != controlpb.Mode_MODE_CANARY ||
		!got.GetReady() || got.GetProxyUrl() != "http://127.0.0.1:8080" || !got.GetNow().AsTime().Equal(noon) {
		t.Errorf("%s: got head %v", name, got)
	}
	p := got.GetProviders()
	if len(p) != 2 || p[0].GetName() != "anthropic" || p[0].GetOwnKey() || p[1].GetName() != "openai" || !p[1].GetOwnKey() ||
		p[1].GetBaseUrl() != "https://api.openai.com/v1" || p[1].GetDialect() != "openai" {
		t.Errorf("%s: got providers %v", name, p)
	}
	if len(got.GetTargets()) != 2 || got.GetTargets()[0].GetTarget() != "anthropic/claude" || got.GetTargets()[1].GetTarget() != "gpt/openai/gpt" {
		t.Fatalf("%s: got targets %v", name, got.GetTargets())
	}
	s := got.GetTargets()[1].GetSummary() // both arms together
	if s.GetRequests() != 100 || s.GetErrors() != 4 || s.GetEstimated() != 1 || s.GetUnpriced() != 4 || s.GetCostNanousd() != 95*1000+500 {
		t.Errorf("%s: got summary %v", name, s)
	}
	if want := map[string]int64{"ok": 95, "rate_limited": 4, "canceled": 1}; !maps.Equal(s.GetOutcomes(), want) {
		t.Errorf("%s: got outcomes %v, want %v", name, s.GetOutcomes(), want)
	}
	if s.GetTokensInput() != 9500 || s.GetTokensCacheRead() != 4750 || s.GetTokensOutput() != 95*17 || s.GetTokensReasoning() != 95*5 {
		t.Errorf("%s: got tokens %v", name, s)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if got < want*.99 || got > want*1.01 {
			t.Errorf("%s: %s: got %g, want about %g", name, what, got, want)
		}
	}
	near("ttft p50", s.GetTtftSeconds().GetP50(), .4)
	near("duration p50", s.GetDurationSeconds().GetP50(), 2)
	near("duration p99", s.GetDurationSeconds().GetP99(), 2)
	near("time per output token", s.GetTimePerOutputTokenSeconds().GetP95(), .1)
	if s.GetTtftSeconds().GetCount() != 95 || s.GetDurationSeconds().GetCount() != 100 {
		t.Errorf("%s: got counts of quantiles %v", name, s)
	}
	near("rate", got.GetTotal().GetRequestsPerSecond(), 110/got.GetSpan().AsDuration().Seconds())
	if got.GetTotal().GetRequests() != 110 || got.GetTotal().GetTokensCacheWrite() != 30 {
		t.Errorf("%s: got total %v", name, got.GetTotal())
	}
}

func TestAdmin_GetStatusOfAnIdleServer(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, testOptions())
	got, err := controlpb.NewAdminClient(client(t, false), base).GetStatus(t.Context(), &controlpb.GetStatusRequest{Span: durationpb.New(10 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetTargets()) != 0 || got.GetTotal().GetRequests() != 0 || got.GetSpan().AsDuration() != 10*time.Minute {
		t.Errorf("got %v", got)
	}
}

func TestAdmin_SpansOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, testOptions())
	api := controlpb.NewAdminClient(client(t, false), base)
	check := func(field string, err error) {
		t.Helper()
		if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want invalid argument %q", err, field)
		}
	}
	for _, d := range []time.Duration{-time.Second, 0, 7*24*time.Hour + time.Second} {
		_, err := api.GetStatus(t.Context(), &controlpb.GetStatusRequest{Span: durationpb.New(d)})
		check("span", err)
		_, err = api.GetSeries(t.Context(), &controlpb.GetSeriesRequest{Span: durationpb.New(d)})
		check("span", err)
	}
	_, err := api.GetSeries(t.Context(), &controlpb.GetSeriesRequest{Step: durationpb.New(-time.Second)})
	check("step", err)
	if _, err := api.GetSeries(t.Context(), &controlpb.GetSeriesRequest{Span: durationpb.New(7 * 24 * time.Hour)}); err != nil {
		t.Errorf("a week: %v", err)
	}
}

func TestAdmin_GetSeriesSelectsAndSteps(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Windows = traffic()
	base, _ := serve(t, o)
	api := controlpb.NewAdminClient(client(t, true), base, connect.WithGRPC())
	check := func(req *controlpb.GetSeriesRequest, wantStep time.Duration, wantPoints int, wantRequests int64) {
		t.Helper()
		got, err := api.GetSeries(t.Context(), req)
		if err != nil {
			t.Errorf("%v: %v", req, err)
			return
		}
		if got.GetStep().AsDuration() != wantStep || len(got.GetPoints()) != wantPoints {
			t.Errorf("%v: got step %v and %d points, want %v and %d", req, got.GetStep().AsDuration(), len(got.GetPoints()), wantStep, wantPoints)
		}
		var requests int64
		for i, p := range got.GetPoints() {
			requests += p.GetSummary().GetRequests()
			start, end := p.GetStart().AsTime(), p.GetEnd().AsTime()
			if i > 0 && !start.Equal(got.GetPoints()[i-1].GetEnd().AsTime()) {
				t.Errorf("%v: point %d starts at %v, not where the one before it ends", req, i, start)
			}
			if inner := i > 0 && i < wantPoints-1; inner && end.Sub(start) != wantStep {
				t.Errorf("%v: point %d is %v long, want %v", req, i, end.Sub(start), wantStep)
			}
		}
		if requests != wantRequests {
			t.Errorf("%v: got %d requests, want %d", req, requests, wantRequests)
		}
	}
	minutes := func(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Minute) }
	check(&controlpb.GetSeriesRequest{}, time.Minute, 61, 110)
	check(&controlpb.GetSeriesRequest{Span: minutes(5)}, time.Minute, 6, 110)
	check(&controlpb.GetSeriesRequest{Span: minutes(1)}, 10*time.Second, 7, 15)
	check(&controlpb.GetSeriesRequest{Span: minutes(1), Step: minutes(1)}, time.Minute, 2, 15)
	check(&controlpb.GetSeriesRequest{Step: minutes(5)}, time.Hour, 2, 110)
	check(&controlpb.GetSeriesRequest{Span: minutes(24 * 60)}, time.Hour, 25, 110)
	check(&controlpb.GetSeriesRequest{Target: "openai/gpt"}, time.Minute, 61, 100)
	check(&controlpb.GetSeriesRequest{Target: "openai/gpt", Arm: "holdback"}, time.Minute, 61, 1)
	check(&controlpb.GetSeriesRequest{Route: "direct"}, time.Minute, 61, 10)
	check(&controlpb.GetSeriesRequest{Class: "light", Arm: "treated"}, time.Minute, 61, 99)
	check(&controlpb.GetSeriesRequest{Target: "nobody"}, time.Minute, 61, 0)
}

func TestAdmin_WithoutCache(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, testOptions())
	for _, call := range []string{"CacheStats", "LookUpCache", "PurgeCache"} {
		status, body, _ := ask(t, "POST", base+"/llmopt.control.v1.Admin/"+call, "{}", "Content-Type", "application/json")
		if status != 400 || !strings.Contains(body, `"failed_precondition","message":"there is no cache"`) {
			t.Errorf("%s: status %d: %s", call, status, body)
		}
	}
}

func TestAdmin_PlainJSONLikeCurl(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Windows = traffic()
	base, _ := serve(t, o)
	status, body, _ := ask(t, "POST", base+"/llmopt.control.v1.Admin/GetStatus", `{"span":"300s"}`, "Content-Type", "application/json")
	var got struct {
		Mode    string
		Targets []struct {
			Target  string
			Summary struct {
				Requests    string
				CostNanousd string
				TtftSeconds struct{ P50 float64 }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil {
		t.Fatalf("got %d %s (%v)", status, body, err)
	}
	if got.Mode != "MODE_OBSERVE" || len(got.Targets) != 2 || got.Targets[1].Summary.Requests != "100" || got.Targets[1].Summary.CostNanousd != "95500" {
		t.Errorf("got %s", body)
	}
	check := func(method, contentType, body string, want int) {
		t.Helper()
		if status, got, _ := ask(t, method, base+"/llmopt.control.v1.Admin/GetStatus", body, "Content-Type", contentType); status != want {
			t.Errorf("%s %s %q: got status %d, want %d: %s", method, contentType, body[:min(len(body), 40)], status, want, got)
		}
	}
	check("POST", "application/json", `{"span":`, 400)
	check("POST", "application/json", `{"span":"soon"}`, 400)
	check("POST", "application/json", strings.Repeat(" ", maxMessage+1), 429) // Connect's status of "resource exhausted"
	check("POST", "text/plain", `{}`, 415)
	check("PUT", "application/json", `{}`, 405)
	if status, _, _ := ask(t, "POST", base+"/llmopt.control.v1.Admin/Nothing", `{}`, "Content-Type", "application/json"); status != 404 {
		t.Errorf("an unknown method: got status %d", status)
	}
}

func TestAdmin_KeptStepIsWhatTheWindowsDo(t *testing.T) {
	t.Parallel()
	r := window.NewRecorder(1)
	for _, back := range []time.Duration{time.Minute, 30 * time.Minute, 48 * time.Hour} {
		span := window.Last(noon, back)
		for _, step := range []time.Duration{0, time.Second, 10 * time.Second, 11 * time.Second, time.Minute, 2 * time.Minute, time.Hour, 3 * time.Hour} {
			ends := slices.Collect(func(yield func(time.Time) bool) {
				for _, s := range r.Steps(span, step) {
					if !yield(s.To) {
						return
					}
				}
			})
			if len(ends) < 3 {
				continue // no inner step to measure
			}
			if got, want := keptStep(max(step, span.Step())), ends[1].Sub(ends[0]); got != want {
				t.Errorf("span %v step %v: got %v, the windows step %v", back, step, got, want)
			}
		}
	}
}
