package storage

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryOf begins a cache and gives a way to store in it, which waits until it is settled.
func memoryOf(t testing.TB, limit int64) (m *Memory, put func(now time.Time, n int, item CacheItem)) {
	m = NewMemory(limit)
	t.Cleanup(m.Close)
	return m, func(now time.Time, n int, item CacheItem) {
		if item.Value == nil {
			item.Value = valueOf(n, 1, 100)
		}
		m.Put(now, keyOf(n), &item)
		m.cache.Wait()
	}
}

func TestMemory_TimesToLiveAndIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, put := memoryOf(t, 1<<20)
		defer m.Close()
		check := func(n int, want bool) {
			t.Helper()
			v, found := m.Get(time.Now(), keyOf(n))
			if got, _, whole := wholeValue(v); found != want || found && (got != n || !whole) {
				t.Errorf("entry %d: %v, %d, whole %v", n, found, got, whole)
			}
		}
		now := time.Now()
		put(now, 1, CacheItem{})
		put(now, 2, CacheItem{TTL: time.Minute})
		put(now, 3, CacheItem{TTL: time.Hour, Idle: 30 * time.Second})
		put(now, 4, CacheItem{TTL: time.Hour, Idle: 30 * time.Second})
		put(now, 5, CacheItem{TTL: -time.Second})
		check(5, false)
		for range 3 { // 4 is in demand
			time.Sleep(19 * time.Second)
			check(4, true)
		}
		check(1, true)
		check(2, true)
		check(3, false)
		time.Sleep(3 * time.Second)
		check(2, false)
		if info, found := m.Peek(time.Now(), keyOf(4)); !found || !info.Memory || !info.Expires.Equal(now.Add(time.Hour)) || !info.LastHit.Equal(now.Add(57*time.Second)) {
			t.Errorf("peek: %+v, %v", info, found)
		}
		time.Sleep(memoryShards*sweepEvery + time.Second) // and what nobody asks for goes, too
		if s := m.Stats(); s.Entries != 1 || s.Expired != 3 || s.Hits != 5 || s.Misses != 3 || s.Rejected != 1 || s.Stored != 4 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestMemory_PurgeByWhatIsNamed(t *testing.T) {
	t.Parallel()
	m, put := memoryOf(t, 8<<20)
	now := time.Now()
	for n := range 1000 {
		put(now, n, CacheItem{Route: fmt.Sprint("r", n%2), Model: fmt.Sprint("m", n%5), Caller: fmt.Sprint("c", n%10)})
	}
	left := 1000
	check := func(f CacheFilter, want int) {
		t.Helper()
		dry := m.Purge(now, &f, true)
		if s := m.Stats(); s.Entries != int64(left) {
			t.Fatalf("%d entries, want %d", s.Entries, left)
		}
		got := m.Purge(now, &f, false)
		if got != dry || got.Entries != int64(want) || got.Bytes != int64(want)*(100+memoryOverhead) {
			t.Errorf("%+v: %+v, dry %+v, want %d", f, got, dry, want)
		}
		picked := selectionOf(&f)
		for n := range 1000 {
			key, tags := keyOf(n), tagsOf(fmt.Sprint("r", n%2), fmt.Sprint("m", n%5), fmt.Sprint("c", n%10))
			if _, found := m.Get(now, key); found && picked.holds(&key, &tags) {
				t.Errorf("%+v: entry %d is there", f, n)
			}
		}
		left -= want
		if s := m.Stats(); s.Entries != int64(left) || s.Purged != uint64(1000-left) || s.Bytes != int64(left)*(100+memoryOverhead) {
			t.Errorf("%+v: stats: %+v, want %d entries", f, s, left)
		}
	}
	key := keyOf(7)
	check(CacheFilter{Caller: "c3", Model: "m3"}, 100)
	check(CacheFilter{Caller: "c3"}, 0)
	check(CacheFilter{Caller: "c4", Model: "m1"}, 0)
	check(CacheFilter{Key: &key, Caller: "c4"}, 0)
	check(CacheFilter{Key: &key}, 1)
	check(CacheFilter{Route: "r1"}, 399)
	check(CacheFilter{Route: "unknown"}, 0)
	check(CacheFilter{}, 500)
}

// Keys that ristretto can't tell apart are not taken for each other.
func TestMemory_ForeignValueIsNeverReturned(t *testing.T) {
	t.Parallel()
	m, _ := memoryOf(t, 1<<20)
	a, b := keyOf(1), keyOf(1)
	b[31] ^= 1
	now := time.Now()
	put := func(key CacheKey, n int) {
		m.Put(now, key, &CacheItem{Value: valueOf(n, 1, 100)})
		m.cache.Wait()
	}
	check := func(key CacheKey, n int, want bool) {
		t.Helper()
		v, found := m.Get(now, key)
		if got, _, _ := wholeValue(v); found != want || found && got != n {
			t.Errorf("got %v, entry %d", found, got)
		}
	}
	put(a, 1)
	check(a, 1, true)
	check(b, 2, false)
	put(b, 2)
	check(b, 2, true)
	check(a, 1, false)
	if s := m.Stats(); s.Entries != 1 {
		t.Errorf("stats: %+v", s)
	}
}

func TestMemory_LimitHolds(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	m, _ := memoryOf(t, limit)
	now := time.Now()
	var wait sync.WaitGroup
	for w := range 4 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 5000 {
				m.Put(now, keyOf(r.IntN(3000)), &CacheItem{Value: make([]byte, r.IntN(20_000))}) // also larger than before
				if b := m.bytes.Load(); i%10 == 0 && b > limit+4*20_000 {                        // what is on its way counts for a moment
					t.Errorf("%d bytes, the limit is %d", b, limit)
				}
			}
		})
	}
	wait.Wait()
	m.cache.Wait()
	s := m.Stats()
	if s.Bytes > limit || s.Entries < 50 || s.Evicted == 0 {
		t.Errorf("stats: %+v", s)
	}
	m.Resize(now, limit/4)
	if s := m.Stats(); s.Bytes > limit/4 || s.Bytes < limit/8 || s.Limit != limit/4 {
		t.Errorf("after the limit fell: %+v", s)
	}
	m.Resize(now, limit)
	for n := range 400 {
		m.Put(now, keyOf(10_000+n), &CacheItem{Value: make([]byte, 9000)})
		m.cache.Wait()
	}
	if s := m.Stats(); s.Bytes < limit*8/10 || s.Bytes > limit {
		t.Errorf("after it rose: %+v", s)
	}
	if m.Put(now, keyOf(1), &CacheItem{Value: make([]byte, limit/headroom)}) {
		t.Error("took an entry larger than a sixteenth")
	}
	m.Resize(now, 0)
	if s := m.Stats(); s.Bytes != 0 || m.Put(now, keyOf(1), &CacheItem{}) {
		t.Errorf("without any: %+v", s)
	}
}

// What is asked for often stays when a flood of other entries comes.
func TestMemory_KeepsWhatIsAskedFor(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they are given under the race detector")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, put := memoryOf(t, 2<<20)
		defer m.Close()
		now := time.Now()
		for n := range 500 {
			put(now, n, CacheItem{Value: make([]byte, 1000)})
		}
		for i := range 10 * 500 {
			m.Get(now, keyOf(i%500))
			if i%50 == 0 {
				synctest.Wait() // ristretto counts in the background, and drops what it has no time for
			}
		}
		for n := range 20_000 {
			put(now, 1000+n, CacheItem{Value: make([]byte, 1000)})
		}
		hits := 0
		for n := range 500 {
			if _, found := m.Get(now, keyOf(n)); found {
				hits++
			}
		}
		if hits < 450 {
			t.Errorf("%d of 500 are left", hits)
		}
	})
}

// All calls at once, and Close in the middle: nothing foreign, nothing after a purge, no goroutine left.
func TestMemory_Concurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // ends only when every goroutine has
		m := NewMemory(1 << 20)
		now := time.Now()
		var wait sync.WaitGroup
		for w := range 4 {
			wait.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 2))
				for i := range 3000 {
					n := r.IntN(2000)
					switch {
					case i%500 == 499:
						m.Purge(now, &CacheFilter{Route: "a"}, false)
					case i == 2500 && w == 0:
						m.Close()
					case i%3 == 0:
						m.Put(now, keyOf(n), &CacheItem{Value: valueOf(n, i, 500), TTL: time.Duration(r.IntN(100)) * time.Second, Route: string(rune('a' + n%3))})
					case i%100 == 1:
						m.Resize(now, int64(1+r.IntN(1<<20)))
					default:
						if v, found := m.Get(now, keyOf(n)); found {
							if got, _, whole := wholeValue(v); got != n || !whole {
								t.Errorf("entry %d: got %d, whole %v", n, got, whole)
							}
						}
					}
				}
			})
		}
		wait.Wait()
		m.Close()
		if _, found := m.Get(now, keyOf(1)); found || m.Put(now, keyOf(1), &CacheItem{}) {
			t.Error("it is closed")
		}
		if s := m.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

// An entry that takes more than what is left free is still replaced when the memory is full: its successor takes its place.
func TestMemory_LargeEntryIsReplaced(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	m, put := memoryOf(t, limit)
	now := time.Now()
	put(now, 0, CacheItem{Value: valueOf(0, 1, 40<<10)})
	for n := 1; n < 600; n++ {
		m.Get(now, keyOf(0)) // it is in demand
		put(now, n, CacheItem{Value: make([]byte, 3<<10)})
	}
	for version := 2; version < 20; version++ {
		put(now, 0, CacheItem{Value: valueOf(0, version, (40+version)<<10)})
		v, found := m.Get(now, keyOf(0))
		if _, got, whole := wholeValue(v); !found || got != version || !whole {
			t.Fatalf("version %d: found %v, version %d, whole %v", version, found, got, whole)
		}
		if b := m.bytes.Load(); b > limit {
			t.Errorf("%d bytes, the limit is %d", b, limit)
		}
	}
}

// Whatever comes at the same time: all sums are those of the entries that are there, each of these can be found, and none is left that nobody gets.
func TestMemory_SumsAreThoseOfTheEntries(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	m, _ := memoryOf(t, limit)
	now := time.Now()
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for i := range 4000 {
				n := r.IntN(1500)
				switch {
				case i%1000 == 999:
					m.Purge(now, &CacheFilter{Route: "a"}, false)
				case i%700 == 699:
					m.Resize(now, limit/2+int64(r.IntN(limit/2)))
				case i%3 == 0:
					m.Get(now, keyOf(n))
				default:
					item := CacheItem{Value: make([]byte, r.IntN(8000)), Route: string(rune('a' + n%3)), Worth: int64(n % 5 * 1000)}
					if n%3 == 1 {
						item.RouteMemory = limit / 8
					}
					m.Put(now, keyOf(n), &item)
				}
			}
		})
	}
	wait.Wait()
	m.cache.Wait()
	var bytes, count, worth, valued int64
	held := map[uint64]int64{}
	for i := range m.shards {
		for _, e := range m.shards[i].those(func(*memoryEntryOf) bool { return true }) {
			if found, _ := m.cache.Get(memoryHash(&e.key)); found != e {
				t.Errorf("an entry that ristretto does not have, dead %v, doomed %v", e.dead.Load(), e.doomed)
			}
			if e.dead.Load() || e.doomed {
				t.Errorf("an entry is left that nobody gets: dead %v, doomed %v", e.dead.Load(), e.doomed)
			}
			bytes, count, held[e.tags[0]] = bytes+e.cost(), count+1, held[e.tags[0]]+e.cost()
			if e.worth > 0 {
				worth, valued = worth+e.worth, valued+e.cost()
			}
		}
	}
	if m.bytes.Load() != bytes || m.count.Load() != count || m.worth.Load() != worth || m.valued.Load() != valued || m.doomed.Load() != 0 || count < 20 {
		t.Errorf("%d bytes of %d entries, worth %d for %d, %d doomed; the entries have %d, %d, %d, %d", m.bytes.Load(), m.count.Load(), m.worth.Load(), m.valued.Load(), m.doomed.Load(),
			bytes, count, worth, valued)
	}
	for _, route := range []string{"a", "b", "c"} {
		if of := m.heldBy(tagHash(route)); of.all.Load() != held[tagHash(route)] || of.doomed.Load() != 0 {
			t.Errorf("route %s has %d bytes, %d of them doomed; its entries have %d", route, of.all.Load(), of.doomed.Load(), held[tagHash(route)])
		}
	}
}

func TestMemory_GetDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they are given under the race detector")
	}
	m, put := memoryOf(t, 1<<20)
	now := time.Now()
	put(now, 1, CacheItem{Idle: time.Hour})
	hit, miss := keyOf(1), keyOf(2)
	if n := testing.AllocsPerRun(10_000, func() {
		m.Get(now, hit)
		m.Get(now, miss)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
