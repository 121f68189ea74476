package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
)

// benchRun runs "llmopt bench load" as a user does.
func benchRun(ctx context.Context, environ []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, append([]string{"bench", "load"}, args...), environ, &out, &errs)
	return code, out.String(), errs.String()
}

// benchJSON runs it to its end and reads the report.
func benchJSON(t *testing.T, args ...string) *benchReport {
	t.Helper()
	code, out, errs := benchRun(t.Context(), []string{"LOAD_KEY=secret"}, append(args, "--json", "-q", "--key", "env:LOAD_KEY")...)
	if code != 0 || errs != "" {
		t.Fatalf("%v: status %d, stderr %q", args, code, errs)
	}
	r := &benchReport{}
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// benchAgrees compares a report with what the provider has seen, which it returns.
func benchAgrees(t *testing.T, r *benchReport, s *simulated, sent int64) sim.Stats {
	t.Helper()
	eventually(t, "nothing in flight", 5*time.Second, func() bool { return s.Stats().InFlight == 0 })
	seen := s.Stats()
	if r.Sent != sent || seen.Total() != sent || r.OK+r.LeftByPlan != sent || r.OK != seen.Completed || r.LeftByPlan != seen.Canceled {
		t.Errorf("sent %d, ok %d, left %d; the provider saw %d, completed %d, was left %d times; want %d sent",
			r.Sent, r.OK, r.LeftByPlan, seen.Total(), seen.Completed, seen.Canceled, sent)
	}
	if r.Outcomes["ok"] != r.OK || r.Errors != 0 || r.CutAtEnd != 0 || r.Delayed != 0 || r.Interrupted || r.SendLag.Count != sent || r.Latency.Count != r.OK {
		t.Errorf("got outcomes %v, %d errors, %d cut, %d delayed, %d lags, %d latencies", r.Outcomes, r.Errors, r.CutAtEnd, r.Delayed, r.SendLag.Count, r.Latency.Count)
	}
	for _, m := range []benchTimes{r.Latency, r.SendLag} {
		if m.P50 <= 0 || m.P50 > m.P90 || m.P90 > m.P95 || m.P95 > m.P99 || m.P99 > m.P999 || m.P999 > m.Max || m.Mean <= 0 || m.Mean > m.Max {
			t.Errorf("quantiles are not in order: %+v", m)
		}
	}
	return seen
}

func TestBenchLoad_ConstantArrivals(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("ttft=30ms,tokens=7")})
	r := benchJSON(t, "--url", s.url+"/v1/", "--arrivals", "constant", "--rate", "80", "--for", "750ms")
	seen := benchAgrees(t, r, s, 60)
	if r.Tokens.Answers != 60 || r.Tokens.Output != 60*7 || r.Tokens.Output != seen.TokensOutput || r.Tokens.Input != seen.TokensInput {
		t.Errorf("got tokens %+v, the provider said %d in and %d out", r.Tokens, seen.TokensInput, seen.TokensOutput)
	}
	if r.Latency.P50 < .03 || r.Statuses["200"] != 60 || r.Chunks != 0 || r.TTFT.Count != 0 || r.Sending < .7 || r.Elapsed < r.Sending || r.SentPerSec < 20 {
		t.Errorf("got %+v", r)
	}
}

func TestBenchLoad_PoissonArrivalsOfStreams(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("ttft=400ms,tpot=5ms,tokens=120")})
	r := benchJSON(t, "--url", s.url+"/v1", "--rate", "100", "--for", "500ms", "--seed", "3", "--stream", "--leave", "0.2", "--prompt", "40")
	want := int64(0)
	for range load.Until(load.Poisson(100, 3), 500*time.Millisecond) {
		want++
	}
	seen := benchAgrees(t, r, s, want)
	if r.LeftByPlan == 0 || r.Tokens.Answers != r.OK || r.Tokens.Output != r.OK*120 {
		t.Errorf("%d left, tokens %+v", r.LeftByPlan, r.Tokens)
	}
	if waited := seen.CanceledWaiting; r.TTFT.Count != r.Sent-waited || r.TTFT.P50 < .4 {
		t.Errorf("%d first tokens of %d streams, %d of which had none; the median after %v s", r.TTFT.Count, r.Sent, waited, r.TTFT.P50)
	}
	// Streams that were complete have 120 pieces, 5 ms apart; the others a few.
	if most := r.OK*120 + r.LeftByPlan*120; r.Chunks < r.OK*120 || r.Chunks > most || r.Gap.Count != r.Chunks-r.TTFT.Count || r.Gap.Max < .003 {
		t.Errorf("got %d chunks and gaps %+v of %d complete streams", r.Chunks, r.Gap, r.OK)
	}
}

func TestBenchLoad_TraceArrivalsOfAnthropic(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=100000"), CacheMinTokens: -1})
	var trace strings.Builder
	input, output := int64(0), int64(0)
	for i := range 40 {
		in, out := 100+37*i, 1+i
		fmt.Fprintf(&trace, "{\"timestamp\": %d, \"input_length\": %d, \"output_length\": %d, \"hash_ids\": [1]}\n", 1000+100*i, in, out)
		if i >= 10 {
			input, output = input+int64(in), output+int64(out)
		}
	}
	path := filepath.Join(t.TempDir(), "trace.jsonl")
	if err := os.WriteFile(path, []byte(trace.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// Of 4 s the last 3, ten times as fast.
	r := benchJSON(t, "--url", s.url, "--api", "messages", "--trace", path, "--speed", "10", "--from", "1s")
	benchAgrees(t, r, s, 30)
	if r.Arrivals != "trace" || r.Format != "mooncake" || r.Speed != 10 || r.From != 1 || r.Sending < .29 {
		t.Errorf("got %+v", r)
	}
	// The provider counts the JSON around a prompt, too.
	if r.Tokens.Output != output || r.Tokens.Input < input || r.Tokens.Input > input+30*50 {
		t.Errorf("got tokens %+v, want %d in and a few more, %d out", r.Tokens, input, output)
	}
}

func TestBenchLoad_ThroughTheProxy(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=20")})
	g := serve(t, s.url)
	r := benchJSON(t, "--url", g.url+"/gemini", "--api", "generate", "--stream", "--rate", "100", "--for", "300ms", "-H", "x-sim: tokens=9,reasoning=0")
	seen := benchAgrees(t, r, s, r.Sent)
	if r.Overhead.Count != r.Sent || r.Overhead.P50 <= 0 || r.Tokens.Output != 9*r.Sent || r.Tokens.Output != seen.TokensOutput {
		t.Errorf("got overhead %+v and tokens %+v", r.Overhead, r.Tokens)
	}
}

func TestBenchLoad_FailsWhenNothingSucceeds(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	code, out, errs := benchRun(t.Context(), nil, "--url", s.url+"/v1", "--arrivals", "constant", "--rate", "100", "--for", "50ms")
	if code != 1 || errs != "llmopt: none of 5 requests succeeded\n" {
		t.Errorf("status %d, stderr %q", code, errs)
	}
	for _, want := range []string{"\noutcomes   0 ok (0.00/s), 5 client_error\n", "\nstatuses   401: 5\n", "\nfirst client_error: {", "API key"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant it to contain %q", out, want)
		}
	}
}

func TestBenchLoad_InterruptionReportsWhatWas(t *testing.T) {
	t.Parallel()
	// The first answers come at once, the rest never.
	script, err := sim.ParseScript("3*fault=none;1000*fault=stall-head")
	if err != nil {
		t.Fatal(err)
	}
	s := simulate(t, sim.Options{Script: script})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		for s.Stats().Calls["chat"] < 8 && ctx.Err() == nil {
			pause()
		}
		interrupt()
	}()
	code, out, errs := benchRun(ctx, nil, "--url", s.url+"/v1", "--key", "k", "--rate", "100", "--for", "1h", "--drain", "1h")
	if code != 0 || errs != "" || !strings.Contains(out, ", interrupted\n") || !regexp.MustCompile(`outcomes +3 ok \([0-9.]+/s\), \d+ cut at the end\n`).MatchString(out) {
		t.Errorf("status %d, stderr %q, got\n%s", code, errs, out)
	}
}

func TestBenchLoad_RefusesWithFieldValueAndRange(t *testing.T) {
	t.Parallel()
	check := func(want string, args ...string) {
		t.Helper()
		if args[0] != "--url" {
			args = append(args, "--url", "http://127.0.0.1:1")
		}
		if code, _, errs := benchRun(t.Context(), nil, args...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%v: status %d, %q; want 2 and %q", args, code, errs, want)
		}
	}
	path := filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(path, []byte("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("--url x: want http://", "--url", "x")
	check("--api chats: want one of chat, responses", "--api", "chats")
	check("--model a b: want letters", "--model", "a b")
	check("--prompt many: want tokens", "--prompt", "many")
	check("--prompt 9: want 0 to 4", "--prompt", "5~9")
	check("--prefixes -1: want 0 to 1024", "--prefixes=-1")
	check("--prefix-tokens 0: want 1 to", "--prefixes", "1", "--prefix-tokens", "0")
	check("--max-tokens 0: want 0 or more", "--api", "messages", "--max-tokens", "0")
	check("--leave 1.5: want 0 to 1", "--leave", "1.5")
	check("--stream true: want false", "--api", "embeddings", "--stream")
	check("--header \"x\": want \"Name: value\"", "-H", "x")
	check("--header Host: want", "-H", "host: x")
	check("--key: the environment variable NONE is not set", "--key", "env:NONE")
	check("--key: open /nowhere", "--key", "file:/nowhere")
	check("--arrivals often: want constant, poisson or trace", "--arrivals", "often")
	check("--arrivals trace: want a file too", "--arrivals", "trace")
	check("--arrivals constant: want trace with --trace", "--arrivals", "constant", "--speed", "2")
	check("--rate 0: want more than 0 and at most 1000000", "--rate", "0")
	check("--rate NaN: want more than 0", "--rate", "NaN")
	check("--rate 5: want none with a trace", "--rate", "5", "--trace", path)
	check("--speed 0: want more than 0", "--speed", "0", "--trace", path)
	check("--from 1h0m0s: want 0 to 0s, the length of the trace", "--from", "1h", "--trace", path)
	check("lengths", "--lengths", path, "--trace", path)
	check("trace /nowhere: no such file", "--trace", "/nowhere")
	check("--for -1s: want more than 0 and at most 168h", "--for=-1s")
	check("--drain -1s: want 0 to 168h", "--drain=-1s")
	check("--max-in-flight 0: want 1 to 65536", "--max-in-flight", "0")
}

// benchState is a load that has been running for a while.
func benchState() *load.Stats {
	s := &load.Stats{
		Sent: 12_345, InFlight: 40, Sending: 61 * time.Second, Elapsed: 61 * time.Second, Cut: 3, Chunks: 1_234_567,
		Told: 12_000, TokensInput: 3_000_000, TokensCached: 1_500_000, TokensOutput: 1_234_567, Statuses: map[int]int64{200: 12_200, 429: 100},
	}
	s.Outcomes, s.Examples = make([]int64, len(window.Outcomes())), make([]string, len(window.Outcomes()))
	s.Outcomes[window.OK], s.Outcomes[window.Canceled], s.Outcomes[window.RateLimited], s.Outcomes[window.Broken] = 12_000, 103, 100, 102
	s.Examples[window.RateLimited] = "{\n  \"error\": \"slow\x1b[2Jdown\"}"
	s.Steady.OK, s.Steady.Chunks, s.Steady.TokensOutput = 12_000, 1_220_000, 1_220_000
	for i := range 1000 {
		s.Latency.Record(time.Duration(i+1) * time.Millisecond)
		s.TTFT.Record(time.Duration(i+1) * 100 * time.Microsecond)
		s.Gap.Record(20 * time.Millisecond)
		s.SendLag.Record(time.Duration(i) * 100)
	}
	return s
}

func TestBenchReport_IsATableForPeople(t *testing.T) {
	t.Parallel()
	c := &benchLoadCmd{Seed: 1, MaxInFlight: 1000}
	l := &benchLoad{kind: load.Kind{BaseURL: "http://x/v1", Model: "m", Stream: true}, arrivals: arrivalsPoisson, rate: 200}
	var out bytes.Buffer
	r := c.report(l, benchState(), 61*time.Second/4, false)
	r.Cores = 2
	r.append(&out, false)
	const want = `target     http://x/v1, chat, streamed, model m
load       poisson arrivals, 200/s, seed 1
sent       12345 in 1m1s (202/s), all ended after 1m1s
outcomes   12000 ok (197/s), 100 rate_limited, 102 broken, 100 left by plan, 3 cut at the end
statuses   200: 12200, 429: 100
chunks     1.23M (20.0k/s)
tokens     3.00M in, 1.50M of them cached, 1.23M out (20.0k/s), as 12000 answers said
generator  12.5% of 2 cores

                    count    mean     p50     p90     p95     p99   p99.9     max
latency              1000   500ms   500ms   900ms   950ms   992ms   1.00s   1.00s
first token          1000  50.0ms  49.9ms  89.9ms  95.2ms  98.8ms  99.9ms   100ms
gap between chunks   1000  20.0ms  20.0ms  20.0ms  20.0ms  20.0ms  20.0ms  20.0ms
send lag             1000  50.0µs  49.8µs  89.9µs  95.0µs  99.1µs  99.6µs  99.9µs

first rate_limited: { "error": "slow?[2Jdown"}
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBenchReport_WarnsWhenTheLoadWasAnother(t *testing.T) {
	t.Parallel()
	check := func(change func(s *load.Stats), want string) {
		t.Helper()
		s := benchState()
		change(s)
		got := strings.Join(benchWarnings(s, 500, 61*time.Second, 2), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(func(*load.Stats) {}, "")
	check(func(s *load.Stats) { s.Elapsed /= 2 }, "the generator itself was busy all the time, with 2 cores")
	check(func(s *load.Stats) { s.Delayed = 617 }, "617 requests (5.0%) waited because 500 others were under way")
	check(func(s *load.Stats) {
		for range 20 {
			s.SendLag.Record(80 * time.Millisecond)
		}
	}, "the generator itself was late, in one request of a hundred by more than 80")
}

func TestBenchProgress(t *testing.T) {
	t.Parallel()
	const line = "1m1s of 2m: 12345 sent, 12000 ok, 202 errors, 103 left, 40 under way, 197/s, p50 500ms, p99 992ms"
	var out bytes.Buffer
	lines := &benchProgress{w: &out, length: 2 * time.Minute}
	lines.show(benchState())
	lines.end()
	if got := out.String(); got != line+"\n" || lines.every() != benchLine {
		t.Errorf("got %q every %v", got, lines.every())
	}
	if n := utf8.RuneCountInString(line); n > 120 {
		t.Errorf("a line of %d characters", n)
	}
	out.Reset()
	late := &benchProgress{w: &out, length: 30 * time.Second}
	if late.show(benchState()); !strings.HasPrefix(out.String(), "1m1s of 30s, behind: ") {
		t.Errorf("got %q", out.String())
	}
	out.Reset()
	screen := &benchProgress{w: &out, length: 2 * time.Minute, rewrite: true}
	screen.end()
	if out.Len() > 0 {
		t.Errorf("nothing was shown, got %q", out.String())
	}
	s := benchState()
	screen.show(s)
	s.Elapsed += time.Second
	screen.show(s)
	screen.end()
	frame := func(line string) string { return "\r" + noWrap + line + clearLine + wrap }
	want := frame(line) + frame(strings.Replace(line, "1m1s of 2m", "1m2s waiting for answers", 1)) + "\r" + clearLine
	if got := out.String(); got != want || screen.every() != benchFrame {
		t.Errorf("got %q, want %q", got, want)
	}
}
