package storage

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A purge waits for a writer that hangs for as long as its caller likes. It is in force all the same, and takes later what was being written.
func TestDisk_PurgeWhileTheWriterHangs(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]*CacheFilter{"route": {Route: "r1"}, "all": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := diskAt(t, t.TempDir(), nil)
			fillDisk(t, d, 0, 10, 1, 1000)
			now := time.Now()
			d.writing.Lock()
			d.Put(now, keyOf(11), &CacheItem{Value: valueOf(11, 1, 100), Route: "r1"})
			late := d.queue.take()[0] // the writer has looked at the rules before the purge
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			purged := make(chan error, 1)
			go func() {
				_, err := d.Purge(ctx, now, filter, false)
				purged <- err
			}()
			select {
			case err := <-purged:
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the error is %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the purge outlasts its context")
			}
			gone := func() {
				t.Helper()
				for _, n := range []int{1, 3, 5, 7, 9, 11} {
					if _, found := d.Get(t.Context(), time.Now(), keyOf(n)); found {
						t.Errorf("entry %d is given out", n)
					}
				}
			}
			gone()
			if n := d.Stats().Purging; n != 1 {
				t.Errorf("%d purges are to be followed", n)
			}
			<-time.After(2 * diskTick) // purges that wait are looked after meanwhile
			number := d.current()
			ok(t, d.store.apply(t.Context(), []op{
				{key: cacheRecordKey(number, cacheHead, &late.key), value: late.head.append(nil)},
				{key: cacheRecordKey(number, cacheValue, &late.key), value: newRecord(&late.key, &late.head, late.value)},
			}, false))
			d.note(&late.key, number, &late.head, late.weight())
			d.writing.Unlock()
			until(t, "the purge", func() bool { return d.Stats().Purging == 0 })
			gone()
			if n, want := countDisk(t, d, 0, 12, 1), map[string]int{"route": 5}[name]; n != want {
				t.Errorf("%d entries are left, want %d", n, want)
			}
		})
	}
}

func TestTurn(t *testing.T) {
	t.Parallel()
	w := newTurn()
	ok(t, w.LockWithin(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.LockWithin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	w.Unlock()
	ok(t, w.LockWithin(t.Context()))
}
