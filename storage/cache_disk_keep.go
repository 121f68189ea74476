package storage

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"
)

// maxRules is how many purges the database may have yet to follow. Past that they become one, of everything.
const maxRules = 64

// purgeRule is a purge that the database has yet to follow: what it picks is not read, though it may be there.
type purgeRule struct {
	selection
	stamp int64 // it is about records up to this one
}

// keep looks after the database: it looks through it when it is there, and does again what could not be done.
func (d *Disk) keep() {
	tick := time.NewTicker(diskTick)
	defer tick.Stop()
	for fresh := true; ; {
		select {
		case <-d.ctx.Done():
			return
		case <-d.opened:
			fresh = true
		case <-tick.C:
		}
		if _, err := d.store.backend(); err != nil {
			continue
		}
		if fresh && d.begin() == nil {
			fresh = false
		}
		if !fresh {
			d.tend()
		}
	}
}

// begin takes in what a database that has just been opened holds. One that was open before holds what is known of it, unless it is
// another one.
func (d *Disk) begin() error {
	run, err := d.store.get(d.ctx, keyRun)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	again := d.ready()
	switch {
	case again && bytes.Equal(run, d.run):
		return nil
	case again:
		d.forgetAll()
	default:
		if err := d.learn(); err != nil {
			return err
		}
	}
	if err := d.store.apply(d.ctx, []op{{key: keyRun, value: d.run}}, false); err != nil {
		return err
	}
	if !again {
		close(d.learned)
	}
	return nil
}

// forgetAll forgets what was in a database that is gone.
func (d *Disk) forgetAll() {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epochs = []epoch{{number: d.epochs[len(d.epochs)-1].number + 1}}
	d.present.clear()
}

// learn looks through all that is stored.
func (d *Disk) learn() error {
	d.present.clear() // of what was found before it ended, if this is another time
	d.mu.Lock()
	d.epochs = nil
	d.mu.Unlock()
	var old []op
	err := d.heads(d.ctx, func(number uint32, key *CacheKey, h *recordHead) error {
		for last := d.clock.Load(); last < h.stamp && !d.clock.CompareAndSwap(last, h.stamp); last = d.clock.Load() {
		}
		q := queued{head: *h}
		if !d.note(key, number, h, q.weight()+int64(h.size)) {
			old = append(old, op{key: cacheRecordKey(number, cacheHead, key)}, op{key: cacheRecordKey(number, cacheValue, key)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(old, deleteBatch) {
		if err := d.store.apply(d.ctx, batch, false); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.epochs) == 0 {
		d.epochs = []epoch{{number: 1}}
	}
	for _, r := range d.rules { // they are about all that was there, though the clock may have been set back since it was written
		r.stamp = max(r.stamp, d.clock.Load())
	}
	return nil
}

// tend does what is due.
func (d *Disk) tend() {
	for _, r := range d.pending() {
		if _, err := d.erase(d.ctx, r); err != nil {
			break
		}
	}
	if now := time.Now(); d.breaker.due(now) {
		_, err := d.store.get(d.ctx, keySchema) // an engine that never answers is ended by it
		d.breaker.tried(time.Now(), err == nil && time.Since(now) <= d.wait)
	}
}

// heads gives the heads of all records, oldest epoch first.
func (d *Disk) heads(ctx context.Context, yield func(number uint32, key *CacheKey, h *recordHead) error) error {
	end := prefixSpan([]byte{spaceCache}).to
	for next := []byte{spaceCache}; ; {
		var first []byte
		err := d.store.scan(ctx, query{spans: []span{{next, end}}, limit: 1, keysOnly: true}, func(key, _ []byte) error {
			first = bytes.Clone(key)
			return nil
		})
		if err != nil || first == nil {
			return err
		}
		number, _, _, valid := cutRecordKey(first)
		if !valid { // an epoch that was about to be dropped
			next = append(first, 0)
			continue
		}
		prefix := epochPrefix(number)
		all := prefixSpan(append(bytes.Clone(prefix), cacheHead))
		err = d.store.scan(ctx, query{spans: []span{all}}, func(key, value []byte) error {
			_, _, name, valid := cutRecordKey(key)
			h, whole := parseHead(value)
			if !valid || !whole {
				return nil
			}
			return yield(number, &name, &h)
		})
		if err != nil {
			return err
		}
		if next = prefixSpan(prefix).to; next == nil {
			return nil
		}
	}
}
