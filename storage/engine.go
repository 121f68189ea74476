package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
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

// Limits bound what a database takes of its disk.
type Limits struct {
	MinFree int64 // bytes that writes leave free on the file system; 0: any
	MaxSize int64 // bytes of the files from which on windows are not written any more; 0: no limit
}

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

// openEngine opens the database in dir, and makes it where there is none.
func openEngine(dir string, limits Limits) (_ *engine, err error) {
	defer func() { err = classify(err) }()
	data := filepath.Join(dir, dataFolder)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	e := &engine{dir: dir, limits: limits}
	if e.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = e.lock.Close()
		}
	}()
	if err := e.room(time.Now()); err != nil {
		return nil, err
	}
	defer func() { // badger may panic over damaged files
		if r := recover(); r != nil {
			err = fmt.Errorf("open %s: %v: %w", data, r, ErrDamaged)
		}
	}()
	if err := presentable(data); err != nil {
		return nil, err
	}
	if e.db, err = badger.Open(engineOptions(data)); err != nil {
		if err = fmt.Errorf("open %s: %w", data, err); !told(err, systemErrors...) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, err
	}
	if err := e.schema(); err != nil {
		_ = e.db.Close()
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.checked, e.summed = time.Time{}, time.Time{} // there are files now
	return e, nil
}

// systemErrors mean that the system has refused something, and say nothing about what is in the files.
var systemErrors = []error{
	syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
}

// presentable sees what badger does not: half of a backup; or makes up for without a word, by deleting tables: a list of tables that is
// missing, or that has lost its end.
func presentable(data string) error {
	if _, err := os.Stat(filepath.Join(data, restoreMark)); err == nil {
		return fmt.Errorf("open %s: a restore did not come to its end: %w", data, ErrDamaged)
	}
	tables, err := filepath.Glob(filepath.Join(data, "*.sst"))
	if err != nil || len(tables) == 0 {
		return err
	}
	f, err := os.Open(filepath.Join(data, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %d tables without a MANIFEST: %w", data, len(tables), ErrDamaged)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	listed, whole, err := badger.ReplayManifestFile(f, 0, engineOptions(data))
	if err != nil {
		return fmt.Errorf("open %s: %w: %w", data, ErrDamaged, err)
	}
	if whole < info.Size() && len(listed.Tables) < len(tables) {
		return fmt.Errorf("open %s: MANIFEST is cut and lists %d of %d tables: %w", data, len(listed.Tables), len(tables), ErrDamaged)
	}
	return nil
}

func engineOptions(data string) badger.Options {
	return badger.DefaultOptions(data).
		WithMemTableSize(memTable).WithNumMemtables(2).
		WithValueThreshold(largestValue).WithValueLogFileSize(valueLog).
		WithBlockCacheSize(blockCache).WithNumCompactors(2).WithNumGoroutines(2).
		WithCompression(options.ZSTD).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithDetectConflicts(false). // there is one writer
		WithMetricsEnabled(false).
		WithLogger(nil)
}

// schema refuses what a newer version has written, and marks what is new.
func (e *engine) schema() error {
	ctx := context.Background()
	mark, err := e.get(ctx, keySchema)
	switch {
	case errors.Is(err, ErrNotFound):
		return e.apply(ctx, []op{{key: keySchema, value: binary.AppendUvarint(nil, schemaVersion)}}, true)
	case err != nil:
		return err
	}
	switch version, n := binary.Uvarint(mark); {
	case n <= 0 || version == 0:
		return fmt.Errorf("%s: its schema version is %x: %w", e.dir, mark, ErrDamaged)
	case version > schemaVersion:
		return fmt.Errorf("%s: its schema is version %d, this program knows %d: %w", e.dir, version, schemaVersion, ErrNewer)
	}
	return nil
}

// How often the free space and the size of the files are looked at, at most.
const (
	freeEvery = time.Second
	sizeEvery = 10 * time.Second
)

// room tells whether there is space to write.
func (e *engine) room(now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if age := now.Sub(e.checked); age >= 0 && age < freeEvery {
		return e.full
	}
	e.checked, e.full = now, nil
	if free, known := freeSpace(e.dir); known && free < e.limits.MinFree {
		e.full = fmt.Errorf("%s: %d MiB free, the reserve is %d MiB: %w", e.dir, free>>20, e.limits.MinFree>>20, ErrFull)
	}
	if age := now.Sub(e.summed); age < 0 || age >= sizeEvery {
		e.summed, e.files = now, folderSize(filepath.Join(e.dir, dataFolder))
	}
	return e.full
}

// oversize tells whether the files have reached their limit, as of the last look.
func (e *engine) oversize() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.limits.MaxSize > 0 && e.files > e.limits.MaxSize {
		return fmt.Errorf("%s: %d MiB, the limit is %d MiB: %w", e.dir, e.files>>20, e.limits.MaxSize>>20, ErrFull)
	}
	return nil
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

// backup writes one state of the database, while writing goes on.
func (e *engine) backup(ctx context.Context, w io.Writer) error {
	_, err := e.db.Backup(&patient{ctx, w}, 0)
	return classify(err)
}

// patient writes until its context is done.
type patient struct {
	ctx context.Context
	w   io.Writer
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// load replaces all that is stored by a backup.
func (e *engine) load(_ context.Context, r io.Reader) (err error) {
	defer func() { err = classify(err) }()
	if err := e.room(time.Now()); err != nil {
		return err
	}
	mark := filepath.Join(e.dir, dataFolder, restoreMark)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	if err := e.db.DropAll(); err != nil {
		return err
	}
	if err := e.db.Load(r, loadBatch); err != nil {
		return err
	}
	if err := e.schema(); err != nil {
		return err
	}
	if err := e.db.Sync(); err != nil {
		return err
	}
	return os.Remove(mark)
}

// restoreMark is a file that is there while a restore is under way. A database with one is half of a backup.
const restoreMark = "RESTORING"

// compact rewrites the files without what was deleted or has expired.
func (e *engine) compact(context.Context) (err error) {
	defer func() { err = classify(err) }()
	if err := e.room(time.Now()); err != nil {
		return err
	}
	if err := e.db.Flatten(1); err != nil {
		return err
	}
	if err := e.db.RunValueLogGC(0.5); err != nil && !errors.Is(err, badger.ErrNoRewrite) {
		return err
	}
	return nil
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

// folderSize is what the files in a folder occupy.
func folderSize(folder string) (total int64) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			total += occupied(info)
		}
	}
	return total
}

// keepQuiet has the engine's process take little: its garbage is short-lived, and nobody waits for it. With one processor its many
// timers wake no others.
func keepQuiet() {
	debug.SetGCPercent(50)
	runtime.GOMAXPROCS(1)
}
