package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// Total is the sum of one key in one hour.
type Total = struct {
	Hour int64 // Unix time in hours
	Key  []byte
	Data []byte
}

// maxTotals is how many totals one transaction takes.
const maxTotals = 8000

// PutTotals stores totals, which replace those of the same hour and key, each for the time keep, and the number of the flush: all of
// them or none.
func (s *Store) PutTotals(ctx context.Context, flush uint64, totals []Total, keep time.Duration) error {
	if len(totals) > maxTotals {
		return ErrTooLarge
	}
	ops := make([]op, 0, len(totals)+1)
	for i := range totals {
		t := &totals[i]
		ops = append(ops, op{key: totalsKey(t.Hour, t.Key), value: t.Data, ttl: keep})
	}
	ops = append(ops, op{key: keyFlush, value: binary.AppendUvarint(nil, flush)})
	return s.apply(ctx, ops, false)
}

// MaxTotals is how many totals PutTotals takes at most.
func (s *Store) MaxTotals() int { return maxTotals }

// Flush returns the number of the last flush that is stored; 0: there was none.
func (s *Store) Flush(ctx context.Context) (uint64, error) { return s.number(ctx, keyFlush) }

func (s *Store) number(ctx context.Context, key []byte) (uint64, error) {
	value, err := s.get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	n, _ := binary.Uvarint(value)
	return n, err
}

// Totals gives the totals of the hours from from up to and without to. What yield gets is valid until it returns.
func (s *Store) Totals(ctx context.Context, from, to int64, yield func(Total) error) error {
	q := query{spans: []span{{totalsKey(max(from, 0), nil), totalsKey(max(to, 0), nil)}}}
	return s.scan(ctx, q, func(key, value []byte) error {
		hour, err := cutNumber(key[1:min(9, len(key))])
		if err != nil {
			return err
		}
		return yield(Total{Hour: int64(hour), Key: key[9:], Data: value})
	})
}

// DropTotals deletes the totals of the hours before before.
func (s *Store) DropTotals(ctx context.Context, before int64) (deleted int64, err error) {
	return s.deleteSpans(ctx, []span{{totalsKey(0, nil), totalsKey(max(before, 0), nil)}}, func([]byte) bool { return true })
}
