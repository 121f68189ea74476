//go:build unix && !linux

package proxy

func newWatcher(cs *clients) (watcher, error) { return newSweepWatcher(cs), nil }
