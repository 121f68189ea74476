package window

import (
	"sync"
	"testing"
	"time"
)

func TestRing_LosesWhatNobodyFetches(t *testing.T) {
	t.Parallel()
	r := NewRing()
	const n = ringShards*ringSlots + 100
	for i := range n {
		r.Put(&Exchange{Input: int64(i)})
	}
	seen := map[int64]bool{}
	r.Drain(func(x *Exchange) { seen[x.Input] = true })
	if len(seen) != ringShards*ringSlots || r.Lost() != 100 {
		t.Errorf("%d fetched, %d lost", len(seen), r.Lost())
	}
	r.Drain(func(*Exchange) { t.Error("fetched twice") })
	r.Put(&Exchange{Input: n})
	got := 0
	r.Drain(func(x *Exchange) { got++ })
	if got != 1 {
		t.Errorf("%d after it was emptied", got)
	}
}

// Nothing is lost without being counted, or fetched twice, while many write.
func TestRing_CountsAll(t *testing.T) {
	t.Parallel()
	r := NewRing()
	const writers, each = 8, 5000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r.Put(&Exchange{At: time.Unix(int64(w), 0), Input: int64(w*each + i)})
			}
		})
	}
	seen := make([]int, writers*each)
	total := uint64(0)
	take := func(x *Exchange) { seen[x.Input]++; total++ }
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for open := true; open; {
		select {
		case <-ended:
			open = false
		default:
		}
		r.Drain(take)
	}
	for i, n := range seen {
		if n > 1 {
			t.Fatalf("%d was fetched %d times", i, n)
		}
	}
	if total+r.Lost() != writers*each {
		t.Errorf("%d fetched, %d lost of %d", total, r.Lost(), writers*each)
	}
}

func TestRing_PutDoesNotAllocate(t *testing.T) {
	r := NewRing()
	x := Exchange{Route: "r"}
	if n := testing.AllocsPerRun(1000, func() { r.Put(&x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRing_Put(b *testing.B) {
	r := NewRing()
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				r.Drain(func(*Exchange) {})
			}
		}
	}()
	defer close(stop)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		x := Exchange{Route: "r", Target: "t"}
		for p.Next() {
			r.Put(&x)
		}
	})
}
