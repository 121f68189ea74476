package storage

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Slot is what one series holds of one slot of time. It is an alias, so that callers can say what they need of a store without
// knowing this package; Total and Snapshot likewise.
type Slot = struct {
	Series []byte
	Number int64 // of the slot, in slots of its level
	Data   []byte
}

// maxSlots is how many slots one write takes, with room in a transaction for the names of new series.
const maxSlots = 4000

// PutSlots stores slots of a level, each for the time keep. Slots of the same number are replaced. Several writes may be needed,
// so an error may leave a part stored.
func (s *Store) PutSlots(ctx context.Context, level uint8, slots []Slot, keep time.Duration) error {
	for len(slots) > 0 {
		n := min(len(slots), maxSlots)
		if err := s.putSlots(ctx, level, slots[:n], keep); err != nil {
			return err
		}
		slots = slots[n:]
	}
	return nil
}

func (s *Store) putSlots(ctx context.Context, level uint8, slots []Slot, keep time.Duration) error {
	ops := make([]op, 0, len(slots))
	var fresh []string
	engine := s.generation()
	s.naming.Lock()
	for i := range slots {
		slot := &slots[i]
		ops = append(ops, op{key: seriesKey(level, slot.Series, slot.Number), value: slot.Data, ttl: keep, spare: true})
		name := namesKey(level, slot.Series)
		if s.named[string(name)] != engine {
			ops = append(ops, op{key: name, value: []byte{}, spare: true})
			fresh = append(fresh, string(name))
		}
	}
	s.naming.Unlock()
	if err := s.apply(ctx, ops, false); err != nil {
		return err
	}
	s.naming.Lock()
	defer s.naming.Unlock()
	for _, name := range fresh {
		s.named[name] = engine
	}
	return nil
}

// generation tells one engine, and so perhaps one set of files, from the next.
func (s *Store) generation() uint64 {
	if s.watched == nil {
		return 1
	}
	return s.watched.begun.Load()
}

// Series returns the names of the series that have, or had, slots of a level.
func (s *Store) Series(ctx context.Context, level uint8) (names [][]byte, err error) {
	err = s.scan(ctx, query{spans: []span{prefixSpan([]byte{spaceNames, level})}, keysOnly: true}, func(key, _ []byte) error {
		names = append(names, bytes.Clone(key[2:]))
		return nil
	})
	return names, err
}

// Slots gives the slots of a level with numbers from from up to and without to, of the series named, in order; nil: of all. What
// yield gets is valid until it returns.
func (s *Store) Slots(ctx context.Context, level uint8, series [][]byte, from, to int64, yield func(Slot) error) error {
	if series == nil {
		var err error
		if series, err = s.Series(ctx, level); err != nil {
			return err
		}
	}
	if len(series) == 0 || from >= to {
		return nil
	}
	spans := make([]span, len(series))
	for i, name := range series {
		spans[i] = span{seriesKey(level, name, from), seriesKey(level, name, to)}
	}
	return s.scan(ctx, query{spans: spans}, func(key, value []byte) error {
		slot, err := slotOf(key)
		if err != nil {
			return err
		}
		slot.Data = value
		return yield(slot)
	})
}

// slotOf reads a key of spaceSeries.
func slotOf(key []byte) (Slot, error) {
	if len(key) < 2 {
		return Slot{}, fmt.Errorf("key %q: %w", key, ErrDamaged)
	}
	name, rest, err := cutName(key[2:])
	if err != nil {
		return Slot{}, err
	}
	number, err := cutNumber(rest)
	return Slot{Series: name, Number: int64(number)}, err
}

// DropSlots deletes the slots of a level with numbers below before.
func (s *Store) DropSlots(ctx context.Context, level uint8, before int64) (deleted int64, err error) {
	names, err := s.Series(ctx, level)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	spans := make([]span, len(names))
	for i, name := range names {
		spans[i] = span{seriesKey(level, name, 0), seriesKey(level, name, before)}
	}
	return s.deleteSpans(ctx, spans, func([]byte) bool { return true })
}
