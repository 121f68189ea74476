package storage

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// fastKey is a key that costs nothing to make, spread evenly all the same.
func fastKey(n uint64) (key CacheKey) {
	for i := range 4 {
		x := (n*4 + uint64(i) + 1) * 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(key[8*i:], x^x>>31)
	}
	return key
}

// Memory stays bounded, and an entry costs what it is said to, however many keys come. CACHE_KEYS sets how many; 10 million take a minute.
func TestMemory_CostIsWhatItOccupies(t *testing.T) {
	if raceEnabled {
		t.Skip("memory is not what it is otherwise under the race detector")
	}
	keys := uint64(200_000)
	if n, err := strconv.ParseUint(os.Getenv("CACHE_KEYS"), 10, 64); err == nil {
		keys = n
	}
	const limit = 32 << 20
	for _, size := range []int{64, 1024} {
		before := heap()
		m := NewMemory(limit)
		counters := heap() - before // ristretto's, of fixed size
		now := time.Now()
		for n := range keys {
			for tries := 0; !m.Put(now, fastKey(n), &CacheItem{Value: make([]byte, size)}) && tries < 2; tries++ { // others are asked for more, or the queue is full
				m.cache.Wait()
			}
			m.Get(now, fastKey(n/2))
		}
		m.cache.Wait()
		used, s := heap()-before-counters, m.Stats()
		t.Logf("%d keys of %d bytes: %d entries, %.1f MB by their cost, %.1f MB of the heap, %.1f MB of counters, %.0f bytes an entry beside its value",
			keys, size, s.Entries, float64(s.Bytes)/1e6, float64(used)/1e6, float64(counters)/1e6, float64(used)/float64(s.Entries)-float64(size))
		if s.Bytes > limit || s.Bytes < limit*8/10 {
			t.Errorf("%d bytes, the limit is %d", s.Bytes, limit)
		}
		if used > limit*105/100 {
			t.Errorf("%d bytes of the heap, the limit is %d", used, limit)
		}
		m.Close()
	}
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory(256 << 20)
	defer m.Close()
	now := time.Now()
	const n = 1 << 16
	keys := make([]CacheKey, 2*n)
	for i := range keys {
		keys[i] = fastKey(uint64(i))
	}
	value := make([]byte, 2048)
	for i := range n {
		for !m.Put(now, keys[i], &CacheItem{Value: value, Idle: time.Hour}) {
			m.cache.Wait()
		}
	}
	m.cache.Wait()
	b.Run("op=hit", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Get(now, keys[i%n])
		}
	})
	b.Run("op=hit-parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for i := 0; p.Next(); i++ {
				m.Get(now, keys[i%n])
			}
		})
	})
	b.Run("op=miss", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Get(now, keys[n+i%n])
		}
	})
	for _, kind := range []string{"new", "same"} {
		b.Run("op=put-"+kind, func(b *testing.B) {
			b.ReportAllocs()
			item := &CacheItem{Value: value, TTL: time.Hour, Route: "chat", Model: "some-model-2026", Caller: "0123456789abcdef"}
			for i := uint64(n); b.Loop(); i++ {
				key := keys[i%n]
				if kind == "new" {
					key = fastKey(i)
				}
				m.Put(now, key, item)
			}
		})
	}
}

func BenchmarkPresence(b *testing.B) {
	p := newPresence(1 << 20)
	for n := range uint64(p.most) {
		key := fastKey(n)
		p.put(&key, 1)
	}
	for _, op := range []string{"hit", "miss"} {
		b.Run(fmt.Sprintf("op=%s", op), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				key := fastKey(i % uint64(p.most))
				if op == "miss" {
					key = fastKey(1<<40 + i)
				}
				p.find(&key)
			}
		})
	}
}

func BenchmarkCache(b *testing.B) {
	dir := b.TempDir()
	c, err := NewCache(CacheOptions{Memory: 64 << 20, Disk: &DiskOptions{
		Engine: Options{Dir: dir, Command: engineCommand(dir, 0), Log: zerolog.Nop()}, Size: 1 << 30, Wait: time.Second,
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	now := time.Now()
	for !c.disk.ready() {
		<-time.After(time.Millisecond)
	}
	const n = 10_000
	item := &CacheItem{Value: valueOf(1, 1, 2048), TTL: time.Hour, Route: "chat", Model: "some-model-2026", Caller: "0123456789abcdef"}
	for i := range uint64(n) {
		c.Put(now, fastKey(i), item)
		c.memory.cache.Wait()
		for c.disk.queue.size() > queueBytes/2 {
			<-time.After(time.Millisecond)
		}
	}
	for c.disk.queue.size() > 0 {
		<-time.After(time.Millisecond)
	}
	if err := c.disk.settle(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("op=hit", func(b *testing.B) {
		b.ReportAllocs()
		for i := uint64(0); b.Loop(); i++ {
			c.Get(now, fastKey(i%n))
		}
	})
	b.Run("op=miss", func(b *testing.B) {
		b.ReportAllocs()
		for i := uint64(0); b.Loop(); i++ {
			c.Get(now, fastKey(1<<40+i))
		}
	})
	b.Run("op=disk-hit", func(b *testing.B) {
		b.ReportAllocs()
		for i := uint64(0); b.Loop(); i++ {
			key := fastKey(i % n)
			if _, _, found := c.disk.get(b.Context(), now, &key); !found {
				b.Fatal("not on disk")
			}
		}
	})
	b.Run("op=put", func(b *testing.B) { // more comes than can be written: the queue is full most of the time
		b.ReportAllocs()
		for i := uint64(n); b.Loop(); i++ {
			c.Put(now, fastKey(i), item)
		}
	})
	b.Logf("%+v", *c.Stats().Disk)
}
