package runner

import "sync"

// keeper stores the newest of what it is given, on a goroutine of its own: a slow disk holds up nobody. It is safe for concurrent use.
type keeper struct {
	store func([]byte)
	wake  chan struct{} // has room for one

	mu   sync.Mutex
	next []byte
	told []chan struct{} // closed when next is stored
	over bool
}

func newKeeper(store func([]byte)) *keeper {
	return &keeper{store: store, wake: make(chan struct{}, 1)}
}

// put gives something to be stored, in the place of what waits. stored is closed once that, or something newer, has been; the caller must not write to b any more.
func (k *keeper) put(b []byte) (stored <-chan struct{}) {
	done := make(chan struct{})
	k.mu.Lock()
	k.next, k.told = b, append(k.told, done)
	k.mu.Unlock()
	k.rouse()
	return done
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run stores until end was called and nothing waits.
func (k *keeper) run() {
	for range k.wake {
		k.mu.Lock()
		b, told, over := k.next, k.told, k.over
		k.next, k.told = nil, nil
		k.mu.Unlock()
		if told != nil {
			k.store(b)
		}
		for _, done := range told {
			close(done)
		}
		if over {
			return
		}
	}
}

// end has run return once all is stored. Nothing is to be put after it.
func (k *keeper) end() {
	k.mu.Lock()
	k.over = true
	k.mu.Unlock()
	k.rouse()
}
