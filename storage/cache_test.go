package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// keyOf is the key of an entry by number.
func keyOf(n int) CacheKey {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// valueOf is a value that says which entry and which version of it it is, and whether it is whole.
func valueOf(n, version, size int) []byte {
	b := make([]byte, max(size, 16+32))
	binary.LittleEndian.PutUint64(b, uint64(n))
	binary.LittleEndian.PutUint64(b[8:], uint64(version))
	r := rand.NewPCG(uint64(n), uint64(version))
	for i := 48; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	sum := sha256.Sum256(b[48:])
	copy(b[16:], sum[:])
	return b
}

// wholeValue reports what valueOf has made.
func wholeValue(b []byte) (n, version int, whole bool) {
	if len(b) < 48 {
		return 0, 0, false
	}
	sum := sha256.Sum256(b[48:])
	return int(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:])), bytes.Equal(sum[:], b[16:48])
}

// cacheAt begins a cache with a database in dir, and waits until it knows what is there.
func cacheAt(t *testing.T, dir string, memory int64, change func(*DiskOptions)) *Cache {
	t.Helper()
	o := &DiskOptions{
		Engine: Options{Dir: dir, Command: engineCommand(dir, 0), Log: zerolog.New(zerolog.NewTestWriter(t))}, Size: MinDisk, Wait: 5 * time.Second,
	}
	if change != nil {
		change(o)
	}
	c, err := NewCache(CacheOptions{Memory: memory, Disk: o})
	ok(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within two minutes", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// idle waits until nothing is to be written any more.
func (d *Disk) idle(t *testing.T) {
	t.Helper()
	until(t, "writing", func() bool { return d.ready() && d.queue.size() == 0 })
	ok(t, d.settle(t.Context()))
}

// What is looked up says where it is; what may be on a disk that does not tell is not said to be nowhere.
func TestCache_Peek(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	c := cacheAt(t, dir, 1<<20, nil)
	c.Put(now, keyOf(1), &CacheItem{Value: valueOf(1, 1, 100), TTL: time.Hour})
	c.disk.idle(t)
	c.memory.cache.Wait()
	check := func(c *Cache, n int, memory, disk bool, want error) {
		t.Helper()
		info, err := c.Peek(t.Context(), now, keyOf(n))
		got, _, whole := wholeValue(info.Value)
		if !errors.Is(err, want) || info.Memory != memory || info.Disk != disk || want == nil && (got != n || !whole || !info.Expires.Equal(now.Add(time.Hour))) {
			t.Errorf("entry %d: %+v, %v", n, info, err)
		}
	}
	check(c, 1, true, true, nil)
	check(c, 2, false, false, ErrNotFound)
	if s := c.Stats(); s.Memory.Hits+s.Memory.Misses+s.Disk.Hits+s.Disk.Misses > 0 {
		t.Errorf("looking counts: %+v, %+v", s.Memory, s.Disk)
	}
	ok(t, c.Close())
	c = cacheAt(t, dir, 1<<20, nil)
	c.disk.idle(t)
	check(c, 1, false, true, nil)
	c.disk.breaker.open.Store(true)
	check(c, 1, false, false, errBusy)
	away := cacheAt(t, t.TempDir(), 1<<20, func(o *DiskOptions) {
		o.Engine.Command = func() *exec.Cmd { return exec.Command("/no such program") }
	})
	check(away, 1, false, false, ErrUnavailable)
	small, err := NewCache(CacheOptions{Memory: 1 << 20})
	ok(t, err)
	t.Cleanup(func() { _ = small.Close() })
	check(small, 1, false, false, ErrNotFound)
}

func TestCache_SurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	c := cacheAt(t, dir, 1<<20, nil)
	for n := range 300 {
		c.Put(now, keyOf(n), &CacheItem{Value: valueOf(n, 1, 2000), TTL: time.Hour, Route: "r", Caller: string(rune('a' + n%3))})
	}
	c.disk.idle(t)
	for n := range 100 { // a second version of some
		c.Put(now, keyOf(n), &CacheItem{Value: valueOf(n, 2, 3000), TTL: time.Hour, Route: "r", Caller: string(rune('a' + n%3))})
	}
	ok(t, c.Close()) // and what is not written yet is
	c = cacheAt(t, dir, 1<<20, nil)
	until(t, "learning", func() bool { return c.disk.ready() })
	for n := range 300 {
		version := 1
		if n < 100 {
			version = 2
		}
		v, found := c.Get(now, keyOf(n))
		if got, ver, whole := wholeValue(v); !found || got != n || ver != version || !whole {
			t.Fatalf("entry %d: %v, %d, version %d, whole %v", n, found, got, ver, whole)
		}
	}
	if s := c.Stats(); s.Disk.Hits != 300 || s.Disk.Entries != 300 || s.Disk.Corrupt != 0 {
		t.Errorf("stats: %+v", s.Disk)
	}
	purged, err := c.Purge(context.Background(), now, &CacheFilter{Caller: "b"}, true)
	if err != nil || purged.Disk.Entries != 100 || purged.Memory.Entries == 0 {
		t.Errorf("dry purge: %+v, %v", purged, err)
	}
	if _, err = c.Purge(context.Background(), now, &CacheFilter{Caller: "b"}, false); err != nil {
		t.Error(err)
	}
	ok(t, c.Delete(context.Background(), now, keyOf(0)))
	check := func(c *Cache) {
		t.Helper()
		for n := range 300 {
			if _, found := c.Get(now, keyOf(n)); found != (n%3 != 1 && n != 0) {
				t.Errorf("entry %d after the purge: %v", n, found)
			}
		}
	}
	check(c)
	ok(t, c.Close())
	c = cacheAt(t, dir, 1<<20, nil)
	until(t, "learning", func() bool { return c.disk.ready() })
	check(c)
	purged, err = c.Purge(context.Background(), now, &CacheFilter{}, false)
	if err != nil || purged.Disk.Entries != 199 {
		t.Errorf("purge of everything: %+v, %v", purged, err)
	}
	if s := c.Stats(); s.Disk.Entries != 0 || s.Memory.Entries != 0 {
		t.Errorf("left: %+v %+v", s.Memory, s.Disk)
	}
}

// What comes up from disk is worth in memory what it was when it was stored, so that what saves most stays there.
func TestCache_WorthComesUpFromDisk(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	c := cacheAt(t, dir, 1<<20, nil)
	worth := map[int]int64{1: 5_000_000, 2: 7, 3: 0}
	for n, w := range worth {
		c.Put(now, keyOf(n), &CacheItem{Value: valueOf(n, 1, 100), TTL: time.Hour, Worth: w})
	}
	c.disk.idle(t)
	ok(t, c.Close())
	c = cacheAt(t, dir, 1<<20, nil)
	until(t, "learning", func() bool { return c.disk.ready() })
	sum := int64(0)
	for n, w := range worth {
		key := keyOf(n)
		if _, found := c.Get(now, key); !found {
			t.Fatalf("entry %d is not there", n)
		}
		c.memory.cache.Wait()
		e, _ := c.memory.find(&key)
		if e == nil || e.worth != w {
			t.Fatalf("entry %d came up as %+v, want it to be worth %d", n, e, w)
		}
		sum += w
	}
	if c.memory.worth.Load() != sum {
		t.Errorf("all are worth %d, want %d", c.memory.worth.Load(), sum)
	}
}
