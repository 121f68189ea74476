package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Limits bound what a database takes of its disk.
type Limits struct {
	MinFree int64 // bytes that writes leave free on the file system; 0: any
	MaxSize int64 // bytes of the files from which on windows are not written any more; 0: no limit
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
