//go:build !unix

package storage

import (
	"io"
	"io/fs"
	"os"
)

const ownLock = false

// lockFolder leaves it to badger's own lock to keep others out.
func lockFolder(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func pollable(f *os.File) *os.File { return f }

func freeSpace(string) (bytes int64, known bool) { return 0, false }

func occupied(info fs.FileInfo) int64 { return info.Size() }
