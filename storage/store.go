package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Store is what is stored, by kind. It is safe for concurrent use. While the engine of a store made by Start is away, all calls fail
// with ErrUnavailable at once.
type Store struct {
	dir     string
	limits  Limits
	backend func() (backend, error)
	close   func() error
	watched *supervisor // nil: there is no other process

	refused atomic.Pointer[string] // why the last write was, for want of space; nil: it was not

	appending sync.Mutex
	journal   uint64 // last sequence number
	counted   bool   // journal is known

	naming sync.Mutex
	named  map[string]uint64 // series whose names are stored, by level and name: the engine it was done with
}

// backend is what engine and remote have in common.
type backend interface {
	apply(ctx context.Context, ops []op, sync bool) error
	get(ctx context.Context, key []byte) ([]byte, error)
	scan(ctx context.Context, q query, yield func(key, value []byte) error) error
	backup(ctx context.Context, w io.Writer) error
	load(ctx context.Context, r io.Reader) error
	compact(ctx context.Context) error
	drop(ctx context.Context, prefix []byte) error
	stats(ctx context.Context) (*Stats, error)
}

var _, _ backend = (*engine)(nil), (*remote)(nil)

// Exists tells whether there is a database in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, dataFolder))
	return err == nil
}

// OpenDir opens the database in dir in this process. It fails with ErrInUse while another has it open.
func OpenDir(dir string, limits Limits) (*Store, error) {
	e, err := openEngine(dir, limits)
	if err != nil {
		return nil, err
	}
	return &Store{
		dir: dir, limits: limits, close: e.close, named: map[string]uint64{},
		backend: func() (backend, error) { return e, nil },
	}, nil
}

// Start begins an engine in another process and keeps one running until Close.
func Start(o Options) *Store {
	s := newSupervisor(o)
	return &Store{dir: o.Dir, limits: o.Limits, watched: s, close: s.close, named: map[string]uint64{}, backend: s.backend}
}

// Close ends the engine after the calls under way.
func (s *Store) Close() error { return s.close() }

// Wait waits until an engine has opened the files or has failed to, or ctx is done.
func (s *Store) Wait(ctx context.Context) {
	if s.watched == nil {
		return
	}
	select {
	case <-s.watched.opened:
	case <-ctx.Done():
	}
}

// Health is nil while there is an engine and it takes writes, else an error that says why not.
func (s *Store) Health() error {
	if _, err := s.backend(); err != nil {
		return err
	}
	if why := s.refused.Load(); why != nil {
		return fmt.Errorf("%w: %s", ErrFull, *why)
	}
	return nil
}

// Restarts returns how often an engine had to be begun anew, and how many damaged databases were set aside.
func (s *Store) Restarts() (restarts, aside uint64) {
	if s.watched == nil {
		return 0, 0
	}
	return max(s.watched.begun.Load(), 1) - 1, s.watched.aside.Load()
}

// NotFound tells whether an error is ErrNotFound.
func (s *Store) NotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

// Size returns what the files occupy, in bytes.
func (s *Store) Size() int64 { return folderSize(filepath.Join(s.dir, dataFolder)) }

// Oversize returns the share of the size limit that the files take; 0: there is no limit.
func (s *Store) Oversize() float64 {
	if s.limits.MaxSize <= 0 {
		return 0
	}
	return float64(s.Size()) / float64(s.limits.MaxSize)
}

// Backup writes all that is stored, as of one moment, to w. Writing goes on meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	b, err := s.backend()
	if err != nil {
		return err
	}
	return writeBackup(w, func(w io.Writer) error { return b.backup(ctx, w) })
}

// Restore replaces all that is stored by a backup. A backup that is not whole is refused before anything has changed: for that it
// is read twice.
func (s *Store) Restore(ctx context.Context, r io.ReadSeeker) error {
	b, err := s.backend()
	if err != nil {
		return err
	}
	if err := CheckBackup(r); err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	s.appending.Lock()
	defer s.appending.Unlock()
	s.naming.Lock()
	defer s.naming.Unlock()
	s.journal, s.counted = 0, false
	clear(s.named)
	return readBackup(r, func(r io.Reader) error { return b.load(ctx, r) })
}

// Compact rewrites the files without what was deleted or has expired.
func (s *Store) Compact(ctx context.Context) error {
	b, err := s.backend()
	if err != nil {
		return err
	}
	return b.compact(ctx)
}

// Stats counts what is stored. It reads all of it.
func (s *Store) Stats(ctx context.Context) (*Stats, error) {
	b, err := s.backend()
	if err != nil {
		return nil, err
	}
	return b.stats(ctx)
}

func (s *Store) apply(ctx context.Context, ops []op, sync bool) error {
	if err := ctx.Err(); err != nil { // a fast engine would answer before anybody looks
		return fmt.Errorf("write: %w", err)
	}
	b, err := s.backend()
	if err != nil {
		return err
	}
	err = b.apply(ctx, ops, sync)
	switch {
	case err == nil:
		s.refused.Store(nil)
	case errors.Is(err, ErrFull) && len(ops) > 0 && !ops[0].spare: // that windows are no longer written is another matter
		text := err.Error()
		s.refused.Store(&text)
	}
	return err
}

func (s *Store) scan(ctx context.Context, q query, yield func(key, value []byte) error) error {
	b, err := s.backend()
	if err != nil {
		return err
	}
	return b.scan(ctx, q, yield)
}

func (s *Store) get(ctx context.Context, key []byte) ([]byte, error) {
	b, err := s.backend()
	if err != nil {
		return nil, err
	}
	return b.get(ctx, key)
}

// drop deletes all keys that begin with prefix; see engine.
func (s *Store) drop(ctx context.Context, prefix []byte) error {
	b, err := s.backend()
	if err != nil {
		return err
	}
	return b.drop(ctx, prefix)
}

// deleteBatch is how many keys one write of deleteSpans deletes.
const deleteBatch = 5000

// deleteSpans deletes the keys of spans for which old holds, in several writes.
func (s *Store) deleteSpans(ctx context.Context, spans []span, old func(key []byte) bool) (n int64, err error) {
	var ops []op
	flush := func() error {
		if err := s.apply(ctx, ops, false); err != nil {
			return err
		}
		n += int64(len(ops))
		ops = nil
		return nil
	}
	err = s.scan(ctx, query{spans: spans, keysOnly: true}, func(key, _ []byte) error {
		if !old(key) {
			return nil
		}
		if ops = append(ops, op{key: append([]byte(nil), key...)}); len(ops) < deleteBatch {
			return nil
		}
		return flush()
	})
	if err == nil && len(ops) > 0 {
		err = flush()
	}
	return n, err
}

// retry repeats a write that must not get lost until it is stored or ctx is done.
func retry(ctx context.Context, write func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := write()
		if err == nil || !(errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull)) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
	}
}
