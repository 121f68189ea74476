package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A file system that fills up in one moment, under an engine that is writing: the process may die of it, the store must not.
func TestSupervisor_FullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("a file system of its own can only be mounted with privileges: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := startAt(t, dir, 8<<20)
	healthy(t, s)
	ctx := t.Context()
	value := make([]byte, 10_000)
	stored := 0
	put := func() error {
		for i := range value {
			value[i] = byte(i * (stored + 7) >> 3)
		}
		err := s.PutValue(ctx, "n", fmt.Sprint(stored), value, 0)
		if err == nil {
			stored++
		}
		return err
	}
	for range 100 {
		ok(t, put())
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	ok(t, err)
	for chunk := make([]byte, 1<<16); err == nil; {
		_, err = f.Write(chunk)
	}
	_ = f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	var refusal error
	for end := time.Now().Add(20 * time.Second); refusal == nil && time.Now().Before(end); {
		refusal = put()
	}
	if refusal == nil {
		t.Fatal("a full disk takes everything")
	}
	t.Logf("refused with: %v", refusal)
	for end := time.Now().Add(10 * time.Second); ; {
		err := s.Health()
		if err != nil && errors.Is(err, ErrUnavailable) && bytes.Contains([]byte(err.Error()), []byte("disk full")) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("health: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	ok(t, os.Remove(ballast))
	for end := time.Now().Add(30 * time.Second); ; { // a write that is taken is what tells a store that there is room again
		err := put()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no room again: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	healthy(t, s)
	n := 0
	ok(t, s.Values(ctx, "n", func(string, []byte) error { n++; return nil }))
	if n < stored {
		t.Errorf("%d values are left of %d", n, stored)
	}
	if _, aside := s.Restarts(); aside > 0 {
		t.Error("taken for damage")
	}
}

// A disk that fills up under a cache: the cache gives way and comes back, and nothing wrong is read meanwhile.
func TestDisk_FullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("a file system of its own can only be mounted with privileges: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	const reserve = 8 << 20
	d := diskAt(t, dir, func(o *DiskOptions) { o.Engine.Command = engineCommand(dir, reserve) })
	fillDisk(t, d, 0, 200, 1, 20_000)
	if n := countDisk(t, d, 0, 200, 1); n != 200 {
		t.Fatalf("%d of 200 are there", n)
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	ok(t, err)
	for chunk := make([]byte, 1<<16); err == nil; {
		_, err = f.Write(chunk)
	}
	_ = f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	next := 1000
	put := func() {
		d.Put(time.Now(), keyOf(next), &CacheItem{Value: valueOf(next, 1, 20_000)})
		next++
		<-time.After(5 * time.Millisecond)
	}
	until(t, "a refusal", func() bool { put(); s := d.Stats(); return s.Unwritten > 0 || !s.Up })
	countDisk(t, d, 0, 200, 1) // whatever is left is whole
	until(t, "giving way", func() bool { put(); return d.store.Size() < 2<<20 })
	ok(t, os.Remove(ballast))
	until(t, "a hit", func() bool { put(); return d.Stats().Up && countDisk(t, d, next-20, next, 1) > 0 })
	if s := d.Stats(); s.Corrupt > 0 || s.Aside > 0 {
		t.Errorf("stats: %+v", s)
	}
}
