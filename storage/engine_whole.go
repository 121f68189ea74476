package storage

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

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

// drop deletes all keys that begin with prefix, and with them their files: it gives space back at once, also when there is little left.
// Nothing may be written meanwhile. A part may be left when a compaction has failed.
func (e *engine) drop(_ context.Context, prefix []byte) error {
	if len(prefix) == 0 {
		return errFrame
	}
	// badger leaves files alone in which all keys have expired: it finds none to drop.
	err := e.db.Update(func(tx *badger.Txn) error { return tx.Set(prefix, nil) })
	if err != nil {
		return classify(err)
	}
	return classify(e.db.DropPrefix(prefix))
}
