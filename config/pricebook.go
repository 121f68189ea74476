package config

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// PriceBook holds the price table in force: a base table and, merged over it, a price file that is read again when it
// changes. A file that can't be read leaves the last good table in force. All methods are safe for concurrent use.
type PriceBook struct {
	base     *PriceTable
	onReload func(*PriceTable, error)

	table    atomic.Pointer[PriceTable]
	reloads  atomic.Uint64
	failures atomic.Uint64

	poke chan struct{} // Run has to look at file and refresh again

	mu      sync.Mutex // held while the file is read
	file    string
	refresh time.Duration
	seen    fs.FileInfo // of the file when it was last read; nil: it was not there
}

// NewPriceBook returns a book with the models of base and, if file is not empty, those of the file, which must be good.
// Run looks at the file every refresh (0: never). onReload, if not nil, is told of every change of the file: the new
// table, or why the last good one stays. It is called without locks held, by the goroutine that read the file.
func NewPriceBook(base *PriceTable, file string, refresh time.Duration, onReload func(*PriceTable, error)) (*PriceBook, error) {
	b := &PriceBook{base: base, file: file, refresh: refresh, onReload: onReload, poke: make(chan struct{}, 1)}
	b.table.Store(base)
	if file == "" {
		return b, nil
	}
	if _, err := b.read(true); err != nil {
		return nil, err
	}
	return b, nil
}

// Table returns the table in force. It costs one atomic load.
func (b *PriceBook) Table() *PriceTable { return b.table.Load() }

// Reloads returns how often a changed file was taken over.
func (b *PriceBook) Reloads() uint64 { return b.reloads.Load() }

// Failures returns how often a changed file was refused. The same bad file counts once.
func (b *PriceBook) Failures() uint64 { return b.failures.Load() }

// Run looks at the file until ctx ends. Without a file or a refresh interval it only waits.
func (b *PriceBook) Run(ctx context.Context) {
	for {
		b.mu.Lock()
		refresh := b.refresh
		if b.file == "" {
			refresh = 0
		}
		b.mu.Unlock()
		var tick <-chan time.Time // never, without refresh
		if refresh > 0 {
			tick = time.After(refresh)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.poke:
		case <-tick:
			_ = b.update(false) // onReload is told
		}
	}
}

// Prepare reads another file. commit puts its prices in force in place of those of the present file, which is not looked at any
// more. When the file is refused nothing changes.
func (b *PriceBook) Prepare(file string, refresh time.Duration) (commit func(), err error) {
	b.mu.Lock()
	same := file == b.file
	b.mu.Unlock()
	next := &PriceBook{base: b.base, file: file}
	next.table.Store(b.base)
	if file != "" && !same {
		if _, err := next.read(true); err != nil {
			return nil, err
		}
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refresh = refresh
		if file != b.file {
			b.file, b.seen = file, next.seen
			b.table.Store(next.table.Load())
			b.reloads.Add(1)
		}
		select {
		case b.poke <- struct{}{}:
		default:
		}
	}, nil
}

// Reload reads the file now, changed or not, and returns why it was refused.
func (b *PriceBook) Reload() error {
	return b.update(true)
}

// update reads the file, if it changed or force is set, and tells of it.
func (b *PriceBook) update(force bool) error {
	changed, err := b.read(force)
	switch {
	case !changed:
		return nil
	case err != nil:
		b.failures.Add(1)
	default:
		b.reloads.Add(1)
	}
	if b.onReload != nil {
		b.onReload(b.table.Load(), err)
	}
	return err
}

// read puts the file's table in force, if the file changed since the last time or force is set.
func (b *PriceBook) read(force bool) (changed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == "" {
		return false, nil
	}
	info, err := os.Stat(b.file) // before reading: a change in between is seen the next time
	if !force && sameFile(info, b.seen) {
		return false, nil
	}
	b.seen = info
	if err != nil {
		b.seen = nil
		return true, fmt.Errorf("price list: %w", err)
	}
	over, err := LoadPrices(b.file)
	if err != nil {
		return true, err
	}
	b.table.Store(b.base.Merge(over))
	return true, nil
}

// sameFile reports whether two looks at a path, nil where nothing was there, found the same file unchanged.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
