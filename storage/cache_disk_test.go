package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// diskAt begins a tier on disk and waits until it knows what is there.
func diskAt(t *testing.T, dir string, change func(*DiskOptions)) *Disk {
	t.Helper()
	o := DiskOptions{
		Engine: Options{Dir: dir, Command: engineCommand(dir, 0), Log: zerolog.New(zerolog.NewTestWriter(t))}, Size: MinDisk, Wait: 10 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	d, err := StartDisk(o)
	ok(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// fillDisk writes entries from first up to and without end, and waits for them.
func fillDisk(t *testing.T, d *Disk, first, end, version, size int) {
	t.Helper()
	now := time.Now()
	for n := first; n < end; n++ {
		d.Put(now, keyOf(n), &CacheItem{Value: valueOf(n, version, size), TTL: time.Hour, Route: fmt.Sprint("r", n%2)})
		if d.queue.size() > queueBytes/2 {
			d.idle(t)
		}
	}
	d.idle(t)
}

// countDisk reads entries and returns how many of them are there. What is there must be whole, and of no version above the last.
func countDisk(t *testing.T, d *Disk, first, end, last int) (found int) {
	t.Helper()
	for n := first; n < end; n++ {
		until(t, "room", func() bool { return !d.dropping.Load() }) // what is hit while it is old is written anew, which takes room
		v, there := d.Get(t.Context(), time.Now(), keyOf(n))
		if !there {
			continue
		}
		found++
		if got, version, whole := wholeValue(v); got != n || !whole || version > last {
			t.Errorf("entry %d: got %d, version %d, whole %v", n, got, version, whole)
		}
	}
	return found
}

func TestDisk_MissCostsNoCall(t *testing.T) { // not parallel: it counts allocations
	d := diskAt(t, t.TempDir(), func(o *DiskOptions) {
		o.Engine.Command = func() *exec.Cmd { return exec.Command("/no such program") }
	})
	for n := range 100 {
		if _, found := d.Get(t.Context(), time.Now(), keyOf(n)); found {
			t.Error("found")
		}
		d.Put(time.Now(), keyOf(n), &CacheItem{Value: []byte("x")})
	}
	if s := d.Stats(); s.Misses != 100 || s.Failures+s.Timeouts+s.Skipped != 0 || s.Up || s.Ready {
		t.Errorf("stats: %+v", s)
	}
	if _, err := d.Purge(t.Context(), time.Now(), &CacheFilter{}, true); !errors.Is(err, ErrUnavailable) {
		t.Errorf("dry purge: %v", err)
	}
	key := keyOf(1)
	if n := testing.AllocsPerRun(1000, func() { d.Has(key) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDisk_TimeToLiveAndIdle(t *testing.T) {
	t.Parallel()
	d := diskAt(t, t.TempDir(), nil)
	now := time.Now()
	d.Put(now, keyOf(1), &CacheItem{Value: []byte("1")})
	d.Put(now, keyOf(2), &CacheItem{Value: []byte("2"), TTL: 90 * time.Second})
	d.Put(now, keyOf(3), &CacheItem{Value: []byte("3"), TTL: time.Hour, Idle: 90 * time.Second})
	d.Put(now, keyOf(4), &CacheItem{Value: []byte{}, TTL: time.Hour})
	d.Put(now, keyOf(5), &CacheItem{Value: make([]byte, largestCached+1)})
	d.Put(now, keyOf(6), &CacheItem{Value: make([]byte, largestCached)})
	d.idle(t)
	check := func(at time.Time, n int, want bool) {
		t.Helper()
		if _, found := d.Get(t.Context(), at, keyOf(n)); found != want {
			t.Errorf("entry %d at %v: %v", n, at.Sub(now), found)
		}
	}
	for n := range 4 {
		check(now.Add(89*time.Second), n+1, true)
	}
	check(now, 5, false)
	check(now, 6, true)
	check(now.Add(91*time.Second), 1, true)
	check(now.Add(91*time.Second), 2, false)
	check(now.Add(91*time.Second), 3, false)
	check(now.Add(59*time.Minute), 4, true)
	check(now.Add(61*time.Minute), 4, false)
	if info, err := d.Peek(t.Context(), now, keyOf(3)); err != nil || string(info.Value) != "3" || info.Memory || !info.Disk || info.Expires.Sub(now) > 91*time.Second {
		t.Errorf("peek: %+v, %v", info, err)
	}
}

// An engine that is killed while it writes, again and again: a value is whole or not there, and what was there comes back.
func TestDisk_KilledEnginesTearNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &killable{make: engineCommand(dir, 0)}
	d := diskAt(t, dir, func(o *DiskOptions) { o.Engine.Command = k.command })
	fillDisk(t, d, 0, 500, 1, 3000)
	for round := range 4 {
		until(t, "an engine", func() bool { return d.Stats().Up })
		time.AfterFunc(time.Duration(rand.IntN(60))*time.Millisecond, k.kill)
		for i := range 300 {
			d.Put(time.Now(), keyOf(i), &CacheItem{Value: valueOf(i, round+2, 3000+i), TTL: time.Hour})
			if i%30 == 0 {
				countDisk(t, d, i, i+3, round+2)
			}
		}
		until(t, "its death", func() bool { return d.Stats().Restarts > uint64(round) })
	}
	until(t, "an engine", func() bool { return d.Stats().Up && !d.Stats().Open })
	if found := countDisk(t, d, 0, 500, 5); found < 490 {
		t.Errorf("%d of 500 are left", found)
	}
	ok(t, d.Close())
	d = diskAt(t, dir, nil)
	d.idle(t)
	if found := countDisk(t, d, 0, 500, 5); found < 490 {
		t.Errorf("%d of 500 are left for another process", found)
	}
	if s := d.Stats(); s.Corrupt > 0 || s.Aside > 0 {
		t.Errorf("stats: %+v", s)
	}
}

// Files with bytes flipped, or cut: no wrong answer comes of it, and the cache works again.
func TestDisk_DamagedFiles(t *testing.T) {
	t.Parallel()
	template := t.TempDir()
	d := diskAt(t, template, nil)
	fillDisk(t, d, 0, 300, 1, 4000)
	ok(t, d.Close())
	k := &killable{make: engineCommand(template, 0)}
	d = diskAt(t, template, func(o *DiskOptions) { o.Engine.Command = k.command })
	d.idle(t)
	fillDisk(t, d, 300, 400, 1, 4000) // these are in the log of writes
	k.kill()
	ok(t, d.Close())
	files, err := filepath.Glob(filepath.Join(template, dataFolder, "*"))
	ok(t, err)
	for _, file := range files {
		for _, name := range []string{"flips", "half"} {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				ok(t, os.CopyFS(dir, os.DirFS(template)))
				path := filepath.Join(dir, dataFolder, filepath.Base(file))
				content, err := os.ReadFile(path)
				ok(t, err)
				if name == "flips" && strings.HasSuffix(path, ".sst") {
					content = bytes.Clone(content)
					for i := 100; i < len(content); i += 4099 {
						content[i] ^= 0x55
					}
				} else {
					content = damages[name](content)
				}
				ok(t, os.WriteFile(path, content, 0o600))
				d := diskAt(t, dir, func(o *DiskOptions) { o.Wait = time.Second })
				d.idle(t)
				found := countDisk(t, d, 0, 400, 1)
				until(t, "the breaker", func() bool { s := d.Stats(); return s.Up && !s.Open })
				d.Put(time.Now(), keyOf(1000), &CacheItem{Value: valueOf(1000, 1, 100)})
				d.idle(t)
				if countDisk(t, d, 1000, 1001, 1) == 0 {
					t.Error("it does not work")
				}
				t.Logf("%d of 400 are left: %+v", found, d.Stats())
				if kept, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(kept) > 0 {
					t.Errorf("kept %v beyond the size limit", kept)
				}
			})
		}
	}
}

// A stopped engine answers nothing: a request waits for its time and no longer, then none does until the engine is back.
func TestDisk_SlowEngine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &killable{make: engineCommand(dir, 0)}
	const wait = 40 * time.Millisecond
	d := diskAt(t, dir, func(o *DiskOptions) { o.Engine.Command, o.Wait = k.command, wait })
	fillDisk(t, d, 0, 100, 1, 1000)
	process := k.last.Load().Process
	ok(t, process.Signal(syscall.SIGSTOP))
	defer process.Signal(syscall.SIGCONT)                                                                     //nolint:errcheck // it may have ended
	until(t, "the stop", func() bool { _, found := d.Get(t.Context(), time.Now(), keyOf(0)); return !found }) // signals take a moment
	for n := range 100 {
		began := time.Now()
		if _, found := d.Get(t.Context(), began, keyOf(n)); found {
			t.Error("a stopped engine answers")
		}
		if took := time.Since(began); took > wait+2*time.Second {
			t.Errorf("waited for %v", took)
		}
	}
	for range 100 { // nor does writing wait
		d.Put(time.Now(), keyOf(1000+rand.IntN(1000)), &CacheItem{Value: make([]byte, 300_000)})
	}
	s := d.Stats()
	if s.Timeouts != breakerFailures || s.Skipped != 101-breakerFailures || !s.Open || s.Opened != 1 || s.Overflowed == 0 {
		t.Errorf("stats: %+v", s)
	}
	ok(t, process.Signal(syscall.SIGCONT))
	until(t, "the breaker", func() bool { return !d.Stats().Open })
	d.idle(t)
	until(t, "a hit", func() bool { return countDisk(t, d, 0, 100, 1) > 0 })
}

// The size limit holds under many distinct keys; the newest ones stay.
func TestDisk_SizeLimitHolds(t *testing.T) {
	if raceEnabled {
		t.Skip("the engine takes minutes for it under the race detector")
	}
	t.Parallel()
	dir := t.TempDir()
	d := diskAt(t, dir, nil)
	const size, entries = 400_000, 360 // a quarter more than fit
	most := int64(0)
	for n := range entries {
		for d.queue.size() > queueBytes/2 {
			<-time.After(time.Millisecond)
		}
		d.Put(time.Now(), keyOf(n), &CacheItem{Value: valueOf(n, 1, size)})
		if n%10 == 0 {
			most = max(most, d.store.Size())
		}
	}
	d.idle(t)
	s := d.Stats()
	newest := countDisk(t, d, entries-50, entries, 1)
	found := countDisk(t, d, 0, entries, 1)
	t.Logf("%d of %d entries are left, %d of the newest 50, in at most %d MiB: %+v", found, entries, newest, most>>20, s)
	if most > MinDisk || found < 150 || newest < 50 || s.Evicted == 0 || s.Unwritten > 0 {
		t.Errorf("the limit is %d MiB", int64(MinDisk)>>20)
	}
}

// A purge that the engine is not there for is in force at once, and done when the engine is back.
func TestDisk_PurgeWhileTheEngineIsAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &killable{make: engineCommand(dir, 0)}
	d := diskAt(t, dir, func(o *DiskOptions) { o.Engine.Command = k.command })
	fillDisk(t, d, 0, 100, 1, 1000)
	k.kill()
	until(t, "its death", func() bool { return !d.Stats().Up })
	began := time.Now()
	if _, err := d.Purge(t.Context(), began, &CacheFilter{Route: "r1"}, false); !errors.Is(err, ErrUnavailable) {
		t.Errorf("purge: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	until(t, "an engine", func() bool { s := d.Stats(); return s.Up && !s.Open })
	check := func() {
		t.Helper()
		for n := range 100 {
			if _, found := d.Get(t.Context(), time.Now(), keyOf(n)); found != (n%2 == 0) {
				t.Errorf("entry %d: %v", n, found)
			}
		}
	}
	check()
	until(t, "the purge", func() bool { return d.Stats().Purging == 0 })
	check()
	fillDisk(t, d, 1, 2, 2, 1000) // what comes after it is served
	if countDisk(t, d, 1, 2, 2) != 1 {
		t.Error("an entry that came after the purge is not there")
	}
	for i := range maxRules + 10 { // many purges are bounded
		d.rule(&purgeRule{selectionOf(&CacheFilter{Route: fmt.Sprint(i)}), d.stamp(time.Now())})
	}
	if n := len(d.pending()); n > maxRules {
		t.Errorf("%d rules", n)
	}
}

// What had been taken out of the queue when a purge came, and was yet to be written when the purge was done, is not written.
func TestDisk_PurgeWhileAnEntryIsBeingWritten(t *testing.T) {
	t.Parallel()
	d := diskAt(t, t.TempDir(), nil)
	d.idle(t)
	now := time.Now()
	d.writing.Lock() // as the writer would
	d.Put(now, keyOf(1), &CacheItem{Value: []byte("1"), Route: "r"})
	batch := d.queue.take()
	purged := make(chan error, 1)
	r := &purgeRule{selectionOf(&CacheFilter{Route: "r"}), d.stamp(now)}
	d.rule(r)
	go func() {
		_, err := d.erase(t.Context(), r)
		purged <- err
	}()
	select {
	case <-time.After(100 * time.Millisecond): // it waits
	case err := <-purged:
		t.Errorf("the purge is done before the writer is: %v", err)
		purged <- nil
	}
	d.Put(now, keyOf(2), &CacheItem{Value: []byte("2"), Route: "r"}) // came after it
	ok(t, d.writeBatch(now, append(batch, d.queue.take()...)))
	d.writing.Unlock()
	ok(t, <-purged)
	d.idle(t)
	for n, want := range map[int]bool{1: false, 2: true} {
		if _, found := d.Get(t.Context(), time.Now(), keyOf(n)); found != want {
			t.Errorf("entry %d: %v", n, found)
		}
	}
	if n := len(d.pending()); n > 0 {
		t.Errorf("%d rules are left", n)
	}
}

func TestDisk_CloseLeavesNoGoroutine(t *testing.T) { // not parallel: it counts
	before := runtime.NumGoroutine()
	for range 3 {
		dir := t.TempDir()
		c, err := NewCache(CacheOptions{Memory: 1 << 20, Disk: &DiskOptions{Engine: Options{Dir: dir, Command: engineCommand(dir, 0), Log: zerolog.Nop()}, Size: MinDisk}})
		ok(t, err)
		until(t, "learning", func() bool { return c.disk.ready() })
		for n := range 100 {
			c.Put(time.Now(), keyOf(n), &CacheItem{Value: valueOf(n, 1, 100)})
			c.Get(time.Now(), keyOf(n))
		}
		ok(t, c.Close())
		ok(t, c.Close())
		if _, found := c.Get(time.Now(), keyOf(1)); found {
			t.Error("found something after Close")
		}
		c.Put(time.Now(), keyOf(1), &CacheItem{})
		_, _ = c.Purge(context.Background(), time.Now(), &CacheFilter{}, false)
	}
	until(t, "the end of goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStartDisk_RefusesWhatIsTooSmall(t *testing.T) {
	t.Parallel()
	if _, err := StartDisk(DiskOptions{Size: MinDisk - 1}); err == nil {
		t.Error("began")
	}
}
