package window

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// When the clock is set back the series follows; what was recorded ahead stays under its own time.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	check := func(back time.Duration, advance bool) {
		t.Helper()
		r := NewRecorder(1)
		s := r.Series(Key{})
		const n = 600 // seconds
		now := epoch
		run := func() {
			for range n {
				s.Record(now, &Observation{})
				if advance {
					r.Advance(now)
				}
				now = now.Add(time.Second)
			}
		}
		run()
		now = now.Add(-back)
		run()
		// The present is found again at once, but for the slots that both runs went through.
		if got := r.Sum(Last(now, 50*time.Second), s).Requests(); got < 50 || back > 2*n*time.Second && got > 60 {
			t.Errorf("set back by %v, advance %v: got %d requests in the last 50 s, want 50 to 60", back, advance, got)
		}
		// Both runs are there once their times have passed.
		end := epoch.Add(n * time.Second)
		if now.After(end) {
			end = now
		}
		for range 3 { // a clock that catches up finds the same
			if got := week(r, end).Requests(); got != 2*n {
				t.Errorf("set back by %v, advance %v: got %d requests in all, want %d", back, advance, got, 2*n)
			}
			end = end.Add(time.Hour)
			r.Advance(end)
		}
	}
	for _, advance := range []bool{false, true} {
		check(3*time.Second, advance)
		check(40*time.Second, advance)
		check(2*time.Minute, advance)
		check(time.Hour, advance)
		check(49*time.Hour+13*time.Second, advance)
	}
}

// One writer with an old time neither loses its observation nor disturbs the others.
func TestClock_VeryLateWriter(t *testing.T) {
	t.Parallel()
	r := NewRecorder(1)
	s := r.Series(Key{})
	now := epoch
	for range 300 {
		s.Record(now, &Observation{})
		if now.Unix()%37 == 0 {
			s.Record(now.Add(-5*time.Minute), &Observation{Outcome: Canceled})
		}
		now = now.Add(time.Second)
	}
	for _, step := range r.Steps(Last(now, time.Minute), 0, s)[:6] {
		if n := step.Count(OK); n != 10 {
			t.Errorf("from %v: got %d, want 10", step.From, n)
		}
		if n := step.Count(Canceled); n != 0 {
			t.Errorf("from %v: got %d late ones, want them under their own time", step.From, n)
		}
	}
	if got := week(r, now); got.Count(OK) != 300 || got.Count(Canceled) != 8 {
		t.Errorf("got %d and %d late ones, want 300 and 8", got.Count(OK), got.Count(Canceled))
	}
}

// Writers, readers and Advance run at once under a clock that rushes, stumbles and steps back. Whatever
// a reader sees, nothing is lost and nothing is counted twice.
func TestConcurrent_SumIsWhatWasRecorded(t *testing.T) {
	t.Parallel()
	check := func(step time.Duration, advance bool) {
		t.Helper()
		const writers, each = 8, 3_000
		r := NewRecorder(1)
		s := r.Series(Key{})
		var clock, recorded, started atomic.Int64 // clock in ms after epoch
		now := func(jitter int64) time.Time { return epoch.Add(time.Duration(clock.Load()-jitter) * time.Millisecond) }
		latest := epoch.Add(writers * each * step)

		var write, watch sync.WaitGroup
		stop := make(chan struct{})
		for w := range writers {
			write.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), 7))
				o := Observation{Duration: time.Second, TTFT: time.Millisecond, TokensInput: 1, CostNanoUSD: 3}
				for range each {
					clock.Add(step.Milliseconds())
					var jitter int64
					switch rng.IntN(100) {
					case 0:
						jitter = rng.Int64N(7_200_000) // two hours
					case 1, 2, 3, 4, 5:
						jitter = rng.Int64N(60_000)
					}
					started.Add(1)
					s.Record(now(jitter), &o)
					recorded.Add(1)
				}
			})
		}
		watch.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if advance {
					r.Advance(now(0))
				}
				before := recorded.Load()
				got := week(r, latest).Requests()
				if after := started.Load(); got < before || got > after {
					t.Errorf("a reader saw %d requests, want %d to %d", got, before, after)
					return
				}
			}
		})
		write.Wait()
		close(stop)
		watch.Wait()
		got := week(r, latest)
		const want = writers * each
		if got.Requests() != want || got.Latency().Count() != want || got.TTFT().Count() != want || got.Cost().Count() != want ||
			got.Tokens().Input != want || got.Cost().Sum() != 3*want || got.Latency().Sum() != want*time.Second {
			t.Errorf("step %v, advance %v: got %d requests, %d latencies (%v), %d tokens, cost %d; want %d",
				step, advance, got.Requests(), got.Latency().Count(), got.Latency().Sum(), got.Tokens().Input, got.Cost().Sum(), want)
		}
	}
	for _, advance := range []bool{false, true} {
		check(time.Millisecond, advance)
		check(time.Second, advance)
		check(7*time.Second, advance)
	}
}
