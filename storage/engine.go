package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
)

const (
	// memTable is what badger keeps in memory before it writes a table. A transaction holds 15 % of it at most.
	memTable = 16 << 20
	// valueLog is the least that badger takes: values stand beside their keys, this log stays empty.
	valueLog   = 1 << 20
	blockCache = 8 << 20
	// largestValue is well below what a transaction can hold.
	largestValue = 1 << 20
	// dataFolder holds badger's files, below the directory that the operator names: so they can be set aside as a whole, and the
	// directory may be a mount point.
	dataFolder = "db"
	// loadBatch is how many writes a restore keeps under way.
	loadBatch = 16
)

// engine is badger, open in this process. It is safe for concurrent use.
type engine struct {
	db     *badger.DB
	dir    string // that the operator named
	limits Limits
	lock   io.Closer

	mu      sync.Mutex // of what follows
	checked time.Time  // when the free space was last looked at
	full    error      // what was found then
	summed  time.Time  // when the size of the files was last looked at
	files   int64      // what was found then
}

// op is one write.
type op struct {
	key   []byte
	value []byte        // nil: the key is deleted
	ttl   time.Duration // 0: for ever
	spare bool          // refused when the database has reached its size
}

// apply writes all or nothing. With sync it is on the disk, and not only with the system, when apply returns.
func (e *engine) apply(_ context.Context, ops []op, sync bool) (err error) {
	defer func() { err = classify(err) }()
	if err := e.room(time.Now()); err != nil {
		return err
	}
	tx := e.db.NewTransaction(true)
	defer tx.Discard()
	for i := range ops {
		o := &ops[i]
		if o.spare {
			if err := e.oversize(); err != nil {
				return err
			}
		}
		switch {
		case o.value == nil:
			err = tx.Delete(o.key)
		case len(o.value) > largestValue:
			err = fmt.Errorf("value of %d bytes, at most %d: %w", len(o.value), largestValue, ErrTooLarge)
		default:
			entry := badger.NewEntry(o.key, o.value)
			if o.ttl > 0 {
				entry = entry.WithTTL(o.ttl)
			}
			err = tx.SetEntry(entry)
		}
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil || !sync {
		return err
	}
	return e.db.Sync()
}

func (e *engine) get(_ context.Context, key []byte) (value []byte, err error) {
	defer func() { err = classify(err) }()
	err = e.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	return value, err
}

// query says what a scan reads.
type query struct {
	spans    []span
	backward bool // from the last key to the first
	limit    int  // keys at most in all; 0: all
	keysOnly bool
}

// scan reads one state of the database. key and value are valid until yield returns; an error of yield ends it.
func (e *engine) scan(ctx context.Context, q query, yield func(key, value []byte) error) (err error) {
	defer func() { err = classify(err) }()
	left := q.limit
	return e.db.View(func(tx *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues, o.Reverse = false, q.backward // values stand beside their keys
		it := tx.NewIterator(o)
		defer it.Close()
		for _, s := range q.spans {
			start := s.from
			if q.backward {
				start = s.to
			}
			for it.Seek(start); it.Valid(); it.Next() {
				if err := ctx.Err(); err != nil {
					return err
				}
				item := it.Item()
				if key := item.Key(); !s.holds(key) {
					if q.backward && bytes.Equal(key, s.to) {
						continue // to itself is not included
					}
					break
				}
				var value []byte
				if !q.keysOnly {
					if err := item.Value(func(v []byte) error { value = v; return nil }); err != nil {
						return err
					}
				}
				if err := yield(item.Key(), value); err != nil {
					return err
				}
				if left--; left == 0 {
					return nil
				}
			}
		}
		return nil
	})
}

func (e *engine) close() error {
	err := e.db.Close()
	return classify(errors.Join(err, e.lock.Close()))
}

// classify gives errors that callers branch on their identity.
func classify(err error) error {
	switch {
	case err == nil, errorNumber(err) > 0:
		return err
	case errors.Is(err, badger.ErrTxnTooBig):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case told(err, syscall.ENOSPC, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, badger.ErrBlockedWrites), errors.Is(err, badger.ErrDBClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case told(err, y.ErrChecksumMismatch):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
}

// told tells whether an error speaks of one of those. Badger puts the text of many errors into its own and loses their
// identity.
func told(err error, kinds ...error) bool {
	for _, kind := range kinds {
		if errors.Is(err, kind) || strings.Contains(err.Error(), kind.Error()) {
			return true
		}
	}
	return false
}
