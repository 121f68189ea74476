package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MinDisk is the smallest tier on disk, in bytes: logs of writes, and tables that are being merged, take that much.
	MinDisk = 128 << 20
	// diskWait is for how long a request waits for the disk by default: the answer that it saves takes longer.
	diskWait = 50 * time.Millisecond
	// diskReads is how many reads may be under way. A disk that has so many does not get well by another.
	diskReads = 64
	// diskEntry is the size of an entry that the table of keys is laid out for, eight bytes for each. Where entries are smaller, their number
	// is the limit.
	diskEntry = 2 << 10
	// diskTick is how often purges that had to wait, and the disk's health, are looked after.
	diskTick = time.Second
	// closeGrace is how long Close lets what waits be written.
	closeGrace = 2 * time.Second
)

// DiskOptions say how a Disk is kept.
type DiskOptions struct {
	// Engine says where and how the database runs: a directory of its own, the space left free. Its size limit is not used, and Opened and
	// Disposable are set.
	Engine Options
	Size   int64         // bytes of the files, at least MinDisk
	Wait   time.Duration // for how long Get waits; 0: 50 ms
}

// Disk is a cache in a database on disk that outlives the process. All of it may get lost at any time: trouble with the disk only makes hits
// rarer. It is safe for concurrent use. The keys that are there are known in memory, so that a miss costs no call.
//
// Entries are written to epochs, one after the other; the oldest epoch is dropped as a whole to make room. An entry that is hit while its
// epoch is old is written anew.
type Disk struct {
	store   *Store
	wait    time.Duration
	size    atomic.Int64
	present *presence
	breaker breaker
	reads   chan struct{} // a place for each read under way
	queue   writeQueue
	clock   atomic.Int64 // the last stamp

	mu     sync.Mutex // of what follows
	epochs []epoch    // by number; the last one is written to
	rules  []*purgeRule
	ruled  atomic.Bool // there are rules

	dropping atomic.Bool // the database answers nothing for now
	writing  turn        // held by whoever writes new entries or drops epochs
	files    int64       // what the files occupied when last looked at, and what was written since
	looked   time.Time

	opened  chan struct{}
	learned chan struct{} // closed when all that was stored by other processes is known
	written chan struct{} // closed when nothing will be written any more
	run     []byte        // what marks the database as ours

	gate   sync.RWMutex
	closed bool
	ctx    context.Context
	stop   context.CancelFunc
	ended  sync.WaitGroup

	counts diskCounts
}

// epoch is a part of the entries, by the time of their writing.
type epoch struct {
	number  uint32
	entries int64
	bytes   int64 // of values and heads, before compression
	until   int64 // when all of it is over, in Unix nanoseconds; 0: nothing was written
}

type diskCounts struct {
	hits, misses, timeouts, failures, skipped, corrupt        atomic.Uint64
	stored, overflowed, unwritten, rejected, evicted, dropped atomic.Uint64
}

// DiskStats says how a tier on disk does. Counts are since the start.
type DiskStats = struct {
	Up                    bool  // there is a database
	Ready                 bool  // all keys in it are known
	Open                  bool  // the breaker keeps requests away
	Entries, Bytes, Limit int64 // bytes of the files
	Queued                int64 // bytes that wait to be written
	Epochs, Purging       int   // purges that the database has yet to follow
	Hits, Misses          uint64
	Timeouts              uint64 // reads that were given up
	Failures              uint64 // reads that went wrong
	Skipped               uint64 // reads not begun: the breaker was open, room was being made, or too many were under way
	Corrupt               uint64 // records that were not what had been written
	Stored                uint64
	Overflowed            uint64 // not written, the queue was full
	Unwritten             uint64 // not written, the disk was full or away
	Rejected              uint64 // larger than 1 MiB
	Evicted               uint64 // entries, to make room
	Opened                uint64 // times that the breaker opened
	Restarts, Aside       uint64 // engines begun anew, damaged databases removed
}

// StartDisk begins an engine and keeps one running until Close. It fails for options that can't be used, and not for what the disk does.
func StartDisk(o DiskOptions) (*Disk, error) {
	if o.Size < MinDisk {
		return nil, fmt.Errorf("cache on disk of %d bytes: at least %d", o.Size, MinDisk)
	}
	d := &Disk{
		wait: o.Wait, present: newPresence(int(o.Size / diskEntry)), reads: make(chan struct{}, diskReads),
		opened: make(chan struct{}, 1), learned: make(chan struct{}), written: make(chan struct{}), writing: newTurn(),
		epochs: []epoch{{number: 1}}, run: make([]byte, 16),
	}
	if d.wait <= 0 {
		d.wait = diskWait
	}
	_, _ = rand.Read(d.run) // never fails
	d.size.Store(o.Size)
	d.queue.wake = make(chan struct{}, 1)
	d.ctx, d.stop = context.WithCancel(context.Background())
	o.Engine.Disposable = true
	o.Engine.Opened = func() {
		select {
		case d.opened <- struct{}{}:
		default:
		}
	}
	d.store = Start(o.Engine)
	d.ended.Go(d.keep)
	d.ended.Go(d.write)
	return d, nil
}

// Has tells whether a key is known to be on disk. It may be wrong in both directions: see presence.
func (d *Disk) Has(key CacheKey) bool {
	if _, found := d.present.find(&key); found {
		return true
	}
	d.counts.misses.Add(1)
	return false
}

// Get returns the value under a key. It waits until ctx is done, or for DiskOptions.Wait; when there is nothing, it does not wait.
func (d *Disk) Get(ctx context.Context, now time.Time, key CacheKey) (value []byte, found bool) {
	if !d.Has(key) {
		return nil, false
	}
	_, value, found = d.get(ctx, now, &key)
	return value, found
}

// get is Get of a key that is known.
func (d *Disk) get(ctx context.Context, now time.Time, key *CacheKey) (h recordHead, value []byte, found bool) {
	h, value, number, err := d.read(ctx, now, key)
	if err != nil {
		d.counts.misses.Add(1)
		return h, nil, false
	}
	d.counts.hits.Add(1)
	if d.old(number) {
		d.queue.put(&queued{key: *key, head: h, value: value, from: number})
	}
	return h, value, true
}

// read reads a record that is in force; ErrNotFound: there is none.
func (d *Disk) read(ctx context.Context, now time.Time, key *CacheKey) (h recordHead, value []byte, number uint32, err error) {
	low, known := d.present.find(key)
	if !known {
		return h, nil, 0, ErrNotFound
	}
	if number, known = d.epochOf(low); !known {
		d.present.remove(key, low)
		return h, nil, 0, ErrNotFound
	}
	raw, err := d.fetch(ctx, cacheRecordKey(number, cacheValue, key))
	if err != nil {
		if errors.Is(err, ErrNotFound) { // expired, lost, or just replaced
			d.present.remove(key, low)
		}
		return h, nil, 0, err
	}
	h, value, valid := parseRecord(raw, key)
	if !valid {
		d.counts.corrupt.Add(1)
		d.present.remove(key, low)
		return h, nil, 0, ErrDamaged
	}
	if h.over(now) || d.forbidden(key, &h) {
		return h, nil, 0, ErrNotFound
	}
	return h, value, number, nil
}

// errBusy is the error of a read that was not begun.
var errBusy = errors.New("not read")

// fetch reads a value from the database, in a goroutine of its own: a call may hang in a pipe for longer than ctx.
func (d *Disk) fetch(ctx context.Context, key []byte) ([]byte, error) {
	if d.breaker.open.Load() || d.dropping.Load() {
		d.counts.skipped.Add(1)
		return nil, errBusy
	}
	d.gate.RLock()
	if d.closed {
		d.gate.RUnlock()
		return nil, errBusy
	}
	select {
	case d.reads <- struct{}{}:
	default:
		d.gate.RUnlock()
		d.counts.skipped.Add(1)
		return nil, errBusy
	}
	type answer struct {
		value []byte
		err   error
	}
	bounded, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	answered := make(chan answer, 1)
	d.ended.Go(func() {
		defer func() { <-d.reads }()
		value, err := d.store.get(bounded, key)
		answered <- answer{value, err}
	})
	d.gate.RUnlock()
	select {
	case a := <-answered:
		if a.err == nil || errors.Is(a.err, ErrNotFound) {
			d.breaker.succeed()
			return a.value, a.err
		}
		if bounded.Err() == nil {
			d.counts.failures.Add(1)
			d.breaker.fail()
			return nil, a.err
		}
	case <-bounded.Done():
	}
	if ctx.Err() == nil {
		d.counts.timeouts.Add(1)
		d.breaker.fail()
	}
	return nil, bounded.Err()
}

// Peek describes the entry under a key, as Cache.Peek does.
func (d *Disk) Peek(ctx context.Context, now time.Time, key CacheKey) (info CacheInfo, err error) {
	h, value, _, err := d.read(ctx, now, &key)
	switch {
	case errors.Is(err, ErrNotFound) && !d.ready(): // it may be among what is not known yet
		return info, fmt.Errorf("read from the cache on disk: %w", ErrUnavailable)
	case errors.Is(err, ErrNotFound):
		return info, err
	case err != nil:
		return info, fmt.Errorf("read from the cache on disk: %w", err)
	}
	info.Value, info.Disk = value, true
	if until := h.until(); until != 0 {
		info.Expires = time.Unix(0, until)
	}
	return info, nil
}

// knows is Has of somebody who does not ask for the value.
func (d *Disk) knows(key *CacheKey) bool {
	low, known := d.present.find(key)
	if known {
		_, known = d.epochOf(low)
	}
	return known
}

// epochOf is the epoch with these lowest bits.
func (d *Disk) epochOf(low uint16) (number uint32, live bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.epochs {
		if epochTag(d.epochs[i].number) == low {
			return d.epochs[i].number, true
		}
	}
	return 0, false
}

// old tells whether an epoch is soon to be dropped.
func (d *Disk) old(number uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.epochs)
	return n >= 4 && number < d.epochs[n/4].number
}

// ready tells whether all keys are known.
func (d *Disk) ready() bool {
	select {
	case <-d.learned:
		return true
	default:
		return false
	}
}

// Stats says how the cache does.
func (d *Disk) Stats() DiskStats {
	c := &d.counts
	_, err := d.store.backend()
	restarts, aside := d.store.Restarts()
	d.mu.Lock()
	epochs, rules := len(d.epochs), len(d.rules)
	d.mu.Unlock()
	return DiskStats{
		Up: err == nil, Ready: d.ready(), Open: d.breaker.open.Load(),
		Entries: int64(d.present.count()), Bytes: d.store.Size(), Limit: d.size.Load(), Queued: d.queue.size(), Epochs: epochs, Purging: rules,
		Hits: c.hits.Load(), Misses: c.misses.Load(), Timeouts: c.timeouts.Load(), Failures: c.failures.Load(), Skipped: c.skipped.Load(),
		Corrupt: c.corrupt.Load(), Stored: c.stored.Load(), Overflowed: c.overflowed.Load(), Unwritten: c.unwritten.Load(),
		Rejected: c.rejected.Load(), Evicted: c.evicted.Load(), Opened: d.breaker.opened.Load(), Restarts: restarts, Aside: aside,
	}
}

// Resize changes the size limit, in bytes; less than MinDisk counts as that. It is kept from the next write on.
func (d *Disk) Resize(size int64) { d.size.Store(max(size, MinDisk)) }

// Close lets what waits be written, for a moment, and ends the engine. Calls that come later find nothing.
func (d *Disk) Close() error {
	d.gate.Lock()
	closed := d.closed
	d.closed = true
	d.gate.Unlock()
	if closed {
		return nil
	}
	d.stop()
	select {
	case <-d.written:
	case <-time.After(closeGrace):
	}
	err := d.store.Close()
	d.ended.Wait()
	return err
}
