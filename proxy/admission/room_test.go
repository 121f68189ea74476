package admission

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

func each(l limit.Limit) limit.Rule {
	return limit.Rule{Name: "each", Caller: limit.Scope{Each: true}, Limits: []limit.Limit{l}}
}

// enter lets a request in at once, which has to go well.
func enter(t *testing.T, g *Gate, q limit.Request) Pass {
	t.Helper()
	p, refusal := g.TryEnter(&q)
	if refusal.Refused() {
		t.Fatalf("%+v is refused: %+v", q, refusal)
	}
	return p
}

// Callers over limits of their own, that wait while a shared limit is used up for a moment, hold up nobody once that has room again.
func TestGate_SharedRoomIsNotHeld(t *testing.T) {
	t.Parallel()
	for _, own := range []limit.Limit{{Of: limit.Requests, Per: limit.Second, Most: 1, Burst: 1}, {Of: limit.Concurrent, Most: 1}} {
		for _, crowd := range []int{1, 80} {
			synctest.Test(t, func(t *testing.T) {
				g := gate(t, waits, atATime("all", 100), each(own))
				var held []Pass
				for i := range 100 {
					held = append(held, enter(t, g, limit.Request{Caller: limit.ID(i + 1)}))
				}
				var wg sync.WaitGroup
				for i := range crowd {
					wg.Go(func() {
						if p, _, refusal, _ := g.Enter(t.Context(), &limit.Request{Caller: limit.ID(i + 1)}, 0); !refusal.Refused() {
							time.Sleep(time.Second)
							g.Leave(&p, Usage{})
						}
					})
				}
				time.Sleep(100 * time.Millisecond)
				for i := range held[crowd:] {
					g.Leave(&held[crowd+i], Usage{})
				}
				synctest.Wait()
				for i := range limit.ID(10) {
					start := time.Now()
					p, _, refusal, _ := g.Enter(t.Context(), &limit.Request{Caller: 1000 + i, Input: 100}, 0)
					if took := time.Since(start); refusal.Refused() || took > 50*time.Millisecond {
						t.Errorf("own limit %s, %d over it: held up for %v, refused by %q", own.Of, crowd, took, refusal.Rule)
					}
					g.Leave(&p, Usage{})
				}
				for i := range held {
					g.Leave(&held[i], Usage{})
				}
				wg.Wait()
				empty(t, g)
			})
		}
	}
}

// A request that waits for its caller's limit goes on to the shared one, and takes its turn there; it comes back where its own is used up meanwhile.
func TestGate_GoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("all", 1), each(limit.Limit{Of: limit.Requests, Per: limit.Second, Most: 2, Burst: 1}))
		p := enter(t, g, limit.Request{Caller: 1})
		var order []limit.ID
		var wg sync.WaitGroup
		for _, who := range []limit.ID{1, 2, 1, 2} {
			wg.Go(func() {
				p, delay, refusal, err := g.Enter(t.Context(), &limit.Request{Caller: who}, 0)
				if refusal.Refused() || err != nil {
					t.Errorf("%d is refused: %+v", who, refusal)
					return
				}
				order = append(order, who) // one at a time
				time.Sleep(delay + 10*time.Millisecond)
				g.Leave(&p, Usage{})
			})
			synctest.Wait()
		}
		start := time.Now()
		g.Leave(&p, Usage{})
		wg.Wait()
		if took := time.Since(start); len(order) != 4 || order[0] != 2 || took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("order %v, in %v", order, took)
		}
		empty(t, g)
	})
}

// A wait ends when it has become clear that it is in vain, and the client is told when there will be room.
func TestGate_HopelessWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, limit.Rule{Name: "day", Limits: []limit.Limit{{Of: limit.Spend, Per: limit.Day, Most: 100}}})
		p := enter(t, g, limit.Request{Cost: 100})
		start := time.Now()
		time.AfterFunc(300*time.Millisecond, func() { g.Leave(&p, Usage{Cost: 100}) })
		_, _, refusal, err := g.Enter(t.Context(), &limit.Request{Cost: 1}, 0)
		if took := time.Since(start); err != nil || took != 300*time.Millisecond || refusal.Retry < time.Minute {
			t.Errorf("after %v: %+v, %v", took, refusal, err)
		}
		empty(t, g)
	})
}

// What a limit says is counted from when it says it, also for those who are behind others.
func TestGate_RetryIsOfNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := waits
		o.MaxWait = 10 * time.Second
		g := gate(t, o, limit.Rule{Name: "r", Limits: []limit.Limit{{Of: limit.Tokens, Per: limit.Minute, Most: 600}}})
		p := enter(t, g, limit.Request{Input: 600})
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _, _ = g.EnterWithin(t.Context(), &limit.Request{Input: 90}, 0, 0, 0) })
		synctest.Wait()
		time.Sleep(8500 * time.Millisecond)
		if _, refusal := g.TryEnter(&limit.Request{Input: 10}); refusal.Retry != 500*time.Millisecond || refusal.Rule != "r" { // it would have room, but is not first
			t.Errorf("%+v", refusal)
		}
		wg.Wait()
		g.Leave(&p, Usage{Input: 600})
	})
}

// All that a limit stood in the way of are counted, those as well who came behind others, and all that were refused for it.
func TestGate_Counts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("one", 1))
		p := enter(t, g, limit.Request{})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _, _, _, _ = g.Enter(t.Context(), &limit.Request{}, 0) })
			synctest.Wait()
		}
		if _, refusal := g.TryEnter(&limit.Request{Again: true}); !refusal.Refused() { // it may go elsewhere
			t.Error("let in")
		}
		wg.Wait()
		if st := g.Set().Stats()[0]; st.Met != 100 || st.Refused != 100 {
			t.Errorf("%+v", st)
		}
		g.Leave(&p, Usage{})
		empty(t, g)
	})
}

// Requests under way say when they end: nobody looks every millisecond, and what ends elsewhere is no news.
func TestGate_LooksWhenThereIsNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, each(limit.Limit{Of: limit.Concurrent, Most: 1}))
		p := enter(t, g, limit.Request{Caller: 1})
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _, _ = g.Enter(t.Context(), &limit.Request{Caller: 1}, 0) })
		synctest.Wait()
		r := g.allRooms()[0]
		if next := r.hand(g.set); next != longestLook {
			t.Errorf("looks again in %v", next)
		}
		other := enter(t, g, limit.Request{Caller: 2})
		g.Leave(&other, Usage{})
		if len(r.News) != 0 {
			t.Error("what another caller gives back is news")
		}
		g.Leave(&p, Usage{})
		wg.Wait()
	})
}

// Another configuration says how many may wait from then on, also where some do; what a request has waited elsewhere is no part of what it may wait here.
func TestGate_OtherOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, rule := waits, atATime("one", 1)
		o.Waiters = 1
		g := gate(t, o, rule)
		p := enter(t, g, limit.Request{})
		start := time.Now()
		var wg sync.WaitGroup
		wait := func(caller limit.ID, spent, want time.Duration) {
			t.Helper()
			wg.Go(func() {
				p, _, refusal, err := g.EnterWithin(t.Context(), &limit.Request{Caller: caller}, 0, 0, spent)
				if took := time.Since(start); err != nil || !refusal.Refused() || took != want {
					t.Errorf("caller %d: %+v, %v after %v, want %v", caller, refusal, err, took, want)
				}
				g.Leave(&p, Usage{})
			})
			synctest.Wait()
		}
		wait(1, 0, 2*time.Second)
		wait(2, 0, 0)
		o.Waiters = 2
		if err := g.Configure(time.Now(), []limit.Rule{rule}, o); err != nil {
			t.Fatal(err)
		}
		wait(3, 1500*time.Millisecond, 500*time.Millisecond)
		wait(4, 0, 0)
		wait(5, 2*time.Second, 0)
		wg.Wait()
		g.Leave(&p, Usage{})
		empty(t, g)
	})
}

// A caller that took much more than was thought comes back in debt, also where nobody waited meanwhile.
func TestGate_DebtStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("one", 1))
		first := enter(t, g, limit.Request{})
		var wg sync.WaitGroup
		var order []limit.ID
		queue := func(who limit.ID, input, used int64) {
			wg.Go(func() {
				p, _, refusal, _ := g.Enter(t.Context(), &limit.Request{Caller: who, Input: input}, 0)
				if refusal.Refused() {
					t.Errorf("%d: %+v", who, refusal)
					return
				}
				order = append(order, who)
				time.Sleep(20 * time.Millisecond)
				g.Leave(&p, Usage{Input: used})
			})
			synctest.Wait()
		}
		queue(1, 10, 500)
		g.Leave(&first, Usage{})
		wg.Wait()
		for range 20 {
			time.Sleep(time.Second)
			g.Sweep(time.Now())
		}
		order = nil
		first = enter(t, g, limit.Request{})
		queue(1, 10, 10)
		for range 5 {
			queue(2, 50, 50)
		}
		g.Leave(&first, Usage{})
		wg.Wait()
		if len(order) != 6 || order[5] != 1 {
			t.Errorf("order %v", order)
		}
		empty(t, g)
	})
}

// leaving is a context that is done when something has happened.
type leaving struct {
	context.Context
	when func()
}

func (l *leaving) Done() <-chan struct{} {
	l.when()
	c := make(chan struct{})
	close(c)
	return c
}

func (l *leaving) Err() error { return context.Canceled }

// A client that leaves when it has just got room does not pay for its turn.
func TestGate_LeftWithGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for left := false; !left; { // the runtime draws which of the two is seen
			g := gate(t, waits, atATime("one", 1))
			first := enter(t, g, limit.Request{})
			ready := make(chan struct{})
			var wg sync.WaitGroup
			var order []limit.ID
			wg.Go(func() {
				p, _, _, err := g.Enter(&leaving{t.Context(), func() { <-ready; g.Leave(&first, Usage{}); time.Sleep(time.Millisecond) }}, &limit.Request{Caller: 1, Input: 1000}, 0)
				left = err != nil
				g.Leave(&p, Usage{Input: 1000})
			})
			synctest.Wait()
			for _, q := range []limit.Request{{Caller: 1, Input: 500}, {Caller: 2, Input: 1000}} {
				wg.Go(func() {
					p, _, _, _ := g.Enter(t.Context(), &q, 0)
					order = append(order, q.Caller)
					g.Leave(&p, Usage{Input: q.Input})
				})
				synctest.Wait()
			}
			close(ready)
			wg.Wait()
			if left && order[0] != 1 {
				t.Errorf("order %v", order)
			}
			empty(t, g)
		}
	})
}

// Close ends all waits, and nobody waits after it.
func TestGate_Close(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("one", 1))
		p := enter(t, g, limit.Request{})
		var wg sync.WaitGroup
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				if _, _, refusal, err := g.Enter(t.Context(), &limit.Request{}, 0); !refusal.Refused() || err != nil {
					t.Errorf("%+v, %v", refusal, err)
				}
			})
		}
		synctest.Wait()
		g.Close()
		wg.Wait()
		if _, _, refusal, _ := g.Enter(t.Context(), &limit.Request{}, 0); !refusal.Refused() || time.Since(start) != 0 {
			t.Errorf("%+v after %v", refusal, time.Since(start))
		}
		g.Leave(&p, Usage{})
		g.Close()
	})
}

func TestTell(t *testing.T) {
	t.Parallel()
	check := func(r limit.Refusal, draw float64, want time.Duration) {
		t.Helper()
		if tell(&r, draw); r.Retry != want {
			t.Errorf("%v, want %v", r.Retry, want)
		}
	}
	slots, budget, rate := limit.Limit{Of: limit.Concurrent}, limit.Limit{Of: limit.Spend}, limit.Limit{Of: limit.Requests}
	check(limit.Refusal{Limit: slots, Guess: true, Retry: time.Millisecond}, .5, time.Second)
	check(limit.Refusal{Limit: slots, Guess: true, Retry: 5 * time.Second}, .5, 5*time.Second)
	check(limit.Refusal{Limit: rate}, .5, time.Millisecond)
	check(limit.Refusal{Limit: rate, Retry: 20 * time.Second}, .5, 20*time.Second)
	check(limit.Refusal{Limit: budget, Retry: time.Second}, .5, 1500*time.Millisecond)
	check(limit.Refusal{Limit: budget, Retry: 10 * time.Minute}, .5, 10*time.Minute+3*time.Second)
	check(limit.Refusal{Limit: budget, Retry: 24 * time.Hour}, .5, 24*time.Hour+5*time.Second)
	check(limit.Refusal{Limit: budget, Never: true, Retry: 1<<63 - 1}, .5, 1<<63-1)
}

// Exchanges that wait elsewhere cost an unrelated one nothing.
func BenchmarkGate_OtherRooms(b *testing.B) {
	for _, rooms := range []int{0, 5000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			o := Options{MaxWait: time.Hour, Waiters: 1000}
			g := New(time.Now(), limit.Options{}, o)
			if err := g.Configure(time.Now(), []limit.Rule{each(limit.Limit{Of: limit.Concurrent, Most: 1})}, o); err != nil {
				b.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range rooms {
				g.TryEnter(&limit.Request{Caller: limit.ID(i + 1)})
				wg.Go(func() { _, _, _, _ = g.Enter(context.Background(), &limit.Request{Caller: limit.ID(i + 1)}, 0) })
			}
			for g.Waiting() < int64(rooms) {
				time.Sleep(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				p, _ := g.TryEnter(&limit.Request{Caller: 1 << 40})
				g.Leave(&p, Usage{})
			}
			g.Close()
			wg.Wait()
		})
	}
}
