package window

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	const hour, minute = 3600, 60
	const now = 480_000*hour + 17*minute + 34 // 34 s into minute 17 of an hour
	check := func(s Span, from, to int64, step time.Duration) {
		t.Helper()
		if s.From() != at(from) || s.To() != at(to) || s.Step() != step {
			t.Errorf("got %v to %v in %v, want %v to %v in %v", s.From(), s.To(), s.Step(), at(from), at(to), step)
		}
	}
	last := func(d time.Duration) Span { return Last(at(now), d) }
	between := func(from, to int64) Span { return Between(at(now), at(from), at(to)) }

	check(last(0), now-4, now, 10*time.Second)
	check(last(-time.Hour), now-4, now, 10*time.Second)
	check(last(4*time.Second), now-4, now, 10*time.Second)
	check(last(10*time.Second), now-14, now, 10*time.Second)
	check(last(time.Minute), now-64, now, 10*time.Second)
	check(last(65*time.Second), now-34-minute, now, time.Minute)
	check(last(time.Hour), now-34-hour, now, time.Minute)
	check(last(61*time.Minute), now-34-17*minute-hour, now, time.Hour)
	check(last(168*time.Hour), now-34-17*minute-168*hour, now, time.Hour)
	check(last(10_000*time.Hour), now-34-17*minute-168*hour, now, time.Hour) // no more than is kept

	check(between(now-30, now-20), now-34, now-14, 10*time.Second)
	check(between(now-34, now-14), now-34, now-14, 10*time.Second) // a bound on a boundary
	check(between(now-20, now-20), now-24, now-14, 10*time.Second) // at least one slot
	check(between(now-20, now-60), now-24, now-14, 10*time.Second)
	check(between(now-20, now+500), now-24, now, 10*time.Second)
	check(between(now+500, now+900), now-4, now, 10*time.Second) // not in the future
	check(between(now-600, now-500), now-34-10*minute, now-34-7*minute, time.Minute)
	check(between(now-9*hour, now-8*hour), now-34-17*minute-9*hour, now-34-17*minute-7*hour, time.Hour)
	check(between(-hour, now), now-34-17*minute-168*hour, now, time.Hour)
	check(Last(at(5), time.Hour), 0, 5, 10*time.Second)
}

func TestSteps(t *testing.T) {
	t.Parallel()
	r := NewRecorder(2)
	series := []*Series{r.Series(Key{Target: "a"}), r.Series(Key{Target: "b"})}
	start := at(1_800_000) // an hour's start
	var now time.Time
	for i := range 2 * 3600 {
		now = start.Add(time.Duration(i) * time.Second)
		series[i%2].Record(now, &Observation{Duration: time.Duration(i) * time.Millisecond})
	}
	check := func(span Span, step time.Duration, n int, length time.Duration) {
		t.Helper()
		steps := r.Steps(span, step, series...)
		if len(steps) != n {
			t.Fatalf("step %v: got %d summaries, want %d", step, len(steps), n)
		}
		if steps[0].From != span.From() || steps[n-1].To != now {
			t.Errorf("step %v: got %v to %v, want %v to %v", step, steps[0].From, steps[n-1].To, span.From(), now)
		}
		for i, s := range steps {
			if i > 0 && s.From != steps[i-1].To {
				t.Errorf("step %d begins at %v, the one before ends at %v", i, s.From, steps[i-1].To)
			}
			if i > 0 && i < n-1 && (s.To.Sub(s.From) != length || s.Rate() != 1) {
				t.Errorf("step %d: got %v long at %v/s, want %v at 1/s", i, s.To.Sub(s.From), s.Rate(), length)
			}
		}
	}
	check(Last(now, time.Minute), 0, 7, 10*time.Second)
	check(Last(now, time.Minute), 11*time.Second, 2, time.Minute)
	check(Last(now, 30*time.Minute), 0, 31, time.Minute)
	check(Last(now, 30*time.Minute), 10*time.Second, 31, time.Minute) // no finer than what is kept
	check(Last(now, 30*time.Minute), time.Hour, 1, time.Hour)
	check(Last(now, 65*time.Minute), 0, 2, time.Hour)
	check(Last(now, 65*time.Minute), 100*time.Hour, 2, time.Hour)

	if got := r.Steps(Last(now, 168*time.Hour), 0, series...); len(got) != 169 || got[0].Requests() != 0 || got[168].Requests() != 3600 {
		t.Errorf("got %d summaries, want 169, empty ones included", len(got))
	}
}

// The rate of a recorder that has just started is not diluted by the time before.
func TestSum_BeginsWithTheRecorder(t *testing.T) {
	t.Parallel()
	r := NewRecorder(1)
	s := r.Series(Key{})
	check := func(now int64, d time.Duration, from, to int64, rate float64) {
		t.Helper()
		sum := r.Sum(Last(at(now), d), s)
		if sum.From != at(from) || sum.To != at(to) || sum.Rate() != rate {
			t.Errorf("last %v at %d: got %v/s from %v to %v, want %v/s from %v to %v", d, now, sum.Rate(), sum.From, sum.To, rate, at(from), at(to))
		}
	}
	check(1_000_000, time.Minute, 999_940, 1_000_000, 0)
	for i := range int64(40) {
		s.Record(at(1_000_000+i/2), &Observation{})
	}
	check(1_000_000, 0, 1_000_000, 1_000_000, 0) // no time has passed
	check(1_000_020, time.Hour, 1_000_000, 1_000_020, 2)
	check(1_000_100, 60*time.Second, 1_000_040, 1_000_100, 0)
}

// Two replicas that each saw half of the traffic give the whole when merged.
func TestSummary_MergeOfReplicas(t *testing.T) {
	t.Parallel()
	replicas := [2]*Recorder{NewRecorder(1), NewRecorder(1)}
	whole := NewRecorder(1)
	all := traffic(newRNG(), 20_000)
	var now time.Time
	for i := range all {
		now = epoch.Add(time.Duration(i) * 50 * time.Millisecond)
		for _, r := range []*Recorder{replicas[i%2], whole} {
			r.Series(Key{}).Record(now, &all[i])
		}
	}
	for _, d := range []time.Duration{time.Minute, 10 * time.Minute, 2 * time.Hour} {
		span := Last(now, d)
		var merged Summary
		for _, r := range replicas {
			merged.Merge(r.Sum(span, r.Select(nil)...))
		}
		want := whole.Sum(span, whole.Select(nil)...)
		if !equalTallies(&merged.tally, &want.tally) || merged.From != want.From || merged.To != want.To {
			t.Errorf("last %v: the replicas' sum is not the whole", d)
		}
	}
}
