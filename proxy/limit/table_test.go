package limit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many more callers than entries, from many goroutines, while idle ones are swept: nothing that was spent is lost, whoever was thrown out.
func TestTable_LosesNothing(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	s := New(start, Options{Entries: 64, Idle: time.Millisecond})
	err := s.Configure(start, []Rule{{Name: "each", Caller: Scope{Each: true}, Route: Scope{Each: true}, Limits: []Limit{{Of: Spend, Per: Month, Most: 1 << 60}, perMinute(Requests, 1<<30)}}})
	if err != nil {
		t.Fatal(err)
	}
	var clock, spent atomic.Int64
	var wg sync.WaitGroup
	dropped := 0
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_, n := s.Sweep(start.Add(time.Duration(clock.Load())))
				dropped += n
			}
		}
	})
	var workers sync.WaitGroup
	for worker := range 16 {
		workers.Go(func() {
			draw := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 3000 {
				now := start.Add(time.Duration(clock.Add(draw.Int64N(int64(time.Millisecond)))))
				q := Request{Caller: ID(1 + draw.IntN(1000)), Route: ID(draw.IntN(3)), Cost: 5}
				lease, r := s.Reserve(now, &q)
				if r.Refused() {
					t.Errorf("%+v", r)
					return
				}
				if draw.IntN(50) > 0 { // most cost nothing, and may be forgotten
					s.Cancel(now, lease)
					continue
				}
				s.Settle(now, lease, Usage{Cost: 7})
				spent.Add(7)
			}
		})
	}
	workers.Wait()
	close(done)
	wg.Wait()
	st := s.Stats()[0]
	if st.Spent != spent.Load() || st.Entries > 64 {
		t.Errorf("%d spent, %d known in %d entries", spent.Load(), st.Spent, st.Entries)
	}
	if held, _ := s.Leases(); held != 0 {
		t.Errorf("%d leases", held)
	}
	s.Sweep(start.Add(40 * 24 * time.Hour)) // a month later all are idle
	if n := s.Stats()[0].Entries; n != 0 || dropped == 0 {
		t.Errorf("%d entries in the next month, %d dropped on the way", n, dropped)
	}
}
