package policy

import (
	"errors"
	"sync"
	"testing"
	"time"
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

func TestHolder_Resume(t *testing.T) {
	t.Parallel()
	h := NewHolder(Snapshot{Providers: map[string]Provider{"a": {RequestUsage: true}}})
	check := func(version, want uint64) {
		t.Helper()
		if got := h.Resume(version); got.Version != want || h.Load() != got || !got.Providers["a"].RequestUsage {
			t.Errorf("resume at %d: got %+v, want version %d", version, got, want)
		}
	}
	check(7, 7)
	check(3, 7)
	check(7, 7)
}

func TestSnapshot_Stored(t *testing.T) {
	t.Parallel()
	routes := map[string]Route{"r": {
		Parameters: Parameters{map[string]Target{"t": {[Classes]float64{.5, .25, 0}, .95}}, .2, 3, 0, Cache{[Classes]float64{60, 0, 1}, 2, .5}, Limits{1.25, 2, 3}},
		Static:     &Parameters{map[string]Target{"t": {[Classes]float64{1, 1, 1}, 0}}, .1, 0, .03, Cache{}, Limits{}}, Holdback: .02,
		Canary: &Canary{Parameters{RetryShare: .3}, .05, 7},
	}}
	s := &Snapshot{5, map[string]Provider{"a": {Timeouts{1, 2, 3, time.Hour}, true, Pacing{.9, time.Second, 2, 10}}, "b": {}}, routes}
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got Snapshot
	if err := got.UnmarshalBinary(b); err != nil || got.Version != 5 || !got.Same(s) || got.Providers["a"] != s.Providers["a"] ||
		got.Routes["r"].Targets["t"] != routes["r"].Targets["t"] || got.Routes["r"].RetryShare != .2 || got.Routes["r"].Static.HedgeShare != .03 || got.Routes["r"].Canary.Salt != 7 ||
		got.Routes["r"].Cache != routes["r"].Cache {
		t.Errorf("got %+v, %v", got, err)
	}
	got.Version = 9
	if !got.Same(s) {
		t.Error("the version counts")
	}
	got.Providers["b"] = Provider{RequestUsage: true}
	if got.Same(s) {
		t.Error("the content does not count")
	}
	for _, bad := range []string{"", "{}", `{"format":2,"version":1}`, `{"format":1,"version":1,"weights":{}}`} {
		if err := got.UnmarshalBinary([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
