package config

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// watched runs a watcher over files and returns a function that waits for n calls in all, and a moment longer.
func watched(t *testing.T, poll time.Duration, files ...string) (calls func(n int)) {
	t.Helper()
	const quiet = 100 * time.Millisecond // what a test writes in pieces must follow within it, also on a busy machine
	ctx, stop := context.WithCancel(context.Background())
	called := make(chan struct{}, 100)
	var wg sync.WaitGroup
	sum := FingerprintOf(files)
	wg.Go(func() {
		NewWatcher(quiet, poll, func(err error) { t.Errorf("no news: %v", err) }).Run(ctx,
			func() ([]string, Fingerprint) { return files, sum }, func() { called <- struct{}{} })
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return func(n int) {
		t.Helper()
		for range n {
			select {
			case <-called:
			case <-time.After(10 * time.Second):
				t.Fatal("the change was not noticed")
			}
		}
		select {
		case <-called:
			t.Error("told of a change that was none")
		case <-time.After(3 * quiet):
		}
	}
}

func TestWatcher_WaysToChangeAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "c.toml")
	missing := filepath.Join(dir, "secret")
	write(t, file, "a")
	calls := watched(t, time.Hour, file, missing)
	calls(0)

	write(t, file, "b")
	calls(1)
	write(t, file, "b")
	calls(0)       // the same contents
	for range 10 { // in pieces
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteString("x")
		f.Close()
	}
	calls(1)
	for _, text := range []string{"c", "d"} { // as editors do
		write(t, file+"~", text)
		if err := os.Rename(file+"~", file); err != nil {
			t.Fatal(err)
		}
		calls(1)
	}
	write(t, filepath.Join(dir, "other"), "x")
	calls(0)
	write(t, missing, "k")
	calls(1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	calls(1)
	write(t, file, "e")
	calls(1)
}

// Kubernetes mounts file -> ..data/file with ..data -> a directory with a time in its name, and moves ..data.
func TestWatcher_KubernetesSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	publish := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "c.toml"), text)
		if err := os.Symlink(version, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", "a")
	file := filepath.Join(dir, "c.toml")
	if err := os.Symlink(filepath.Join("..data", "c.toml"), file); err != nil {
		t.Fatal(err)
	}
	calls := watched(t, time.Hour, file)
	publish("..2", "b")
	calls(1)
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	calls(0)
	publish("..3", "c")
	calls(1)
}

// A file system that sends no news is looked at from time to time.
func TestWatcher_LooksWithoutNews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "late", "c.toml") // in a directory that is not there yet
	calls := watched(t, 30*time.Millisecond, file)
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, "a")
	calls(1)
}
