package window

import (
	"fmt"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func TestRecorder_Overflow(t *testing.T) {
	t.Parallel()
	r := NewRecorder(2)
	a, b := r.Series(Key{Target: "a"}), r.Series(Key{Target: "b"})
	c, d := r.Series(Key{Target: "c"}), r.Series(Key{Target: "d", Arm: "x"})
	if a == b || a == c || c != d {
		t.Error("want two series of their own and one shared by the rest")
	}
	if c.Key() != (Key{Other, Other, Other, Other}) || r.Series(c.Key()) != c {
		t.Errorf("overflow key: got %+v", c.Key())
	}
	if r.Series(Key{Target: "a"}) != a || a.Key().Target != "a" {
		t.Error("a known key got another series")
	}
	if got := len(r.Select(nil)); got != 2 {
		t.Errorf("got %d series, want no overflow before it is used", got)
	}
	c.Record(epoch, &Observation{})
	found := r.Select(nil)
	if len(found) != 3 || found[0] != a || found[1] != b || found[2] != c {
		t.Errorf("got %v, want a, b, other", found)
	}
	if got := r.Select(func(k Key) bool { return k.Target == "b" }); len(got) != 1 || got[0] != b {
		t.Errorf("got %v, want b", got)
	}
	if s := NewRecorder(0).Series(Key{Target: "a"}); s.Key().Target != Other {
		t.Error("a recorder for no series made one")
	}
}

func TestRecorder_CopiesKeys(t *testing.T) {
	t.Parallel()
	r := NewRecorder(2)
	buf := []byte("first")
	alias := unsafe.String(&buf[0], len(buf)) // as the request path hands over parts of its buffer
	s := r.Series(Key{alias, alias, alias, alias})
	copy(buf, "other")
	if k := (Key{"first", "first", "first", "first"}); s.Key() != k || r.Series(k) != s {
		t.Errorf("got %+v, want the key as it was", s.Key())
	}
}

func TestRecorder_SelectIsOrdered(t *testing.T) {
	t.Parallel()
	r := NewRecorder(100)
	want := []Key{{"a", "b", "c", "d"}, {"a", "b", "c", "e"}, {"a", "b", "d", "a"}, {"a", "c", "a", "a"}, {"b", "a", "a", "a"}}
	for i := range want {
		r.Series(want[(i+3)%len(want)])
	}
	for i, s := range r.Select(nil) {
		if s.Key() != want[i] {
			t.Errorf("series %d: got %v, want %v", i, s.Key(), want[i])
		}
	}
}

func TestRecorder_ConcurrentAdd(t *testing.T) {
	t.Parallel()
	const writers, keys, most = 8, 100, 60
	r := NewRecorder(most)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range keys {
				r.Series(Key{Target: fmt.Sprint((i + w) % keys)}).Record(epoch, &Observation{})
			}
		})
	}
	wg.Wait()
	if got := len(r.Select(nil)); got != most+1 {
		t.Errorf("got %d series, want %d and the overflow", got, most)
	}
	total := int64(0)
	for _, s := range r.Select(nil) {
		n := r.Sum(Last(epoch, 0), s).Requests()
		if s.Key().Target != Other && n > writers {
			t.Errorf("series %v: got %d requests, want at most %d", s.Key(), n, writers)
		}
		total += n
	}
	if total != writers*keys {
		t.Errorf("got %d requests, want %d", total, writers*keys)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	r := NewRecorder(4)
	k := Key{"target", "route", "class", "arm"}
	all := traffic(newRNG(), 1000)
	now := warm(r, []*Series{r.Series(k)}, all, 50_000)
	i := 0
	check := func(what string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(10_000, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", what, n)
		}
	}
	check("Series and Record", func() {
		r.Series(k).Record(now, &all[i%len(all)])
		i++
	})
	late := now.Add(-30 * time.Second)
	for i := range all {
		r.Series(k).Record(late, &all[i])
	}
	check("Record, late", func() {
		r.Series(k).Record(late, &all[i%len(all)])
		i++
	})
}

// Taking what a slot holds while others add to it leaves nothing behind and takes nothing twice.
func TestOpenSlot_TakeWhileRecording(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 50_000
	var s openSlot
	var taken tally
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				s.record(uint32(w)%shardCount, &Observation{Duration: time.Millisecond, CostNanoUSD: 2})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		s.collect(&taken, true)
	}
	const want = writers * each
	if n := taken.counts[OK]; n != want {
		t.Errorf("got %d requests, want %d", n, want)
	}
	for _, m := range []int{latency, cost} {
		if n := taken.dists[m].count; n != want {
			t.Errorf("measure %d: got %d values, want %d", m, n, want)
		}
	}
	if n := taken.dists[cost].sum; n != 2*want {
		t.Errorf("got a sum of %d, want %d", n, 2*want)
	}
	var rest tally
	if s.collect(&rest, true); !rest.empty() {
		t.Error("something was left in the slot")
	}
}

// A page of a busy series gets a copy for each shard, and nothing is lost on the way.
func TestOpenSlot_Widens(t *testing.T) {
	t.Parallel()
	r := NewRecorder(2)
	busy, slow := r.Series(Key{Target: "busy"}), r.Series(Key{Target: "slow"})
	now, o := epoch, Observation{Duration: 70 * time.Microsecond}
	var recorded int64
	for range 10 {
		for shard := range uint32(2 * widenAt) {
			busy.Record(now, &o)
			busy.open[spill].record(shard%shardCount, &o)
			recorded += 2
		}
		slow.Record(now, &o)
		now = now.Add(slotLength)
		r.Advance(now)
	}
	split := func(s *Series, slot int) bool {
		copies := &s.open[slot].pages[latency][1]
		return copies[0].Load() != copies[1].Load() && copies[1].Load() != copies[2].Load()
	}
	for slot := range openSlots {
		if !split(busy, slot) || split(slow, slot) {
			t.Errorf("slot %d: busy split %v, slow split %v, want only the busy one", slot, split(busy, slot), split(slow, slot))
		}
	}
	if got := r.Sum(Last(now, time.Hour), busy).Latency().Count(); got != recorded {
		t.Errorf("got %d, want %d", got, recorded)
	}
}
