package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// week reads everything a recorder still has at now.
func week(r *Recorder, now time.Time) *Summary {
	return r.Sum(Last(now, 168*time.Hour), r.Select(nil)...)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	r := NewRecorder(1)
	s := r.Series(Key{Target: "t"})
	now := epoch
	for _, o := range []Observation{
		{Duration: 1100 * time.Millisecond, TTFT: 100 * time.Millisecond, TokensInput: 10, TokensOutput: 11, TokensReasoning: 3,
			CostNanoUSD: 500},
		{Outcome: RateLimited, Duration: 90 * time.Microsecond},
		{Outcome: Canceled, Duration: time.Second, TTFT: time.Second, TokensOutput: 2, Estimated: true, CostNanoUSD: 7},
		{Outcome: TimeoutIdle, Duration: 2 * time.Second, TokensInput: 5, TokensCacheRead: 6, TokensCacheWrite: 7, Unpriced: true,
			CostNanoUSD: 1 << 30},
	} {
		s.Record(now, &o)
	}
	got := r.Sum(Last(now, time.Second), s)
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	check("requests", got.Requests(), int64(4))
	check("errors", got.Errors(), int64(2))
	check("rate limited", got.Count(RateLimited), int64(1))
	check("canceled", got.Count(Canceled), int64(1))
	check("broken", got.Count(Broken), int64(0))
	check("no such outcome", got.Count(outcomesEnd), int64(0))
	check("tokens", got.Tokens(), Tokens{Input: 15, CacheRead: 6, CacheWrite: 7, Output: 13, Reasoning: 3})
	check("estimated", got.Estimated(), int64(1))
	check("unpriced", got.Unpriced(), int64(1))
	check("cost of the priced", got.Cost().Sum(), int64(507))
	check("priced, a cost of zero among them", got.Cost().Count(), int64(3))
	check("latencies", got.Latency().Count(), int64(4))
	check("latency", got.Latency().Sum(), 4100*time.Millisecond+90*time.Microsecond)
	check("first tokens", got.TTFT().Count(), int64(2))
	check("first token", got.TTFT().Sum(), 1100*time.Millisecond)
	check("per token, one of them zero", got.TPOT().Count(), int64(2))
	check("per token", got.TPOT().Sum(), 100*time.Millisecond)
	fastest, _ := got.Latency().Quantile(0)
	check("fastest", fastest, 90*time.Microsecond)
	mean, _ := got.TPOT().Mean()
	check("mean per token", mean, 50*time.Millisecond)
}

func TestRecord_TimePerOutputToken(t *testing.T) {
	t.Parallel()
	check := func(duration, first time.Duration, output int64, want time.Duration, known bool) {
		t.Helper()
		r := NewRecorder(1)
		s := r.Series(Key{})
		s.Record(epoch, &Observation{Duration: duration, TTFT: first, TokensOutput: output})
		sum := r.Sum(Last(epoch, 0), s)
		if n := sum.TPOT().Count(); sum.TPOT().Sum() != want || (n == 1) != known {
			t.Errorf("duration %v, first token %v, %d tokens: got %d values of %v, want %v", duration, first, output, n, sum.TPOT().Sum(), want)
		}
	}
	check(time.Second, 100*time.Millisecond, 10, 100*time.Millisecond, true)
	check(time.Second, time.Second, 2, 0, true) // all at once is a sample of zero
	check(time.Second, 100*time.Millisecond, 1, 0, false)
	check(time.Second, 0, 10, 0, false)
	check(time.Second, 2*time.Second, 10, 0, false) // contradictory
}

func TestRecord_Clamps(t *testing.T) {
	t.Parallel()
	check := func(o Observation, tokens, costs int64, latency, longest time.Duration) {
		t.Helper()
		r := NewRecorder(1)
		s := r.Series(Key{})
		s.Record(epoch, &o)
		sum := r.Sum(Last(epoch, 0), s)
		if got := sum.Tokens().Input; got != tokens {
			t.Errorf("tokens: got %d, want %d", got, tokens)
		}
		if got := sum.Cost().Sum(); got != costs || sum.Cost().Count() != 1 {
			t.Errorf("cost: got %d of %d values, want %d", got, sum.Cost().Count(), costs)
		}
		if got := sum.Latency().Sum(); got != latency {
			t.Errorf("latency: got %v, want %v", got, latency)
		}
		if got, _ := sum.Latency().Quantile(1); got != longest {
			t.Errorf("longest: got %v, want %v", got, longest)
		}
	}
	top := time.Duration(bucketValue(bucketCount-1)) * time.Microsecond
	check(Observation{TokensInput: -5, CostNanoUSD: -1, Duration: -time.Second, TTFT: -1}, 0, 0, 0, 0)
	check(Observation{TokensInput: math.MinInt64, CostNanoUSD: math.MinInt64, Duration: math.MinInt64}, 0, 0, 0, 0)
	check(Observation{TokensInput: maxValue + 1, CostNanoUSD: maxValue + 1, Duration: 40 * time.Hour}, maxValue+1, maxValue+1, 40*time.Hour, top)
	check(Observation{TokensInput: math.MaxInt64, CostNanoUSD: math.MaxInt64, Duration: math.MaxInt64}, maxAddend, maxAddend,
		maxAddend*time.Microsecond, top)
}

func TestRecord_UnknownOutcomeIsABug(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewRecorder(1).Series(Key{}).Record(epoch, &Observation{Outcome: outcomesEnd})
}

func TestRecord_BeforeTheEpoch(t *testing.T) {
	t.Parallel()
	r := NewRecorder(1)
	s := r.Series(Key{})
	for _, now := range []time.Time{{}, at(-1e9), at(0), at(5)} {
		s.Record(now, &Observation{})
		r.Advance(now)
	}
	if got := week(r, at(9)).Requests(); got != 4 {
		t.Errorf("got %d, want 4", got)
	}
}

func TestOutcome_NamesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{"": true, Outcome(255).String(): true}
	for _, o := range Outcomes() {
		if seen[o.String()] {
			t.Errorf("outcome %d has the name %q of another", o, o)
		}
		seen[o.String()] = true
	}
}

// Slot k is sealed at k+2, not before, and what comes for it then counts in the present slot.
func TestAdvance_SealsTwoSlotsLater(t *testing.T) {
	t.Parallel()
	r := NewRecorder(1)
	s := r.Series(Key{})
	sealed := func() (n int) {
		for _, e := range s.rings.slots[0] {
			if e.data != nil {
				n++
			}
		}
		return n
	}
	check := func(second int64, wantSealed int) {
		t.Helper()
		r.Advance(at(second))
		if got := sealed(); got != wantSealed {
			t.Errorf("at %d s: got %d sealed slots, want %d", second, got, wantSealed)
		}
	}
	s.Record(at(1000), &Observation{})
	check(1000, 0)
	s.Record(at(1015), &Observation{})
	check(1019, 0)
	s.Record(at(1009), &Observation{}) // late, but still open
	check(1020, 1)
	s.Record(at(1009), &Observation{}) // too late
	check(1029, 2)                     // now the present slot has a sealed part
	if got := s.open[uint64(103)%openSlots].label.Load(); got != 103 {
		t.Errorf("the next slot is not open ahead of its time: label %d, want 103", got)
	}
	steps := r.Steps(Last(at(1029), 20*time.Second), 0, s)
	for i, want := range []int64{2, 1, 1} {
		if got := steps[i].Requests(); got != want {
			t.Errorf("slot %d: got %d requests, want %d", i, got, want)
		}
	}
}

// A reader that holds the series makes no writer wait, not even one that needs a slot opened.
func TestRecord_DoesNotWaitForReaders(t *testing.T) {
	t.Parallel()
	r := NewRecorder(1)
	s := r.Series(Key{})
	s.Record(at(1000), &Observation{})
	s.mu.Lock()
	s.Record(at(1030), &Observation{}) // shares its place with 1000
	s.mu.Unlock()
	r.Advance(at(1030))
	steps := r.Steps(Last(at(1030), 30*time.Second), 0, s)
	if first, last := steps[0].Requests(), steps[3].Requests(); first != 1 || last != 1 {
		t.Errorf("got %d and %d requests, want one each", first, last)
	}
}

// However far apart records are, and with or without Advance, every read gives exactly what was recorded in the slots it says it
// covers.
func TestReadsMatchWhatWasRecorded(t *testing.T) {
	t.Parallel()
	const days, seconds = 24 * time.Hour, time.Second
	check := func(name string, length time.Duration, gap func(*rand.Rand) time.Duration, advance bool) {
		t.Run(fmt.Sprintf("%s,advance=%v", name, advance), func(t *testing.T) {
			t.Parallel()
			rng := newRNG()
			r := NewRecorder(3)
			series := []*Series{r.Series(Key{Target: "a"}), r.Series(Key{Target: "b"}), r.Series(Key{Target: "c"})}
			var times []time.Time
			check := func(span Span) {
				t.Helper()
				to := slotStart(span.end)
				count := func(from, to time.Time) (n int64) {
					for i := len(times) - 1; i >= 0 && !times[i].Before(from); i-- {
						if times[i].Before(to) {
							n++
						}
					}
					return n
				}
				if got, want := r.Sum(span, series...).Requests(), count(span.From(), to); got != want {
					t.Fatalf("from %v to %v of now %v: got %d, want %d", span.From(), to, span.now, got, want)
				}
				steps := r.Steps(span, 0, series...)
				for i := 0; i < len(steps); i += 1 + rng.IntN(5) {
					from := span.From().Add(time.Duration(i) * span.Step())
					if got, want := steps[i].Requests(), count(from, from.Add(span.Step())); got != want {
						t.Fatalf("step %d of %v, at %v of now %v: got %d, want %d", i, span.Step(), from, span.now, got, want)
					}
				}
			}
			now, end := epoch, epoch.Add(length)
			for next := now; now.Before(end); now = now.Add(gap(rng)) {
				for ; advance && next.Before(now); next = next.Add(max(seconds, length/10_000)) { // also rarer than slots
					r.Advance(next)
				}
				series[rng.IntN(len(series))].Record(now, &Observation{Duration: seconds})
				times = append(times, now)
				if rng.IntN(max(1, int(length/gap(rng)/200))) > 0 {
					continue
				}
				reach := time.Duration(math.Exp(rng.Float64() * math.Log(float64(9*days))))
				check(Last(now, reach))
				check(Last(now, time.Minute))
				check(Last(now, time.Hour))
				check(Last(now, 7*days))
				check(Between(now, now.Add(-reach), now.Add(-time.Duration(rng.Float64()*float64(reach)))))
			}
		})
	}
	upTo := func(d time.Duration) func(*rand.Rand) time.Duration {
		return func(rng *rand.Rand) time.Duration { return 1 + time.Duration(rng.Int64N(int64(d))) }
	}
	for _, advance := range []bool{false, true} {
		check("busy", time.Hour, upTo(seconds), advance)
		check("steady", 9*days, upTo(5*time.Minute), advance)
		check("idle gaps", 30*days, upTo(10*time.Hour), advance)
	}
	check("long gaps", 400*days, upTo(20*days), false)
}
