//go:build unix

package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownLock says that lockFolder keeps others out. Badger's own lock can't be told from its other errors, and outlives a database that is closed while a process is being
// started.
const ownLock = true

// lockFolder makes sure that no other process works on the directory, until what it returns is closed.
func lockFolder(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return folderLock{f}, nil
}

// folderLock is a lock on a file.
type folderLock struct{ f *os.File }

// Close lets go of the lock, whoever else has the file open: so has, for a moment, every process that is being started.
func (l folderLock) Close() error {
	return errors.Join(unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}

// pollable lets the runtime wait for a pipe as it waits for sockets. Standard input and output block a thread by default, which delays
// everything else by milliseconds each time.
func pollable(f *os.File) *os.File {
	fd := f.Fd()
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return f
	}
	return os.NewFile(fd, f.Name())
}

// freeSpace is what an unprivileged process may still write on the directory's file system.
func freeSpace(dir string) (bytes int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:unconvert // the types differ between systems
}

// occupied is what a file takes of the disk: files that are mapped are much longer than what they hold.
func occupied(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(s.Blocks) * 512 //nolint:unconvert // the types differ between systems
	}
	return info.Size()
}
