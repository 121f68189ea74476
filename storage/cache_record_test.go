package storage

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

func TestRecord_OnlyWhatWasWrittenUnderTheKey(t *testing.T) {
	t.Parallel()
	key := keyOf(1)
	for _, worth := range []int64{0, 1, 1 << 40} {
		checkRecord(t, &key, recordHead{expires: 12, idle: 34, stamp: 56, tags: tags{7, 8, 9}, size: 5, worth: worth})
	}
	number, kind, name, valid := cutRecordKey(cacheRecordKey(77, cacheValue, &key))
	if number != 77 || kind != cacheValue || name != key || !valid {
		t.Errorf("got %d, %c, %x, %v", number, kind, name, valid)
	}
}

func checkRecord(t *testing.T, key *CacheKey, h recordHead) {
	t.Helper()
	whole := newRecord(key, &h, []byte("value"))
	got, value, valid := parseRecord(whole, key)
	if !valid || got != h || string(value) != "value" {
		t.Errorf("got %+v, %q, %v", got, value, valid)
	}
	other := keyOf(2)
	if _, _, valid := parseRecord(whole, &other); valid {
		t.Error("taken under another key")
	}
	for i := range whole {
		if _, _, valid := parseRecord(whole[:i], key); valid {
			t.Errorf("taken when cut at %d", i)
		}
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			if _, _, valid := parseRecord(bad, key); valid {
				t.Errorf("taken with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	key := keyOf(1)
	f.Add(newRecord(&key, &recordHead{size: 5}, []byte("value")), cacheRecordKey(1, cacheHead, &key))
	f.Add(newRecord(&key, &recordHead{size: 5, worth: 7}, []byte("value")), cacheRecordKey(1, cacheHead, &key))
	f.Fuzz(func(t *testing.T, raw, name []byte) {
		if h, value, valid := parseRecord(raw, &key); valid && !bytes.Equal(newRecord(&key, &h, value), raw) {
			t.Errorf("%x is taken for %+v", raw, h)
		}
		if number, kind, key, valid := cutRecordKey(name); valid && !bytes.Equal(cacheRecordKey(number, kind, &key), name) {
			t.Errorf("%x is taken for %d, %x", name, number, key)
		}
	})
}

func TestRecord_Until(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	check := func(h recordHead, until int64, keep time.Duration) {
		t.Helper()
		if got, k := h.until(), h.keep(at); got != until || k != keep {
			t.Errorf("%+v: until %d, kept %v; want %d, %v", h, got, k, until, keep)
		}
	}
	second := int64(time.Second)
	check(recordHead{}, 0, 0)
	check(recordHead{stamp: 1000 * second, idle: 5 * second}, 1005*second, 5*time.Second)
	check(recordHead{stamp: 1000 * second, idle: 5 * second, expires: 1003 * second}, 1003*second, 3*time.Second)
	check(recordHead{expires: 1000*second + 1}, 1000*second+1, time.Second)
	check(recordHead{expires: 990 * second}, 990*second, time.Second) // never for ever
}

// The table behaves as a map does.
func TestPresence_IsAMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	p := newPresence(4096)
	want := map[int]uint16{}
	for i := range 100_000 {
		n, epoch := r.IntN(4000), uint16(r.IntN(5))
		key := keyOf(n)
		switch r.IntN(10) {
		case 0, 1, 2, 3, 4:
			before, was, noted := p.put(&key, epoch)
			old, known := want[n]
			if was != known || known && before != old || !noted && known {
				t.Fatalf("put %d: %d, %v, %v; want %d, %v", n, before, was, noted, old, known)
			}
			if noted {
				want[n] = epoch
			}
		case 5, 6, 7:
			if got := p.remove(&key, epoch); got != (want[n] == epoch && hasKey(want, n)) {
				t.Fatalf("remove %d, %d: %v", n, epoch, got)
			} else if got {
				delete(want, n)
			}
		case 8:
			if i%100 == 0 {
				dropped := 0
				for n, e := range want {
					if e == epoch {
						delete(want, n)
						dropped++
					}
				}
				if got := p.drop(epoch); got != dropped {
					t.Fatalf("dropped %d, want %d", got, dropped)
				}
			}
		default:
			if got, found := p.find(&key); found != hasKey(want, n) || got != want[n] {
				t.Fatalf("find %d: %d, %v", n, got, found)
			}
		}
	}
	if p.count() != len(want) || len(want) < 100 {
		t.Errorf("%d keys, want %d", p.count(), len(want))
	}
	p.clear()
	if p.count() != 0 {
		t.Error("not empty")
	}
	full := 0
	for n := range 10_000 {
		key := keyOf(n)
		if _, _, noted := p.put(&key, 1); !noted {
			full++
		}
	}
	if full == 0 || p.count()+full != 10_000 {
		t.Errorf("%d noted, %d not", p.count(), full)
	}
}

func hasKey(m map[int]uint16, n int) bool { _, found := m[n]; return found }

func TestBreaker_TriesLessAndLessOften(t *testing.T) {
	t.Parallel()
	var b breaker
	now := time.Unix(1000, 0)
	for range breakerFailures - 1 {
		b.fail()
	}
	b.succeed()
	for range breakerFailures - 1 {
		b.fail()
	}
	if b.open.Load() || b.due(now) {
		t.Error("open, though a success came between")
	}
	b.fail()
	b.fail()
	if !b.open.Load() || b.opened.Load() != 1 {
		t.Error("not open after five failures")
	}
	for _, seconds := range []int{1, 2, 4, 8, 16, 30, 30} {
		pause := time.Duration(seconds) * time.Second
		if b.due(now) || b.due(now.Add(pause-1)) || !b.due(now.Add(pause)) {
			t.Errorf("not due after %v", pause)
		}
		now = now.Add(pause)
		b.tried(now, false)
	}
	b.tried(now, true)
	if b.open.Load() {
		t.Error("open, though it is well")
	}
	for _, c := range []struct{ calm, pause time.Duration }{{time.Second, breakerLongest}, {2 * breakerCalm, breakerPause}} {
		now = now.Add(c.calm)
		for range breakerFailures {
			b.fail()
		}
		if b.due(now) || b.due(now.Add(c.pause-1)) || !b.due(now.Add(c.pause)) {
			t.Errorf("opened again after %v: not due after %v", c.calm, c.pause)
		}
		now = now.Add(c.pause)
		b.tried(now, true)
	}
}
