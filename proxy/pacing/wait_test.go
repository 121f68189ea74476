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
	turn, r := p.Try(time.Now(), &crowded, Size{})
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
		if _, r := p.Try(time.Now(), &crowded, Size{}); !r.Full || r.Lacks != limit.Concurrent {
			t.Errorf("behind those that wait: %+v", r)
		}
		wg.Wait()
		end()
		nothingLeft(t, p)
	})
}

// What was kept of a refusal is what was stored.
func TestLastRefusal(t *testing.T) {
	t.Parallel()
	var l lastRefusal
	for _, r := range []Refusal{{}, {Retry: 1, Full: true}, {Retry: time.Hour, Lacks: limit.Spend}, {Retry: longestRetry, Full: true, Lacks: limit.Concurrent}} {
		if l.store(&r); l.load() != r {
			t.Errorf("%+v became %+v", r, l.load())
		}
	}
	l.store(&Refusal{Retry: 1 << 62, Lacks: limit.Tokens})
	if r := l.load(); r != (Refusal{Retry: longestRetry, Lacks: limit.Tokens}) {
		t.Errorf("too long: %+v", r)
	}
}
