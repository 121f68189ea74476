package config

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher tells when the contents of files change. It follows the ways in which that is done: writing in place, renaming a new
// file over the old one, as editors do, and moving a symbolic link, as Kubernetes does with mounted ConfigMaps and Secrets.
type Watcher struct {
	quiet time.Duration // without news before contents are compared
	poll  time.Duration // between looks without news, for file systems that send none
	fail  func(error)   // told once when the system gives no news: then only the looks are left
}

// NewWatcher makes a watcher. quiet is how long it waits for a change to be complete. failed, if not nil, is told when the
// system can't send news of changes, such as when inotify's limits are reached; files are still looked at every poll.
func NewWatcher(quiet, poll time.Duration, failed func(error)) *Watcher {
	if failed == nil {
		failed = func(error) {}
	}
	return &Watcher{quiet, poll, failed}
}

// Run calls changed after each change of a file's contents, on its own goroutine, until ctx is done. watched is asked at the start
// and after each call for the paths to watch and what they held when they were read. Files may be missing; appearing and
// vanishing are changes.
func (w *Watcher) Run(ctx context.Context, watched func() ([]string, Fingerprint), changed func()) {
	news, err := fsnotify.NewWatcher()
	if err != nil {
		w.fail(err)
		news = &fsnotify.Watcher{Events: nil, Errors: nil}
	} else {
		defer news.Close()
	}
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	quiet := time.NewTimer(w.quiet)
	quiet.Stop()

	failed := err != nil
	watch := func(paths []string) {
		if failed {
			return
		}
		for _, dir := range directories(paths) {
			if err := news.Add(dir); err != nil && isThere(dir) {
				failed = true
				w.fail(err)
				return
			}
		}
	}
	paths, seen := watched()
	watch(paths)
	quiet.Reset(w.quiet) // it may have changed since
	for {
		select {
		case <-ctx.Done():
			return
		case <-news.Events:
			quiet.Reset(w.quiet)
			continue
		case <-news.Errors: //nolint:errcheck // whatever was lost, looking finds it
		case <-quiet.C:
		case <-poll.C:
		}
		if now := FingerprintOf(paths); now != seen {
			changed()
			seen = now // what has changed since is seen the next time
			if next, sum := watched(); !slices.Equal(next, paths) {
				paths, seen = next, sum
			}
		}
		watch(paths) // links may lead elsewhere now
	}
}

// directories are where changes of the files show: their own, and, where a path leads over symbolic links, those of all links.
func directories(paths []string) (dirs []string) {
	seen := map[string]bool{}
	const maxLinks = 40 // as the kernel
	for _, path := range paths {
		for range maxLinks {
			if dir := filepath.Dir(path); !seen[dir] {
				seen[dir] = true
				dirs = append(dirs, dir)
			}
			target, err := os.Readlink(path)
			if err != nil {
				break
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(path), target)
			}
			path = target
		}
		if end, err := filepath.EvalSymlinks(path); err == nil && !seen[filepath.Dir(end)] {
			seen[filepath.Dir(end)] = true
			dirs = append(dirs, filepath.Dir(end))
		}
	}
	return dirs
}

// Fingerprint stands for what files hold.
type Fingerprint [sha256.Size]byte

// FingerprintOf reads the files. Missing ones have a fingerprint too.
func FingerprintOf(paths []string) (sum Fingerprint) {
	h := sha256.New()
	for _, path := range paths {
		text, err := os.ReadFile(path)
		one := sha256.Sum256(text)
		if err != nil {
			one = sha256.Sum256([]byte(plain(err)))
		}
		_, _ = h.Write([]byte(path))
		_, _ = h.Write(one[:])
	}
	h.Sum(sum[:0])
	return sum
}
