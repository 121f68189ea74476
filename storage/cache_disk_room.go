package storage

import (
	"context"
	"slices"
	"time"
)

// current is the epoch that is written to.
func (d *Disk) current() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epochs[len(d.epochs)-1].number
}

// epochAt is the epoch of that number, made where there is none. d.mu is held.
func (d *Disk) epochAt(number uint32) *epoch {
	i, found := slices.BinarySearchFunc(d.epochs, number, func(e epoch, n uint32) int { return int(int64(e.number) - int64(n)) })
	if !found {
		d.epochs = slices.Insert(d.epochs, i, epoch{number: number})
	}
	return &d.epochs[i]
}

// makeRoom drops epochs until so many bytes may be written, and begins a new one when it is time. d.writing is held.
func (d *Disk) makeRoom(now time.Time, bytes int64) error {
	d.look(now)
	d.mu.Lock()
	last := &d.epochs[len(d.epochs)-1]
	if last.bytes >= d.full()/epochsKept || last.entries >= int64(d.present.most/epochsKept) {
		d.epochs = append(d.epochs, epoch{number: last.number + 1})
	}
	over := d.epochs[0].until != 0 && now.UnixNano() >= d.epochs[0].until
	d.mu.Unlock()
	for over || d.files+bytes > d.full() || d.present.count() >= d.present.most {
		over = false
		if dropped, err := d.dropOldest(context.Background()); err != nil || !dropped {
			return err
		}
		d.looked = time.Time{}
		d.look(now)
	}
	return nil
}

// full is how many bytes the files may have.
func (d *Disk) full() int64 {
	size := d.size.Load()
	return min(size/100*highWater, size-mergeRoom)
}

// look measures the files. d.writing is held.
func (d *Disk) look(now time.Time) {
	if age := now.Sub(d.looked); age < 0 || age >= lookEvery {
		d.looked, d.files = now, d.store.Size()
	}
}

// dropOldest drops the oldest epoch; false: there is nothing in any. Where ctx is done first, the database may go on with it. d.writing is held.
func (d *Disk) dropOldest(ctx context.Context) (dropped bool, err error) {
	d.mu.Lock()
	oldest := d.epochs[0]
	if len(d.epochs) == 1 {
		if oldest.until == 0 {
			d.mu.Unlock()
			return false, nil
		}
		d.epochs = append(d.epochs, epoch{number: oldest.number + 1})
	}
	d.mu.Unlock()
	d.dropping.Store(true)
	err = d.store.drop(ctx, epochPrefix(oldest.number))
	d.dropping.Store(false)
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	d.epochs = slices.DeleteFunc(d.epochs, func(e epoch) bool { return e.number == oldest.number })
	d.mu.Unlock()
	d.counts.dropped.Add(1)
	d.counts.evicted.Add(uint64(d.present.drop(epochTag(oldest.number))))
	return true, nil
}

// giveWay drops an epoch when the disk is full: a cache must not be what fills it.
func (d *Disk) giveWay() {
	d.writing.Lock()
	defer d.writing.Unlock()
	_, _ = d.dropOldest(context.Background()) // the next write fails as well, and tells
	d.looked = time.Time{}
}

// dropAll drops all epochs.
func (d *Disk) dropAll(ctx context.Context) error {
	if err := d.writing.LockWithin(ctx); err != nil {
		return err
	}
	defer d.writing.Unlock()
	d.looked = time.Time{}
	for {
		if dropped, err := d.dropOldest(ctx); err != nil || !dropped {
			return err
		}
	}
}
