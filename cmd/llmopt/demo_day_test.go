package main

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/regime"
	"llm-auto-optimizer/bench/load"
)

func TestDemoDay_Clock(t *testing.T) {
	t.Parallel()
	check := func(elapsed time.Duration, want string) {
		t.Helper()
		d := &demoDay{hour: 5 * time.Second}
		if got := d.clock(elapsed); got != want {
			t.Errorf("after %v: got %s, want %s", elapsed, got, want)
		}
	}
	check(0, "00:00")
	check(42500*time.Millisecond, "08:30")
	check(2*time.Minute, "24:00")
	check(time.Hour, "24:00")
}

// The acts are in order, whatever is left out.
func TestDemoActs_AreInOrder(t *testing.T) {
	t.Parallel()
	if n := len(demoActs(true)); n != 1 {
		t.Errorf("got %d acts on a quiet day, want the price's alone", n)
	}
	last, hours := 0., map[string][]float64{}
	for _, a := range demoActs(false) {
		if a.hour <= last || a.hour >= demoHours {
			t.Errorf("an act at %v after one at %v", a.hour, last)
		}
		last = a.hour
		hours[a.route] = append(hours[a.route], a.hour)
	}
	if want := map[string][]float64{demoRoute: {6, 14.5, 16, 19, 22}, demoShared: {2, 5, 9, 13}}; !reflect.DeepEqual(hours, want) {
		t.Errorf("acts at %v, want %v", hours, want)
	}
}

// The reason of an ejection as the detector itself words it is told in short; any other is told as it is.
func TestDemoReason(t *testing.T) {
	t.Parallel()
	check := func(reason, want string) {
		t.Helper()
		if got := demoReason(reason); got != want {
			t.Errorf("%s: got %q, want %q", reason, got, want)
		}
	}
	check("a probe failed", "a probe failed")
	check("failures: Bernoulli CUSUM: log-likelihood ratio 12.79 is above 11.64, 0.001037 -> 0.375 for 16 values; baseline 0.001037 over 964 values",
		"failures: 37.5 % of the last 16, usual are 0.1 %")
	b := regime.NewErrorRate(.01, 1e6)
	for i := range 1000 {
		c := b.Step(i > 500)
		if !c.Alarm {
			continue
		}
		if text := fmt.Sprintf("answers after 1s: %v", c.Reason()); demoReason(text) == text {
			t.Errorf("%q is not understood", text)
		}
		return
	}
	t.Error("no alarm")
}

// Prompts repeat as they should, and one that does is the same: its length follows from its number.
func TestDifferent_Repeats(t *testing.T) {
	t.Parallel()
	const n = 20000
	counts, length := map[uint64]int{}, map[uint64]int{}
	left := n
	for a := range demoDifferent.asked(load.Constant(1000), 3) {
		k := a.Blocks[0]
		if was, known := length[k]; known && was != a.Input || a.Input < 1 || a.Input > demoLongest {
			t.Fatalf("prompt %d has %d tokens, and had %d", k, a.Input, was)
		}
		length[k] = a.Input
		counts[k]++
		if left--; left == 0 {
			break
		}
	}
	sum := 0.
	for k := range demoPrompts {
		sum += math.Pow(float64(k+1), -demoSkew)
	}
	for _, k := range []uint64{0, 9, 99} {
		want := n / math.Pow(float64(k+1), demoSkew) / sum
		if got := float64(counts[k]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("prompt %d: got %v times, want %.0f", k, got, want)
		}
	}
}

// Policies that never change are computed of each exchange's tokens at the prices that held when it ended.
func TestDemoBook_ComputesStaticPolicies(t *testing.T) {
	t.Parallel()
	b := newDemoBook(demoAsked(time.Minute))
	providers := []*demoProvider{{name: "a", price: demoPrice{1, 2}}, {name: "b", price: demoPrice{3, 6}}}
	start := time.UnixMilli(1_000_000)
	line := func(at, seconds int, route, target, tokens string) {
		t.Helper()
		if _, err := fmt.Fprintf(b, `{"time":%d,"route":%q,"target":%q,"duration_s":%d,%s}`+"\n", start.Add(time.Duration(at)*time.Second).UnixMilli(), route, target, seconds, tokens); err != nil {
			t.Fatal(err)
		}
	}
	b.price(start, providers)
	line(1, 1, demoRoute, "a", `"tokens_input":600000,"tokens_cache_read":400000,"tokens_output":1000000,"cost_nanousd":3000000000,"ttft_s":0.5`)
	line(1, 1, "direct", "a", `"tokens_input":600000`)
	providers[0].price = demoPrice{10, 20}
	b.price(start.Add(5*time.Second), providers)
	b.begin(start.Add(5*time.Second), "a", "slept")
	line(4, 3, demoRoute, "b", `"tokens_input":1000000,"tokens_output":0,"cost_nanousd":3000000000,"ttft_s":1.5`) // begins before, ends after
	line(6, 1, demoRoute, "b", `"tokens_input":0,"tokens_output":0`)
	b.end(start.Add(9*time.Second), "a")
	line(10, 1, demoRoute, "b", `"tokens_input":0,"tokens_output":0`)
	got := b.statics(providers)
	want := []demoStatic{
		{"equal shares, as configured", 12.5, .5, nil},
		{"all on a", 1 + 2 + 10, 0, []string{"1 requests came while it slept"}},
		{"all on b", 3 + 6 + 3, 1, nil},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if usd, late := b.spent(); usd != 6 || late != .5 {
		t.Errorf("spent $%v, %v late", usd, late)
	}
	if n := b.exchanges(); n != 5 {
		t.Errorf("%d exchanges", n)
	}
}
