package limit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// line is a queue with a clock, and who was let go.
type line struct {
	testing.TB
	*Queue
	now   time.Time
	order []string
	room  int
}

func newLine(t testing.TB, o QueueOptions) *line {
	now := time.Unix(1e9, 0)
	return &line{TB: t, Queue: NewQueue(now, o), now: now}
}

func (l *line) push(caller ID, priority int, cost int64, deadline time.Duration) *Waiter {
	l.Helper()
	t := Ticket{Caller: caller, Priority: priority, Cost: cost, Draw: .5}
	if deadline > 0 {
		t.Deadline = l.now.Add(deadline)
	}
	w, why := l.Push(l.now, &t)
	if w == nil {
		l.Fatalf("caller %d is not let in: %d", caller, why)
	}
	return w
}

// hand lets n go and says who, with the cost of each.
func (l *line) hand(n int) string {
	l.order, l.room = nil, n
	l.Hand(l.now, func(w *Waiter) Answer {
		if l.room--; l.room < 0 {
			return Stop
		}
		l.order = append(l.order, fmt.Sprintf("%d:%d", w.Caller, w.Cost))
		return Took
	})
	return fmt.Sprint(l.order)
}

func (l *line) expect(n int, want string) {
	l.Helper()
	if got := l.hand(n); got != want {
		l.Errorf("got %s, want %s", got, want)
	}
}

func ended(w *Waiter) Outcome {
	select {
	case g := <-w.Done():
		return g.Outcome
	default:
		return 0
	}
}

func TestQueue_Order(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	l.push(1, 0, 10, 0)
	l.push(1, 0, 11, 9*time.Second)
	l.push(1, 0, 12, 5*time.Second)
	l.push(2, 0, 100, 0)
	l.push(3, 1, 50, 0)
	l.push(2, 0, 10, 0)
	l.expect(2, "[3:50 1:12]") // the higher priority, then the earliest deadline
	l.expect(2, "[1:11 1:10]") // 33 tokens until caller 2 can pay its first
	l.expect(9, "[2:100 2:10]")
	l.expect(9, "[]")
	if l.Len() != 0 {
		t.Errorf("%d wait", l.Len())
	}
}

// Callers take turns by tokens, also those that were settled later.
func TestQueue_TurnsByTokens(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	for range 30 {
		l.push(1, 0, 10, 0)
		l.push(2, 0, 30, 0)
	}
	served := map[string]int{}
	for range 20 {
		served[l.hand(1)]++
	}
	if served["[1:10]"] != 15 || served["[2:30]"] != 5 {
		t.Errorf("%v", served)
	}
	l.Settle(&Ticket{Caller: 1, Cost: 10}, 310) // it was much longer than thought
	clear(served)
	for range 10 {
		served[l.hand(1)]++
	}
	if served["[2:30]"] != 10 {
		t.Errorf("after a long answer: %v", served)
	}
}

// A caller that left with a debt comes back with what the others have not made up for yet, and one that was away has saved nothing.
func TestQueue_DebtStays(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	l.push(1, 0, 10, 0)
	l.push(2, 0, 10, 0)
	l.expect(1, "[1:10]")
	l.Settle(&Ticket{Caller: 1, Cost: 10}, 110)
	for range 20 {
		l.push(2, 0, 10, 0)
	}
	l.expect(5, "[2:10 2:10 2:10 2:10 2:10]")
	l.push(1, 0, 10, 0)
	l.push(3, 0, 10, 0)
	l.expect(8, "[2:10 3:10 2:10 2:10 2:10 2:10 2:10 1:10]")
}

// A caller with a limit of its own is passed over, and loses nothing by it but its turn.
func TestQueue_PassesOver(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	a := l.push(1, 0, 10, 0)
	for range 3 {
		l.push(2, 0, 20, 0)
	}
	var got []ID
	if n := l.Hand(l.now, func(w *Waiter) Answer {
		if w.Caller == 1 {
			return Pass
		}
		got = append(got, w.Caller)
		return Took
	}); n != 3 || len(got) != 3 || ended(a) != 0 {
		t.Errorf("%d let go: %v", n, got)
	}
	l.expect(9, "[1:10]")
}

func TestQueue_Deadlines(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	early, late := l.push(1, 0, 10, time.Second), l.push(1, 0, 11, 3*time.Second)
	w, why := l.Push(l.now, &Ticket{Caller: 2, Deadline: l.now.Add(time.Second), Service: 2 * time.Second})
	if w != nil || why != Late {
		t.Errorf("who can't make it is let in: %d", why)
	}
	slow, _ := l.Push(l.now, &Ticket{Caller: 2, Cost: 1, Deadline: l.now.Add(4 * time.Second), Service: 3 * time.Second})
	l.now = l.now.Add(2 * time.Second)
	l.expect(9, "[1:11]")
	if ended(early) != Late || ended(slow) != Late || ended(late) != Granted {
		t.Error("wrong ends")
	}
}

// Two seconds of work may wait; who has most of it makes place for others, and the lower priority for the higher.
func TestQueue_BoundedWork(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	l.push(9, 0, 1, 0)
	var hot []*Waiter
	for range 60 { // 1,000 tokens a second, while somebody waits
		hot = append(hot, l.push(1, 0, 100, 0))
	}
	for range 10 {
		l.now = l.now.Add(100 * time.Millisecond)
		l.hand(1)
	}
	if w, why := l.Push(l.now, &Ticket{Caller: 1, Cost: 100}); w != nil || why != Full {
		t.Errorf("%d tokens wait, and the hot caller is let in: %d", l.cost, why)
	}
	l.push(2, 0, 100, 0)
	if l.pace.lasts(l.cost) > 2*time.Second+50*time.Millisecond {
		t.Errorf("%v of work wait", l.pace.lasts(l.cost))
	}
	l.push(3, 1, 100, 0)
	out := 0
	for _, w := range hot {
		if ended(w) == Full {
			out++
		}
	}
	if out < 20 || ended(hot[len(hot)-1]) == Granted {
		t.Errorf("%d were pushed out", out)
	}
	l.now = l.now.Add(time.Minute) // nothing goes any more
	w, why := l.Push(l.now, &Ticket{Caller: 4, Cost: 1, Deadline: l.now.Add(time.Second)})
	if w != nil || why != Late {
		t.Errorf("lets wait for a queue that stands still: %d", why)
	}
}

func TestQueue_Cancel(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{})
	a, b, c := l.push(1, 0, 1, 0), l.push(1, 0, 2, 0), l.push(2, 0, 3, 0)
	if !l.Cancel(b) || l.Cancel(b) || ended(b) != Canceled {
		t.Error("a cancel counts once")
	}
	l.Hand(l.now, func(w *Waiter) Answer {
		if l.Cancel(w) {
			t.Error("canceled while it gets room")
		}
		l.Hand(l.now, func(*Waiter) Answer { t.Error("two at a time"); return Stop })
		if w == a {
			return Took
		}
		return Pass
	})
	if ended(a) != Granted || ended(c) != Canceled || l.Len() != 0 {
		t.Errorf("%d wait", l.Len())
	}
}

// Of those that are let go at once all but the first are spread.
func TestQueue_Jitter(t *testing.T) {
	t.Parallel()
	l := newLine(t, QueueOptions{Jitter: 100 * time.Millisecond})
	a, b := l.push(1, 0, 1, 0), l.push(1, 0, 1, 0)
	l.hand(2)
	if g := <-a.Done(); g.Delay != 0 {
		t.Errorf("the first waits %v", g.Delay)
	}
	if g := <-b.Done(); g.Delay != 50*time.Millisecond {
		t.Errorf("the second waits %v", g.Delay)
	}
}

// Waiters, cancels and hand-overs from many goroutines: everybody's wait ends once, and nobody is let through beyond the room.
func TestQueue_Concurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, q := New(start, Options{}), NewQueue(start, QueueOptions{Work: time.Hour})
		if err := s.Configure(start, []Rule{{Name: "slots", Limits: []Limit{{Of: Concurrent, Most: 8}}}}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var running, most, served, given atomic.Int64
		leases := sync.Map{}
		hand := func() {
			q.Hand(time.Now(), func(w *Waiter) Answer {
				lease, r := s.Reserve(time.Now(), &Request{Caller: w.Caller})
				if r.Refused() {
					return Stop
				}
				leases.Store(w, lease)
				return Took
			})
		}
		for i := range 500 {
			wg.Go(func() {
				draw := rand.New(rand.NewPCG(1, uint64(i)))
				time.Sleep(time.Duration(draw.IntN(1000)) * time.Millisecond)
				w, _ := q.Push(time.Now(), &Ticket{Caller: ID(i % 7), Cost: 1 + draw.Int64N(100), Deadline: time.Now().Add(3 * time.Second), Draw: draw.Float64()})
				if w == nil {
					return
				}
				hand()
				var g Grant
				select {
				case g = <-w.Done():
				case <-time.After(time.Duration(500+draw.IntN(4000)) * time.Millisecond):
					if q.Cancel(w) {
						return
					}
					g = <-w.Done()
					given.Add(1)
				}
				if g.Outcome != Granted {
					return
				}
				time.Sleep(g.Delay)
				lease, _ := leases.LoadAndDelete(w)
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Duration(10+draw.IntN(100)) * time.Millisecond)
				running.Add(-1)
				served.Add(1)
				s.Settle(time.Now(), lease.(Lease), Usage{})
				hand()
			})
		}
		wg.Wait()
		if held, _ := s.Leases(); held != 0 || q.Len() != 0 || most.Load() > 8 || served.Load() < 200 {
			t.Errorf("%d leases, %d wait, %d at a time, %d served", held, q.Len(), most.Load(), served.Load())
		}
	})
}

// jain is Jain's index of fairness: 1 where all have the same.
func jain(shares []float64) float64 {
	sum, squares := 0., 0.
	for _, x := range shares {
		sum, squares = sum+x, squares+x*x
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// Ten callers, the last with ten times the load of the others, at 2.4 times the capacity: all get the same, by the tokens that their requests turned out to have, and hardly
// any of the capacity is lost.
func TestQueue_Fairness(t *testing.T) {
	t.Parallel()
	const capacity, seconds = 20_000, 60
	for _, guess := range []float64{1, .5, 2} { // how well sizes are guessed, for half of the callers
		draw := rand.New(rand.NewPCG(5, 6))
		now := time.Unix(1e9, 0)
		q := NewQueue(now, QueueOptions{})
		served, offered := make([]float64, 10), make([]float64, 10)
		level, outcomes := 0., map[Outcome]int{}
		sizes := map[*Waiter]float64{}
		for ms := range seconds * 1000 {
			now = now.Add(time.Millisecond)
			level = min(level+capacity/1000., capacity/4.)
			for caller := range served {
				load := 2500. // tokens a second, where the fair share is 2,000
				if caller == 9 {
					load *= 10
				}
				const mean = 250
				if draw.Float64() < load/mean/1000 {
					size := mean * math.Exp(draw.NormFloat64()*.7-.245)
					offered[caller] += size
					thought := size * math.Exp(draw.NormFloat64()*.3)
					if caller%2 == 0 {
						thought *= guess
					}
					w, why := q.Push(now, &Ticket{Caller: ID(caller + 1), Cost: int64(thought), Deadline: now.Add(4 * time.Second)})
					if w == nil {
						outcomes[why]++
						continue
					}
					sizes[w] = size
				}
			}
			var through []*Waiter
			q.Hand(now, func(w *Waiter) Answer {
				if level <= 0 {
					return Stop
				}
				level -= sizes[w]
				if ms > 5000 {
					served[w.Caller-1] += sizes[w]
				}
				through = append(through, w)
				return Took
			})
			for _, w := range through {
				outcomes[Granted]++
				q.Settle(&w.Ticket, int64(sizes[w]))
			}
		}
		total := 0.
		for _, x := range served {
			total += x
		}
		index, used := jain(served), total/capacity/(seconds-5)
		t.Logf("sizes guessed at %v: Jain's index %.4f (by load offered %.4f), %.1f %% of the capacity used, outcomes %v", guess, index, jain(offered), used*100, outcomes)
		if index < .95 || used < .97 {
			t.Errorf("sizes guessed at %v: Jain's index %.3f, %.1f %% used: %.0f", guess, index, used*100, served)
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, callers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			now := time.Unix(1e9, 0)
			q := NewQueue(now, QueueOptions{Work: time.Hour})
			for i := range 5 * callers {
				q.Push(now, &Ticket{Caller: ID(i % callers), Cost: int64(100 + i*37%900)})
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now = now.Add(time.Millisecond)
				q.Push(now, &Ticket{Caller: ID(i % callers), Cost: int64(100 + i*37%900)})
				done := false
				q.Hand(now, func(*Waiter) Answer {
					if done = !done; done {
						return Took
					}
					return Stop
				})
			}
		})
	}
}
