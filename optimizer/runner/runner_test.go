package runner

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
)

// Alarms that come together are looked at together, half a second after the first.
func TestRunner_AlarmsAreDebounced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.run(true)
		for range 10 {
			s.runner.Alarm()
			time.Sleep(40 * time.Millisecond)
		}
		if n := s.count(&s.known); n != 0 {
			t.Errorf("%d cycles while alarms still come", n)
		}
		time.Sleep(alarmQuiet)
		if n := s.count(&s.known); n != 1 {
			t.Errorf("%d cycles after ten alarms", n)
		}
		s.runner.Alarm()
		time.Sleep(2 * alarmQuiet)
		if n := s.count(&s.known); n != 2 {
			t.Errorf("%d cycles after one more", n)
		}
		s.runner.Change(t.Context(), s.config(false))
		s.runner.Alarm()
		time.Sleep(2 * alarmQuiet)
		if n := s.count(&s.known); n != 2 {
			t.Errorf("%d cycles: one by an alarm though it is switched off", n)
		}
	})
}

// A loop that panics is replaced by one that knows what it knew, without the tuner that was at work.
func TestRunner_PanicBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.propose = move
		s.run(true)
		if d := s.cycle(nil); len(d) != 1 || d[0].ID != "d1" || d[0].Verdict != optimizer.Applied {
			t.Fatalf("%v", d)
		}
		before := s.weight()
		s.with(func() { s.ask = func() { panic("a test") } })
		s.cycle(ErrFailed)
		s.with(func() { s.ask = nil })
		s.inspect(func(l *optimizer.Loop) {
			if len(l.Routes()) != 1 || len(l.Fences()) != 0 {
				t.Errorf("routes %v, fences %v", l.Routes(), l.Fences())
			}
		})
		if s.cycle(nil); s.weight() != before {
			t.Error("it has forgotten when the last decision was")
		}
		time.Sleep(time.Minute)
		if d := s.cycle(nil); len(d) != 1 || d[0].ID != "d2" || s.weight() <= before {
			t.Errorf("it does not go on: %v, %v after %v", d, s.weight(), before)
		}

		time.Sleep(2 * time.Hour)
		s.with(func() { s.in = s.static })
		s.owns = func() { panic("of the tuner's own making") }
		s.cycle(ErrFailed)
		fenced := s.told(optimizer.Fenced)
		if len(fenced) != 1 || fenced[0].Tuner != "stand" || !strings.Contains(fenced[0].Why, "of the tuner's own making") {
			t.Errorf("fenced: %v", fenced)
		}
		if d := s.cycle(nil); len(d) != 0 || s.weight() != 1 { // it is not even asked
			t.Errorf("a tuner that is left out decides: %v", d)
		}
		s.owns = nil
		time.Sleep(time.Hour)
		s.cycle(nil)
		if d := s.cycle(nil); len(d) != 1 || d[0].ID != "d3" || s.weight() <= 1 {
			t.Errorf("after an hour it is let in again, and counts on: %v", d)
		}
	})
}

// A loop that hangs is given up: another one takes its place, and what the first comes to in the end is not put in force.
func TestRunner_HangIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		hung := make(chan struct{})
		s.propose = func(e *optimizer.RouteEvidence) optimizer.Proposal {
			<-hung
			return move(e)
		}
		s.run(true)
		began := time.Now()
		s.cycle(ErrLate)
		if took := time.Since(began); took != deadline {
			t.Errorf("given up after %v", took)
		}
		if fenced := s.told(optimizer.Fenced); len(fenced) != 1 || fenced[0].Why != ErrLate.Error() {
			t.Errorf("fenced: %v", fenced)
		}
		close(hung)
		synctest.Wait()
		if n := s.count(&s.published); n != 0 || s.weight() != 1 {
			t.Errorf("a loop that was given up has published %d times", n)
		}
		s.cycle(nil)
		if n := s.count(&s.known); n != 3 { // once to take trials out of the policy
			t.Errorf("the plant was asked %d times", n)
		}
	})
}

// After three failures the optimizer rests for ten minutes. It can still be switched off, and looked at.
func TestRunner_RestsAfterThreeFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.run(true)
		s.with(func() { s.ask = func() { panic("a test") } })
		for range failuresAllowed {
			s.cycle(ErrFailed)
		}
		s.with(func() { s.ask = nil })
		s.cycle(ErrOff)
		s.inspect(func(*optimizer.Loop) {})
		s.ring.Put(&window.Exchange{At: time.Now(), Route: "r", Target: "a"})
		time.Sleep(2 * feedEvery)
		s.ring.Drain(func(*window.Exchange) { t.Error("the ring is not emptied while the optimizer rests") })
		s.runner.Change(t.Context(), s.config(false))
		if n := s.count(&s.off); n != 1 {
			t.Errorf("switched off %d times", n)
		}
		s.runner.Change(t.Context(), s.config(true))
		s.cycle(ErrOff)
		time.Sleep(failuresWithin)
		s.cycle(nil)
		for range failuresAllowed - 1 { // those of before don't count any more
			s.with(func() { s.ask = func() { panic("a test") } })
			s.cycle(ErrFailed)
			s.with(func() { s.ask = nil })
			s.cycle(nil)
		}
	})
}

// Orders are carried out, written down and remembered; what can't be is refused, and not written down.
func TestRunner_Orders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.propose = move
		s.run(true)
		s.cycle(nil)
		if d, err := s.runner.Order(t.Context(), optimizer.Order{Action: optimizer.Freeze, Route: "r", By: "ann"}); err != nil || d.By != "ann" {
			t.Fatalf("%v, %v", d, err)
		}
		if _, err := s.runner.Order(t.Context(), optimizer.Order{Action: optimizer.Undo, Decision: "d9", By: "ann"}); !errors.Is(err, optimizer.ErrOrder) {
			t.Errorf("undo what there is not: %v", err)
		}
		if n := len(s.told(optimizer.Ordered)); n != 1 {
			t.Errorf("%d orders are written down", n)
		}
		before := s.weight()
		time.Sleep(time.Minute)
		if s.cycle(nil); s.weight() != before {
			t.Error("it moves though it is frozen")
		}
		s.end()
		s.run(true) // another run, with the memory of the first
		time.Sleep(time.Minute)
		if s.cycle(nil); s.weight() != before {
			t.Error("it moves though it was frozen before the restart")
		}
		if _, err := s.runner.Order(t.Context(), optimizer.Order{Action: optimizer.Thaw, Route: "r", By: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s.cycle(nil); s.weight() <= before {
			t.Error("it stands still though it was thawed")
		}
		s.runner.Change(t.Context(), s.config(false))
		if _, err := s.runner.Order(t.Context(), optimizer.Order{Action: optimizer.Freeze, By: "ann"}); !errors.Is(err, ErrOff) {
			t.Errorf("an order to an optimizer that is off: %v", err)
		}
	})
}

// Switched off it undoes what was tuned, decides nothing, and empties the ring, so that nothing old is learned from later.
func TestRunner_Off(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.propose = move
		s.run(true)
		s.cycle(nil)
		s.runner.Change(t.Context(), s.config(false))
		s.runner.Change(t.Context(), s.config(false))
		if n := s.count(&s.off); n != 1 || s.weight() != 1 || s.runner.Enabled() {
			t.Errorf("switched off %d times, weight %v", n, s.weight())
		}
		s.cycle(ErrOff)
		for range 100 {
			s.ring.Put(&window.Exchange{At: time.Now(), Route: "r", Target: "a", Input: 1})
		}
		time.Sleep(2 * feedEvery)
		left := 0
		s.ring.Drain(func(*window.Exchange) { left++ })
		s.runner.Change(t.Context(), s.config(true))
		s.inspect(func(l *optimizer.Loop) {
			if e := l.Evidence(time.Now(), &optimizer.Known{Name: "r"}); left > 0 || e.Classes[0].Rate != 0 {
				t.Errorf("%d exchanges are left, %v a second were learned from", left, e.Classes[0].Rate)
			}
		})
	})
}

// What was measured of savings is kept every five minutes and at the end, and is there again after a restart and after a failure.
func TestRunner_ProofIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.propose = move
		s.run(true)
		s.cycle(nil)
		s.cycle(nil) // there is a hold-back
		exchanges := func(n int) {
			for i := range n {
				s.ring.Put(&window.Exchange{At: time.Now(), Route: "r", Target: "a", Session: uint64(i), Input: 100, Output: 10, CostNanoUSD: 1000})
			}
			time.Sleep(2 * feedEvery)
		}
		proven := func(want uint64) {
			t.Helper()
			s.inspect(func(l *optimizer.Loop) {
				got := uint64(0)
				for _, r := range l.Proof.Savings(time.Now(), time.Time{}).Routes {
					got += r.Optimized.Exchanges + r.Holdback.Exchanges
				}
				if got != want {
					t.Errorf("%d exchanges were measured, want %d", got, want)
				}
			})
		}
		exchanges(100)
		proven(100)
		time.Sleep(proofEvery)
		if n := s.count(&s.kept); n != 1 {
			t.Errorf("kept %d times", n)
		}
		exchanges(50)
		s.with(func() { s.ask = func() { panic("a test") } })
		s.cycle(ErrFailed)
		s.with(func() { s.ask = nil })
		proven(150) // nothing is lost by a panic
		s.cycle(nil)
		exchanges(50)
		s.end()
		s.run(true)
		proven(200)
		hung := make(chan struct{})
		s.with(func() { s.ask = func() { <-hung } })
		s.cycle(ErrLate)
		close(hung)
		proven(200) // what was kept last
	})
}

// Whoever watches hears of all decisions until it ends; one that does not listen holds nobody up.
func TestRunner_Watch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.run(true)
		deaf, endDeaf := s.runner.Watch()
		defer endDeaf()
		ears, end := s.runner.Watch()
		s.cycle(nil)
		if d := <-ears; d.Verdict != optimizer.Held {
			t.Errorf("%v", d)
		}
		end()
		for i := range 2 * watchBuffer {
			s.propose = func(*optimizer.RouteEvidence) optimizer.Proposal {
				return optimizer.Proposal{Reason: strings.Repeat("x", i+1)}
			}
			s.cycle(nil)
		}
		if len(deaf) != watchBuffer || len(ears) != 0 {
			t.Errorf("%d decisions wait for one who does not listen, %d for one who has left", len(deaf), len(ears))
		}
	})
}

// A run that ends while a cycle is under way waits for it, or gives it up after a second.
func TestRunner_EndsInTheMiddleOfACycle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []time.Duration{lastWait / 2, 2 * lastWait} {
			s := newStand(t)
			c := s.config(true)
			c.Deadline = time.Minute
			s.run(true)
			s.runner.Change(t.Context(), c)
			s.propose = func(e *optimizer.RouteEvidence) optimizer.Proposal {
				time.Sleep(takes)
				return move(e)
			}
			go func() { _, _ = s.runner.Cycle(t.Context()) }()
			synctest.Wait()
			began := time.Now()
			s.end()
			if took := time.Since(began); took != min(takes, lastWait) {
				t.Errorf("a cycle that takes %v: it ended after %v", takes, took)
			}
			time.Sleep(2 * lastWait)
			if n, late := s.count(&s.published), takes > lastWait; late != (n == 0) {
				t.Errorf("a cycle that takes %v has published %d times", takes, n)
			}
		}
	})
}

// Days of cycles, failures and new configurations leave no goroutine and no memory behind.
func TestRunner_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		s.run(true)
		day := func() {
			for i := range 1000 {
				s.ring.Put(&window.Exchange{At: time.Now(), Route: "r", Target: "a", Session: uint64(i), Input: 100, Output: 10, CostNanoUSD: 1000})
				s.propose = func(e *optimizer.RouteEvidence) optimizer.Proposal { return optimizer.Proposal{Reason: "all is well"} }
				if i%100 == 0 {
					s.propose = move
				}
				if i%250 == 99 {
					s.propose = func(*optimizer.RouteEvidence) optimizer.Proposal { panic("a test") }
				}
				s.cycle(nil)
				_, end := s.runner.Watch()
				s.runner.Alarm()
				time.Sleep(time.Minute)
				end()
				if i%50 == 0 {
					s.runner.Change(t.Context(), s.config(i%100 == 0))
					s.runner.Change(t.Context(), s.config(true))
				}
			}
			s.with(func() { s.decisions = nil })
		}
		heap := func() uint64 {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		day()
		before, goroutines := heap(), runtime.NumGoroutine()
		for range 3 {
			day()
		}
		const more = 2 << 20 // of a test binary whose other tests have ended or begun
		if after := heap(); after > before+more {
			t.Errorf("%d bytes after a day, %d after four", before, after)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines after a day, %d after four", goroutines, n)
		}
	})
}
