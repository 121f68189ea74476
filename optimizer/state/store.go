package state

import (
	"context"
	"time"
)

// What goes into a store, as plain bytes; the types are aliases so that a store need not know this package.
type (
	// Slot is what one series holds of one slot of time.
	Slot = struct {
		Series []byte
		Number int64 // of the slot, in slots of its level
		Data   []byte
	}
	// Total is the sum of one key in one hour.
	Total = struct {
		Hour int64 // Unix time in hours
		Key  []byte
		Data []byte
	}
	// Snapshot is a policy snapshot.
	Snapshot = struct {
		Version uint64
		Data    []byte
	}
)

// Store is durable. Its calls fail at once while it is away, except Append, which waits.
type Store interface {
	PutSlots(ctx context.Context, level uint8, slots []Slot, keep time.Duration) error
	Slots(ctx context.Context, level uint8, series [][]byte, from, to int64, yield func(Slot) error) error
	DropSlots(ctx context.Context, level uint8, before int64) (deleted int64, err error)

	PutTotals(ctx context.Context, flush uint64, totals []Total, keep time.Duration) error
	MaxTotals() int
	Totals(ctx context.Context, from, to int64, yield func(Total) error) error
	DropTotals(ctx context.Context, before int64) (deleted int64, err error)
	Flush(ctx context.Context) (uint64, error)

	Append(ctx context.Context, inForce *Snapshot, entries ...[]byte) (last uint64, err error)
	Current(ctx context.Context) (Snapshot, error)
	Good(ctx context.Context) (Snapshot, error)
	MarkGood(ctx context.Context, version uint64) error
	DropSnapshots(ctx context.Context, keep uint64) (deleted int64, err error)
	DropEntries(ctx context.Context, old func(entry []byte) bool) (deleted int64, err error)

	PutValue(ctx context.Context, namespace, name string, value []byte, keep time.Duration) error
	Value(ctx context.Context, namespace, name string) ([]byte, error)

	NotFound(err error) bool
	Oversize() (share float64) // of the size limit that the files take; 0: there is none
	Compact(ctx context.Context) error
}

// Retention says how long what is kept.
type Retention struct {
	Slots     [3]time.Duration // by level: 10 s, minutes, hours
	Totals    time.Duration
	Journal   time.Duration
	Snapshots uint64 // how many, besides the one in force and the last good one
}
