package policy

import (
	"errors"
	"sync"
	"testing"
)

func TestHolder_PublishRejectsStaleBase(t *testing.T) {
	t.Parallel()
	h := NewHolder(Snapshot{})
	base := h.Load()
	if base.Version != 1 {
		t.Fatalf("first version: got %d, want 1", base.Version)
	}
	next, err := h.Publish(base, Snapshot{Providers: map[string]Provider{"a": {}}})
	if err != nil || next.Version != 2 || h.Load() != next {
		t.Fatalf("publish on the current base: got %v, %v; want version 2 in force", next, err)
	}
	if _, err := h.Publish(base, Snapshot{}); !errors.Is(err, ErrStale) {
		t.Errorf("publish on a stale base: got %v, want ErrStale", err)
	}
	if h.Load() != next {
		t.Error("a refused publish changed the snapshot in force")
	}
}

func TestHolder_ConcurrentPublishersLoseNothing(t *testing.T) {
	t.Parallel()
	h := NewHolder(Snapshot{})
	const writers, each = 8, 100
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					if _, err := h.Publish(h.Load(), Snapshot{}); err == nil {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	if got := h.Load().Version; got != 1+writers*each {
		t.Errorf("versions: got %d, want %d", got, 1+writers*each)
	}
}
