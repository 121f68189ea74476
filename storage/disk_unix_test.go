//go:build unix

package storage

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory is free once its lock is closed, though a process that is just being started still has the file open.
func TestLockFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFolder(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("locked twice: %v", err)
	}
	inherited, err := unix.Dup(int(lock.(folderLock).f.Fd())) //nolint:forcetypeassert // it is one
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited) //nolint:errcheck // nothing was written
	ok(t, lock.Close())
	if lock, err = lockFolder(dir); err != nil {
		t.Fatal(err)
	}
	ok(t, lock.Close())
}
