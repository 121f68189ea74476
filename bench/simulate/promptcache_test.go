package simulate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPromptCache_KeepsPrefixes(t *testing.T) {
	t.Parallel()
	var c promptCache
	check := func(at time.Duration, input int, want float64, blocks ...uint64) {
		t.Helper()
		if got := c.take(&request{input: input, blocks: blocks}, at, time.Minute); got != want {
			t.Errorf("at %v: %v tokens of %v, want %v", at, got, blocks, want)
		}
	}
	check(0, 2000, 0, 1, 2, 3)
	check(time.Second, 2000, 1024, 1, 2, 4)
	check(2*time.Second, 2000, 0, 9, 2, 3)           // what follows a miss is one too
	check(62*time.Second, 2000, 512, 2, 1)           // 1 was used 61 s ago
	check(63*time.Second, 600, 600, 2, 1, 4)         // 4 is forgotten; a request has no more than its input
	check(64*time.Second, 2000, 0)                   // no blocks: nothing is known of its prefix
	check(10*time.Minute, 2000, 0, 1, 2, 3)          // all are forgotten
	check(10*time.Minute+1, 2000, 3*512, 1, 2, 3, 5) // and there again
}

// Cached input costs less, and the longer an input is, the later the answer begins.
func TestPlay_CacheAndPrefill(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace.jsonl")
	line := `{"timestamp": %, "input_length": 1024, "output_length": 1, "hash_ids": [7, 8]}` + "\n"
	var text strings.Builder
	for _, ms := range []string{"0", "10000", "20000", "30000"} {
		text.WriteString(strings.Replace(line, "%", ms, 1))
	}
	if err := os.WriteFile(trace, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := parse(t, "route r\ntarget a price 1 0 cached 0.1 prefill 500ms ttft 100ms tpot 1ms\ntraffic trace "+trace+"\nrun 1m\n")
	o, err := Play(s, []string{Production}, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := o[0].Runs[0]
	if want := 1024e-6 * 1.3; r.Exchanges != 4 || r.Cost < want*.999 || r.Cost > want*1.001 {
		t.Errorf("%d exchanges cost %v, want one at the full price and three at a tenth: %v", r.Exchanges, r.Cost, want)
	}
	if r.P99 < .6 || r.P99 > .62 || r.P50 < .095 || r.P50 > .105 {
		t.Errorf("first tokens after %v and %v, want .1 s cached and .612 s not", r.P50, r.P99)
	}
}

// The clairvoyant knows what a trace is going to ask for.
func TestClairvoyant_KnowsATrace(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace.csv")
	text := "TIMESTAMP,ContextTokens,GeneratedTokens\n"
	for _, at := range []string{"00:00.0", "00:10.0", "01:10.0", "03:00.0"} {
		text += "2023-11-16 18:" + at + ",1000,100\n"
	}
	if err := os.WriteFile(trace, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := parse(t, "route r\ntarget dear price 10 10 ttft 100ms tpot 1ms\ntarget cheap price 1 1 ttft 100ms tpot 1ms\ntraffic trace "+trace+"\nrun 4m\n")
	w := &world{Scenario: s, seed: 1}
	got := w.demands()
	if len(got) != 5 || got[0] != (demand{2. / 60, 1000, 100}) || got[1].rate != 1./60 || got[2] != (demand{0, 1000, 1000}) || got[3].input != 1000 {
		t.Errorf("demands %+v", got)
	}
	o, err := Play(s, []string{Clairvoyant}, 20)
	if err != nil {
		t.Fatal(err)
	}
	dear, cheap := 0, 0
	for _, r := range o[0].Runs {
		dear, cheap = dear+r.Attempts[0], cheap+r.Attempts[1]
	}
	if dear+cheap != 80 || dear > 4 { // one in a hundred is explored with
		t.Errorf("%d attempts at the dear target and %d at the cheap one, want nearly all of 80 there", dear, cheap)
	}
}
