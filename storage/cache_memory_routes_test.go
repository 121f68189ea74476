package storage

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

// A route stays within what it may occupy, by giving up what was not asked for the longest time; others are left alone, and none counts what it has not.
func TestMemory_RouteStaysWithinItsShare(t *testing.T) {
	t.Parallel()
	m := NewMemory(64 << 20)
	defer m.Close()
	const most, size = 1 << 20, 1000
	now := time.Now()
	put := func(route string, i int, limit int64) bool {
		key := sha256.Sum256(fmt.Appendf(nil, "%s %d", route, i))
		return m.Put(now, key, &CacheItem{Value: make([]byte, size), TTL: time.Hour, Route: route, RouteMemory: limit})
	}
	held := func(route string) int64 { return m.heldBy(tagHash(route)).all.Load() }
	for i := range 2000 {
		put("wide", i, 0)
	}
	for i := range 20000 {
		now = now.Add(time.Millisecond)
		put("narrow", i, most)
		if i%20 == 0 {
			m.cache.Wait() // ristretto takes entries in the background
		}
	}
	m.cache.Wait()
	if n := held("narrow"); n > most || n < most*9/10 {
		t.Errorf("the bounded route has %d bytes of %d", n, most)
	}
	if n := held("wide"); n < 2000*size {
		t.Errorf("the other route has %d bytes", n)
	}
	recent := 0
	for i := 19000; i < 20000; i++ {
		if _, found := m.Get(now, sha256.Sum256(fmt.Appendf(nil, "narrow %d", i))); found {
			recent++
		}
	}
	if last := most / (size + memoryOverhead); recent < last/2 {
		t.Errorf("%d of the last thousand are there; there is room for %d", recent, last)
	}
	m.Purge(now, &CacheFilter{Route: "narrow"}, false)
	if n := held("narrow"); n != 0 {
		t.Errorf("%d bytes after a purge", n)
	}
	if stats := m.Stats(); stats.Bytes != held("wide") {
		t.Errorf("%d bytes in all, %d of the one route that is left", stats.Bytes, held("wide"))
	}
}

// A route that may keep but a few entries keeps the newest, wherever in the cache the keys lie, and replacing one costs no other.
func TestMemory_RouteWithRoomForFew(t *testing.T) {
	t.Parallel()
	m := NewMemory(64 << 20)
	defer m.Close()
	const few, size = 5, 1000
	limit := int64(few * (cap(make([]byte, size)) + memoryOverhead))
	now := time.Now()
	put := func(i int) bool {
		taken := m.Put(now, keyOf(i), &CacheItem{Value: valueOf(i, 1, size), TTL: time.Hour, Route: "narrow", RouteMemory: limit})
		m.cache.Wait()
		return taken
	}
	there := func(from, to int) (n int) {
		for i := from; i < to; i++ {
			if _, found := m.Get(now, keyOf(i)); found {
				n++
			}
		}
		return n
	}
	for i := range 500 {
		now = now.Add(time.Second)
		if !put(i) || there(i, i+1) != 1 || there(max(0, i-500), i+1) != min(i+1, few) {
			t.Fatalf("after entry %d: %d are there, %d bytes of %d", i, there(0, i+1), m.heldBy(tagHash("narrow")).all.Load(), limit)
		}
	}
	kept := 0
	for i := range 500 {
		if there(i, i+1) == 1 {
			kept = i
		}
	}
	for range 20 {
		if !put(kept) || there(0, 500) != few {
			t.Fatalf("replacing one leaves %d of %d", there(0, 500), few)
		}
	}
	if held := m.heldBy(tagHash("narrow")); held.doomed.Load() != 0 || m.doomed.Load() != 0 {
		t.Errorf("still on their way out: %d bytes, %d in all", held.doomed.Load(), m.doomed.Load())
	}
}
