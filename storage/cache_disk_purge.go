package storage

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// forbidden tells whether a record has been purged.
func (d *Disk) forbidden(key *CacheKey, h *recordHead) bool {
	if !d.ruled.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.rules, func(r *purgeRule) bool { return r.covers(key, h) })
}

func (r *purgeRule) covers(key *CacheKey, h *recordHead) bool {
	return h.stamp <= r.stamp && r.holds(key, &h.tags)
}

// Purge gives up the entries that filter picks, or only counts them when dry is set. None of them is served after it, also when
// it fails; see Cache.Purge. It fails when ctx is done, also while somebody else writes. What has not been written yet is given up as well, and not counted.
func (d *Disk) Purge(ctx context.Context, now time.Time, filter *CacheFilter, dry bool) (n CacheAmount, err error) {
	r := &purgeRule{selectionOf(filter), d.stamp(now)}
	if dry {
		if !d.ready() {
			return n, fmt.Errorf("look through the cache on disk: %w", ErrUnavailable)
		}
		return d.picked(ctx, r, func(uint32, *CacheKey) error { return nil })
	}
	d.rule(r)
	return d.erase(ctx, r)
}

// settle waits for what is being written: it may not have looked at the rules, and must be there when it is looked for.
func (d *Disk) settle(ctx context.Context) error {
	if err := d.writing.LockWithin(ctx); err != nil {
		return err
	}
	d.writing.Unlock()
	return nil
}

// rule adds a rule.
func (d *Disk) rule(r *purgeRule) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.rules) >= maxRules {
		r = &purgeRule{stamp: r.stamp}
		d.rules = nil
	}
	d.rules = append(d.rules, r)
	d.ruled.Store(true)
}

// pending returns the rules that are still in force.
func (d *Disk) pending() []*purgeRule {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.rules)
}

// erase deletes what a rule is about, after which the rule is not needed. That is so once nothing that it is about is in the queue, or has been taken out
// of it and is yet to be written: who writes looks at the rules some time after.
func (d *Disk) erase(ctx context.Context, r *purgeRule) (n CacheAmount, err error) {
	if !d.ready() {
		return n, fmt.Errorf("purge the cache on disk: %w", ErrUnavailable)
	}
	if err := d.settle(ctx); err != nil { // here, since a purge that was cut short is done later by somebody else
		return n, fmt.Errorf("purge the cache on disk: wait for its writer: %w", err)
	}
	if n, err = d.delete(ctx, r); err != nil {
		return n, fmt.Errorf("purge the cache on disk: %w", err)
	}
	if err := d.writing.LockWithin(ctx); err != nil {
		return n, fmt.Errorf("purge the cache on disk: wait for its writer: %w", err)
	}
	defer d.writing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue.forget(r)
	d.rules = slices.DeleteFunc(d.rules, func(other *purgeRule) bool { return other == r })
	d.ruled.Store(len(d.rules) > 0)
	return n, nil
}

func (d *Disk) delete(ctx context.Context, r *purgeRule) (n CacheAmount, err error) {
	if r.all() { // gives the space back at once
		if n, err = d.picked(ctx, r, func(uint32, *CacheKey) error { return nil }); err != nil {
			return n, err
		}
		if err := d.dropAll(ctx); err != nil {
			return n, err
		}
	}
	var ops []op
	flush := func(last bool) error {
		if err := d.store.apply(ctx, ops, last); err != nil { // it is on the disk then: not even a loss of power brings anything back
			return err
		}
		for i := 0; i < len(ops); i += 2 {
			number, _, key, _ := cutRecordKey(ops[i].key)
			d.present.remove(&key, epochTag(number))
		}
		ops = nil
		return nil
	}
	some := false
	deleted, err := d.picked(ctx, r, func(number uint32, key *CacheKey) error {
		some = true
		ops = append(ops, op{key: cacheRecordKey(number, cacheHead, key)}, op{key: cacheRecordKey(number, cacheValue, key)})
		if len(ops) < deleteBatch {
			return nil
		}
		return flush(false)
	})
	if err == nil && some {
		err = flush(true)
	}
	if !r.all() {
		n = deleted
	}
	return n, err
}

// picked finds the records that a rule is about, and counts those that are still in force.
func (d *Disk) picked(ctx context.Context, r *purgeRule, yield func(number uint32, key *CacheKey) error) (n CacheAmount, err error) {
	now := time.Now()
	look := func(number uint32, key *CacheKey, h *recordHead) error {
		if !r.covers(key, h) {
			return nil
		}
		if !h.over(now) {
			n.Entries++
			n.Bytes += int64(h.size) + recordSize
		}
		return yield(number, key)
	}
	if r.key == nil {
		err = d.heads(ctx, look)
		return n, err
	}
	d.mu.Lock()
	epochs := slices.Clone(d.epochs)
	d.mu.Unlock()
	for i := range epochs { // few, and each may have an old copy
		number := epochs[i].number
		raw, err := d.store.get(ctx, cacheRecordKey(number, cacheHead, r.key))
		if d.store.NotFound(err) {
			continue
		}
		if err != nil {
			return n, err
		}
		if h, whole := parseHead(raw); whole {
			if err := look(number, r.key, &h); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
