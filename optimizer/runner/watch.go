package runner

import (
	"slices"
	"sync"

	"llm-auto-optimizer/optimizer"
)

// watchers are those who want to hear of decisions as they come.
type watchers struct {
	mu   sync.Mutex
	list []chan optimizer.Decision
}

// watchBuffer is how many decisions wait for a watcher; more are lost to it.
const watchBuffer = 256

// Watch hears of all decisions from now on, holds too, until end is called. A slow listener misses some.
func (r *Runner) Watch() (decisions <-chan optimizer.Decision, end func()) {
	c := make(chan optimizer.Decision, watchBuffer)
	w := &r.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, c)
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.list = slices.DeleteFunc(w.list, func(o chan optimizer.Decision) bool { return o == c })
	}
}

func (w *watchers) tell(d *optimizer.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.list {
		select {
		case c <- *d:
		default:
		}
	}
}
