package runner

import (
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/optimizer"
)

// A disk that takes its time holds up no cycle, only the answer to an order; in the end all is stored, and of what has waited only the newest.
func TestRunner_SlowDiskHoldsUpNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		const slow = 20 * time.Second
		s.disk = slow
		s.propose = move
		s.run(true)
		began := time.Now()
		for range 4 {
			s.cycle(nil)
		}
		s.inspect(func(*optimizer.Loop) {})
		if took := time.Since(began); took > 0 {
			t.Errorf("cycles have waited for %v", took)
		}
		synctest.Wait() // the first is being stored
		if _, err := s.runner.Order(t.Context(), optimizer.Order{Action: optimizer.Freeze, Route: "r", By: "ann"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*slow { // what was under way, and the order
			t.Errorf("the order was answered after %v", took)
		}
		s.cycle(nil)
		s.end()
		if n := s.count(&s.saved); n < 3 || n > 4 { // the first, the order, and what came last
			t.Errorf("stored %d times", n)
		}
		next := newStand(t)
		next.memory = s.memory
		next.run(true)
		next.inspect(func(l *optimizer.Loop) {
			if frozen, _, _, _ := l.Standing(time.Now()); len(frozen) != 1 {
				t.Errorf("frozen: %v", frozen)
			}
		})
	})
}
