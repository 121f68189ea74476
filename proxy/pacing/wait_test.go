package pacing

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// full makes a pace as full as it may be, and a way to end what is under way.
func full(t *testing.T) (p *Pace, crowded Terms, end func()) {
	t.Helper()
	p = newPace(time.Now(), time.Now(), Key{Model: "m"})
	crowded = terms
	crowded.Crowds, crowded.Concurrency = true, limit.ConcurrencyOptions{Most: 1, Open: true}
	turn, r := p.Try(time.Now(), &crowded, limit.Need{})
	if r.Retry > 0 {
		t.Fatalf("%+v", r)
	}
	return p, crowded, func() { p.End(time.Now(), &turn, true, limit.Good, 0, 0) }
}

// That the target is full is told to all that wait in vain, not only to the first of them, and to those that find too many waiting.
func TestPace_FullForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, crowded, end := full(t)
		crowded.Waiters = 4
		var wg sync.WaitGroup
		for i := range limit.ID(6) {
			wg.Go(func() {
				if _, r := enter(t.Context(), p, i+1, crowded); r.Retry <= 0 || !r.Full || r.Lacks != limit.Concurrent {
					t.Errorf("of caller %d: %+v", i+1, r)
				}
			})
			synctest.Wait()
		}
		if _, r := p.Try(time.Now(), &crowded, limit.Need{}); !r.Full || r.Lacks != limit.Concurrent {
			t.Errorf("behind those that wait: %+v", r)
		}
		wg.Wait()
		end()
		nothingLeft(t, p)
	})
}

// Room that has come between a refusal and the wait is had at once; so is what there is for one that goes before those that wait.
func TestPace_LooksAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, crowded, end := full(t)
		if _, r := p.Try(time.Now(), &crowded, limit.Need{}); !r.Full {
			t.Fatalf("%+v", r)
		}
		end()
		start := time.Now()
		turn, _, r := p.Wait(t.Context(), start, &Ask{Terms: crowded, MaxWait: crowded.MaxWait})
		if r.Retry > 0 || time.Since(start) != 0 {
			t.Errorf("waits behind nobody: %+v after %v", r, time.Since(start))
		}
		p.End(time.Now(), &turn, true, limit.Good, 0, 0)

		p, crowded, end = full(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			turn, _ := enter(t.Context(), p, 1, crowded)
			p.End(time.Now(), &turn, true, limit.Good, 0, 0)
		}()
		time.Sleep(crowdLook / 2) // and it waits
		start = time.Now()
		turn, _, r = p.Wait(t.Context(), start, &Ask{Terms: terms, Priority: 1, MaxWait: terms.MaxWait}) // does not care for the crowd
		if r.Retry > 0 || time.Since(start) != 0 {
			t.Errorf("waits though it goes first: %+v after %v", r, time.Since(start))
		}
		p.End(time.Now(), &turn, true, limit.Good, 0, 0)
		end()
		<-done
		nothingLeft(t, p)
	})
}

// Who joins has the queue looked at where it would go first: room for it says nothing of the others, nor is there any for those behind them.
func TestPace_LooksForTheFirst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := newPace(now, now, Key{Model: "m"})
	p.queue = limit.NewQueue(now, limit.QueueOptions{}) // which nobody serves
	check := func(what string, caller limit.ID, priority int, cost int64, in time.Duration, want bool) {
		t.Helper()
		ticket := limit.Ticket{Caller: caller, Priority: priority, Cost: cost, Deadline: now.Add(in)}
		if _, w := p.join(now, &ticket, &Ask{Terms: terms}); w == nil {
			t.Fatalf("%s: it may not wait", what)
		}
		looks := false
		select {
		case <-p.news:
			looks = true
		default:
		}
		if looks != want {
			t.Errorf("%s: looked at %v, want %v", what, looks, want)
		}
	}
	check("the first", 1, 0, 100, time.Second, true)
	check("behind its caller's own", 1, 0, 10, 2*time.Second, false)
	check("of another caller, as much", 2, 0, 100, time.Second, false)
	check("of another caller, whose turn it is", 3, 0, 50, time.Second, true)
	check("before its caller's own", 3, 0, 40, time.Second/2, true)
	check("of a higher priority", 4, 1, 1000, time.Second, true)
	check("below that", 5, 0, 1, time.Second, false)
}

// How many may wait, and for how long, can change while some do.
func TestPace_OtherTerms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, crowded, end := full(t)
		crowded.Waiters = 1
		var wg sync.WaitGroup
		ask := func(caller limit.ID, terms Terms, wants bool) {
			t.Helper()
			start := time.Now()
			wg.Go(func() {
				turn, r := enter(t.Context(), p, caller, terms)
				if waited := time.Since(start) > 0; waited != wants || (r.Retry == 0) != wants {
					t.Errorf("caller %d: waits %v, want %v: %+v", caller, waited, wants, r)
				}
				p.End(time.Now(), &turn, true, limit.Good, 0, 0)
			})
			synctest.Wait()
		}
		ask(1, crowded, true)
		ask(2, crowded, false)
		crowded.Waiters = 2
		ask(3, crowded, true)
		ask(4, crowded, false)
		time.Sleep(100 * time.Millisecond)
		end()
		wg.Wait()
		nothingLeft(t, p)
	})
}

// What was kept of a refusal is what was stored.
func TestLastRefusal(t *testing.T) {
	t.Parallel()
	var l lastRefusal
	for _, r := range []Refusal{{}, {Retry: 1, Full: true}, {Retry: time.Hour, Lacks: limit.Spend, Told: true}, {Retry: longestRetry, Full: true, Lacks: limit.Concurrent}} {
		if l.store(&r); l.load() != r {
			t.Errorf("%+v became %+v", r, l.load())
		}
	}
	l.store(&Refusal{Retry: 1 << 62, Lacks: limit.Tokens})
	if r := l.load(); r != (Refusal{Retry: longestRetry, Lacks: limit.Tokens}) {
		t.Errorf("too long: %+v", r)
	}
}
