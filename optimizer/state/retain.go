package state

import (
	"context"
	"errors"
	"time"

	"llm-auto-optimizer/analysis/window"
)

const (
	// fullFrom is the share of the size limit from which on the oldest windows go, roomyFrom the share from which on they may stay
	// for longer again.
	fullFrom, roomyFrom = 0.9, 0.6
	// shrinkTo is the share of their retention that windows keep then, each time anew.
	shrinkTo = 0.75
)

// Retain deletes what is older than it is to be kept. Stored data has its time to live with it; this is for a retention that was
// shortened, for what has none, and for files that grow too large.
func (k *Keeper) Retain(ctx context.Context) error {
	k.mu.Lock()
	restored := k.restored
	share := k.options.Store.Oversize()
	switch {
	case share > fullFrom:
		k.shrunk *= shrinkTo
	case share < roomyFrom:
		k.shrunk = min(1, k.shrunk/shrinkTo)
	}
	shrunk := k.shrunk
	k.mu.Unlock()
	if !restored {
		return errNotReady
	}
	if shrunk < 1 {
		k.options.Log.Warn().Float64("share", share).Float64("kept", shrunk).Msg("storage comes near to its size limit: the oldest windows go")
	}
	keep, now, store := k.options.Keep(), k.options.Now(), k.options.Store
	var deleted int64
	count := func(n int64, err error) error {
		deleted += n
		return err
	}
	var errs []error
	for l := range window.LevelsEnd {
		before := now.Add(-time.Duration(float64(keep.Slots[l]) * shrunk))
		errs = append(errs, count(store.DropSlots(ctx, uint8(l), l.Number(before))))
	}
	errs = append(errs,
		count(store.DropTotals(ctx, now.Add(-keep.Totals).Unix()/3600)),
		count(store.DropSnapshots(ctx, keep.Snapshots)),
		count(store.DropEntries(ctx, func(entry []byte) bool {
			e, err := DecodeEntry(entry)
			return err == nil && now.Sub(e.At) > keep.Journal
		})))
	if deleted > 0 {
		k.options.Log.Info().Int64("deleted", deleted).Msg("old state deleted")
	}
	if shrunk < 1 && deleted > 0 {
		errs = append(errs, store.Compact(ctx))
	}
	return errors.Join(errs...)
}
