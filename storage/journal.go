package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
)

// Snapshot is a policy snapshot.
type Snapshot = struct {
	Version uint64
	Data    []byte
}

// Append adds entries to the journal and returns the number of the last one; the first ever is 1. When there is a snapshot, it is stored
// as the one in force, in the same transaction: a change and the entry that explains it are both there or
// neither. They are on the disk when Append returns. While there is no engine, or no space, Append waits: entries are never dropped.
func (s *Store) Append(ctx context.Context, inForce *Snapshot, entries ...[]byte) (last uint64, err error) {
	s.appending.Lock()
	defer s.appending.Unlock()
	err = retry(ctx, func() error {
		if !s.counted { // asked once: a later answer would count what an engine stored before it died
			if s.journal, err = s.lastEntry(ctx); err != nil {
				return err
			}
			s.counted = true
		}
		// Should an engine die with the answer on its way, the same keys are written again with the same values.
		var ops []op
		last = s.journal
		for _, entry := range entries {
			last++
			ops = append(ops, op{key: numberKey(spaceJournal, last), value: entry})
		}
		if inForce != nil {
			ops = append(ops,
				op{key: numberKey(spaceSnapshot, inForce.Version), value: inForce.Data},
				op{key: keyCurrent, value: binary.AppendUvarint(nil, inForce.Version)})
		}
		return s.apply(ctx, ops, true)
	})
	if err != nil {
		return 0, err
	}
	s.journal = last
	return last, nil
}

func (s *Store) lastEntry(ctx context.Context) (last uint64, err error) {
	err = s.scan(ctx, query{spans: []span{prefixSpan([]byte{spaceJournal})}, backward: true, limit: 1, keysOnly: true},
		func(key, _ []byte) (err error) {
			last, err = cutNumber(key[1:])
			return err
		})
	return last, err
}

// Entries gives the entries of the journal with numbers from from up to and without to, in order. What yield gets is valid until it
// returns.
func (s *Store) Entries(ctx context.Context, from, to uint64, yield func(number uint64, entry []byte) error) error {
	q := query{spans: []span{{numberKey(spaceJournal, from), numberKey(spaceJournal, to)}}}
	return s.scan(ctx, q, func(key, value []byte) error {
		number, err := cutNumber(key[1:])
		if err != nil {
			return err
		}
		return yield(number, value)
	})
}

// EntriesBefore gives at most limit entries of the journal with numbers below before, newest first; before 0: the newest of all.
// What yield gets is valid until it returns.
func (s *Store) EntriesBefore(ctx context.Context, before uint64, limit int, yield func(number uint64, entry []byte) error) error {
	within := prefixSpan([]byte{spaceJournal})
	if before > 0 {
		within.to = numberKey(spaceJournal, before)
	}
	return s.scan(ctx, query{spans: []span{within}, backward: true, limit: limit}, func(key, value []byte) error {
		number, err := cutNumber(key[1:])
		if err != nil {
			return err
		}
		return yield(number, value)
	})
}

// MarkGood notes that the snapshot of that version has proved itself.
func (s *Store) MarkGood(ctx context.Context, version uint64) error {
	return s.apply(ctx, []op{{key: keyGood, value: binary.AppendUvarint(nil, version)}}, true)
}

// Current returns the snapshot in force, ErrNotFound when there was none yet.
func (s *Store) Current(ctx context.Context) (Snapshot, error) { return s.marked(ctx, keyCurrent) }

// Good returns the last snapshot that has proved itself, ErrNotFound when there was none yet.
func (s *Store) Good(ctx context.Context) (Snapshot, error) { return s.marked(ctx, keyGood) }

func (s *Store) marked(ctx context.Context, mark []byte) (Snapshot, error) {
	version, err := s.number(ctx, mark)
	if err != nil {
		return Snapshot{}, err
	}
	data, err := s.get(ctx, numberKey(spaceSnapshot, version))
	return Snapshot{version, data}, err
}

// Snapshots gives the history of snapshots, oldest first.
func (s *Store) Snapshots(ctx context.Context, yield func(Snapshot) error) error {
	return s.scan(ctx, query{spans: []span{prefixSpan([]byte{spaceSnapshot})}}, func(key, value []byte) error {
		version, err := cutNumber(key[1:])
		if err != nil {
			return err
		}
		return yield(Snapshot{version, value})
	})
}

// DropSnapshots deletes all snapshots but the newest keep, the one in force and the last good one.
func (s *Store) DropSnapshots(ctx context.Context, keep uint64) (deleted int64, err error) {
	current, err := s.number(ctx, keyCurrent)
	if err != nil || current <= keep {
		return 0, err
	}
	good, err := s.number(ctx, keyGood)
	if err != nil {
		return 0, err
	}
	spared := numberKey(spaceSnapshot, good)
	return s.deleteSpans(ctx, []span{{numberKey(spaceSnapshot, 0), numberKey(spaceSnapshot, current-keep+1)}},
		func(key []byte) bool { return !bytes.Equal(key, spared) })
}

// DropEntries deletes the journal's entries for which old holds, from the oldest on up to the first for which it does not.
func (s *Store) DropEntries(ctx context.Context, old func(entry []byte) bool) (deleted int64, err error) {
	first := ^uint64(0)
	err = s.Entries(ctx, 0, first, func(number uint64, entry []byte) error {
		if old(entry) {
			return nil
		}
		first = number
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	last, err := s.lastEntry(ctx) // which stays: numbers go on from it
	if err != nil {
		return 0, err
	}
	return s.deleteSpans(ctx, []span{{numberKey(spaceJournal, 0), numberKey(spaceJournal, min(first, last))}},
		func([]byte) bool { return true })
}

var errEnough = errors.New("enough")
