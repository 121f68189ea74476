package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

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
	if err := dropEmptyMemtables(data); err != nil {
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

// dropEmptyMemtables removes what a process that was killed at that moment had made of a new memtable: a file without a byte, which badger does not open. There is
// nothing in it.
func dropEmptyMemtables(data string) error {
	files, err := filepath.Glob(filepath.Join(data, "*.mem"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() == 0 {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
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
		WithBypassLockGuard(ownLock).
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

// keepQuiet has the engine's process take little: its garbage is short-lived, and nobody waits for it. With one processor its many
// timers wake no others.
func keepQuiet() {
	debug.SetGCPercent(50)
	runtime.GOMAXPROCS(1)
}
