package limit

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// However many callers are passed over, the turn of the others comes in the same round.
func TestQueue_PassesOverMany(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	for c := range ID(200) {
		l.push(c+1, 0, 10, 0)
	}
	last := l.push(999, 0, 20, 0)
	asked := 0
	l.Hand(l.now, func(w *Waiter) Answer {
		if asked++; w.Caller == 999 {
			return Took
		}
		return Pass
	})
	if ended(last) != Granted || asked != 201 {
		t.Errorf("ended %d after %d were asked", ended(last), asked)
	}
}

// Time in which everybody was passed over says nothing of how fast the queue goes.
func TestQueue_PassedOverIsNoPace(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	for range 12 { // 1,000 tokens a second
		l.push(1, 0, 100, 0)
	}
	for range 10 {
		l.now = l.now.Add(100 * time.Millisecond)
		l.hand(1)
	}
	before := l.pace.rate
	for range 100 {
		l.now = l.now.Add(100 * time.Millisecond)
		l.Hand(l.now, func(*Waiter) Answer { return Pass })
	}
	if l.pace.rate < before*.7 { // the measurement under way when it began may end
		t.Errorf("%v tokens a second, before %v", l.pace.rate, before)
	}
	if w, why := l.Push(l.now, &Ticket{Caller: 2, Cost: 10, Deadline: l.now.Add(time.Second)}); w == nil {
		t.Errorf("turned away: %d", why)
	}
}

// Who goes on has had its turn, as if it had got room; who is dropped has not.
func TestQueue_GoesOn(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	on, dropped := l.push(1, 0, 10, 0), l.push(2, 0, 10, 0)
	l.push(1, 0, 10, 0)
	l.push(2, 0, 15, 0)
	l.Hand(l.now, func(w *Waiter) Answer {
		switch w {
		case on:
			return On
		case dropped:
			return Drop
		}
		return Stop
	})
	if ended(on) != Elsewhere || ended(dropped) != Elsewhere || l.Len() != 2 {
		t.Errorf("%d wait", l.Len())
	}
	l.expect(9, "[2:15 1:10]")
	if l.Owes() {
		t.Error("nobody owes anything")
	}
	l.Settle(&Ticket{Caller: 1, Cost: 10}, 30)
	if !l.Owes() {
		t.Error("a caller that took more owes nothing")
	}
}

// Other options hold for whoever comes from then on, also while others wait.
func TestQueue_UsesOtherOptions(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{Waiters: 1})
	l.push(1, 0, 10, 0)
	l.Use(QueueOptions{Waiters: 3})
	l.push(2, 0, 10, 0)
	l.push(3, 0, 10, 0)
	l.Use(QueueOptions{Waiters: 2})
	if w, why := l.Push(l.now, &Ticket{Caller: 4, Cost: 10}); w != nil || why != Full || l.Len() != 3 {
		t.Errorf("let in to %d others: %d", l.Len(), why)
	}
	if l.push(5, 1, 10, 0); l.Len() != 2 {
		t.Errorf("%d wait after one of a higher priority", l.Len())
	}
}

// The first is the one that is offered room first, whatever has come and gone.
func TestQueue_First(t *testing.T) {
	t.Parallel()
	draw, now := rand.New(rand.NewPCG(3, 4)), time.Unix(0, 0)
	q := NewQueue(now, QueueOptions{Work: time.Hour})
	var all []*Waiter
	for i := range 2000 {
		w, _ := q.Push(now, &Ticket{Caller: ID(draw.IntN(5)), Priority: draw.IntN(2), Cost: draw.Int64N(20), Deadline: now.Add(time.Hour + time.Duration(draw.IntN(50)))})
		if w == nil {
			t.Fatalf("%d may not wait", i)
		}
		all = append(all, w)
		answers := []Answer{Stop, Took, Pass}
		var offered []*Waiter
		first := slices.IndexFunc(all, q.First)
		q.Hand(now, func(w *Waiter) Answer {
			offered = append(offered, w)
			if len(offered) > 3 {
				return Stop
			}
			return answers[draw.IntN(len(answers))]
		})
		if first < 0 || offered[0] != all[first] {
			t.Fatalf("%d: the first is %d of %d that have come", i, first, len(all))
		}
		all = slices.DeleteFunc(all, func(w *Waiter) bool { return w.place < 0 })
	}
}
