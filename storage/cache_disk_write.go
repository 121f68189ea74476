package storage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// queueBytes is how much may wait to be written.
	queueBytes = 16 << 20
	// batchBytes is how much one write takes, with the next value on top: well below what a transaction holds.
	batchBytes = 1 << 20
	// batchLinger is how long a write waits for others: one call for each entry would cost more.
	batchLinger = 20 * time.Millisecond
	// epochsKept is into how many epochs a full disk is divided, at least: a part of this size is dropped at a time. That takes a second or two, whatever the
	// size, in which nothing is read or written.
	epochsKept = 8
	// highWater is how full the files may get, in percent, and mergeRoom the least that is left of the limit then: while tables are merged both the old
	// and the new ones are there, and on a busy machine the old ones stay for a while.
	highWater = 85
	mergeRoom = 48 << 20
	// lookEvery is how often the files are looked at while entries are written.
	lookEvery = time.Second
	// failurePause is the time between writes that fail, at first and at most.
	failurePause, failureLongest = 100 * time.Millisecond, 5 * time.Second
)

// queued is an entry that waits to be written.
type queued struct {
	key   CacheKey
	head  recordHead
	value []byte
	from  uint32 // the epoch that it was read from, when it is written anew; 0: it is new
}

// weight is what an entry takes in the queue and in its epoch, in bytes.
func (q *queued) weight() int64 { return int64(len(q.value)) + 2*(recordSize+recordSum+6+32) }

// writeQueue holds what waits to be written, up to queueBytes.
type writeQueue struct {
	mu    sync.Mutex
	items []*queued
	bytes int64
	wake  chan struct{}
}

// put reports false when the queue is full.
func (w *writeQueue) put(q *queued) bool {
	w.mu.Lock()
	if w.bytes+q.weight() > queueBytes {
		w.mu.Unlock()
		return false
	}
	w.items = append(w.items, q)
	w.bytes += q.weight()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns what is written next.
func (w *writeQueue) take() (batch []*queued) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, int64(0)
	for ; n < len(w.items) && size < batchBytes; n++ {
		size += w.items[n].weight()
	}
	batch = w.items[:n:n]
	w.items = w.items[n:]
	if len(w.items) == 0 {
		w.items = nil
	}
	w.bytes -= size
	return batch
}

func (w *writeQueue) size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// Put has an entry written soon; it waits for nothing. What is larger than 1 MiB is not written, and nothing is while too much waits:
// false then.
func (d *Disk) Put(now time.Time, key CacheKey, item *CacheItem) (taken bool) {
	if len(item.Value) > largestCached || item.TTL < 0 {
		d.counts.rejected.Add(1)
		return false
	}
	q := &queued{key: key, value: item.Value, head: recordHead{
		idle: int64(item.Idle), stamp: d.stamp(now), tags: tagsOf(item.Route, item.Model, item.Caller),
		size:  uint32(len(item.Value)), //nolint:gosec // 1 MiB at most
		worth: item.Worth,
	}}
	if item.TTL > 0 {
		q.head.expires = now.Add(item.TTL).UnixNano()
	}
	d.gate.RLock()
	defer d.gate.RUnlock()
	if d.closed {
		return false
	}
	if taken = d.queue.put(q); !taken {
		d.counts.overflowed.Add(1)
	}
	return taken
}

// stamp counts up, near the time.
func (d *Disk) stamp(now time.Time) int64 {
	for {
		last := d.clock.Load()
		next := max(last+1, now.UnixNano())
		if d.clock.CompareAndSwap(last, next) {
			return next
		}
	}
}

// forget takes out what a rule is about.
func (w *writeQueue) forget(r *purgeRule) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.items = slices.DeleteFunc(slices.Clone(w.items), func(q *queued) bool {
		gone := r.covers(&q.key, &q.head)
		if gone {
			w.bytes -= q.weight()
		}
		return gone
	})
}

// write writes what is queued, until the end.
func (d *Disk) write() {
	defer close(d.written)
	select {
	case <-d.learned:
	case <-d.ctx.Done():
		return
	}
	pause := failurePause
	for {
		select {
		case <-d.queue.wake:
		case <-d.ctx.Done():
		}
		d.rest(batchLinger)
		for d.queue.size() > 0 {
			err := d.writeNext(time.Now())
			if err == nil {
				pause = failurePause
				continue
			}
			if errors.Is(err, ErrFull) {
				d.giveWay()
			}
			d.rest(pause)
			pause = min(2*pause, failureLongest)
		}
		if d.ctx.Err() != nil {
			return
		}
	}
}

// rest waits, but not when all is about to end.
func (d *Disk) rest(pause time.Duration) {
	select {
	case <-d.ctx.Done():
	case <-time.After(pause):
	}
}

// writeNext writes a part of what waits. All of that part is written, or given up. It is taken out with d.writing held, so that a
// purge that has seen d.writing free knows that everything older is in the queue or in the database.
func (d *Disk) writeNext(now time.Time) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	batch := d.queue.take()
	err := d.writeBatch(now, batch)
	if err != nil {
		d.counts.unwritten.Add(uint64(len(batch)))
	}
	return err
}

func (d *Disk) writeBatch(now time.Time, batch []*queued) error {
	var size int64
	for _, q := range batch {
		size += q.weight()
	}
	if err := d.makeRoom(now, size); err != nil {
		return err
	}
	number := d.current()
	last := map[CacheKey]int{} // a key that comes twice counts as it comes last
	for i, q := range batch {
		if _, again := last[q.key]; !again || q.from == 0 {
			last[q.key] = i
		}
	}
	var ops []op
	wrote := batch[:0:0]
	for i, q := range batch {
		if last[q.key] != i || d.forbidden(&q.key, &q.head) || q.head.over(now) {
			continue
		}
		low, known := d.present.find(&q.key)
		before, live := d.epochOf(low)
		if q.from != 0 && (!known || !live || before != q.from) {
			continue // it was replaced, or deleted, since it was read
		}
		if known && live && before != number {
			ops = append(ops, op{key: cacheRecordKey(before, cacheHead, &q.key)}, op{key: cacheRecordKey(before, cacheValue, &q.key)})
		}
		keep := q.head.keep(now)
		ops = append(ops,
			op{key: cacheRecordKey(number, cacheHead, &q.key), value: q.head.append(nil), ttl: keep},
			op{key: cacheRecordKey(number, cacheValue, &q.key), value: newRecord(&q.key, &q.head, q.value), ttl: keep})
		wrote = append(wrote, q)
	}
	if len(ops) == 0 {
		return nil
	}
	if err := d.store.apply(context.Background(), ops, false); err != nil {
		return err
	}
	d.files += size
	for _, q := range wrote {
		d.note(&q.key, number, &q.head, q.weight())
	}
	d.counts.stored.Add(uint64(len(wrote)))
	return nil
}

// note takes a record into the tables of keys and epochs, and reports whether it is the newest of its key. Both are known.
func (d *Disk) note(key *CacheKey, number uint32, h *recordHead, weight int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	moved := false
	if low, known := d.present.find(key); known {
		for i := range d.epochs {
			if e := &d.epochs[i]; epochTag(e.number) == low && e.number != number {
				if e.number > number {
					return false
				}
				e.entries--
				moved = true
			}
		}
	}
	_, again, _ := d.present.put(key, epochTag(number))
	e := d.epochAt(number)
	if !again || moved {
		e.entries++
	}
	e.bytes += weight
	e.until = max(e.until, untilOf(h))
	return true
}

func untilOf(h *recordHead) int64 {
	if until := h.until(); until != 0 {
		return until
	}
	return 1<<63 - 1
}
