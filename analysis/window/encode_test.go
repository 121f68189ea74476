package window

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func equalTallies(a, b *tally) bool {
	for m := range a.dists {
		x, y := &a.dists[m], &b.dists[m]
		if x.count != y.count || x.sum != y.sum || !slices.Equal(slices.Collect(x.Buckets()), slices.Collect(y.Buckets())) {
			return false
		}
	}
	return a.counts == b.counts
}

func FuzzSealed(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		want := randomTally(rand.New(rand.NewPCG(seed, 0)))
		prefix := []byte("kept")
		sealed := appendTally(prefix, want)
		if string(sealed[:len(prefix)]) != "kept" {
			t.Fatal("appendTally changed what stood before")
		}
		var got tally
		got.addSealed(sealed[len(prefix):])
		if !equalTallies(&got, want) {
			t.Fatal("a sealed tally does not open to what it was")
		}
		got.addSealed(sealed[len(prefix):]) // adds, not sets
		want.merge(want)
		if !equalTallies(&got, want) {
			t.Fatal("a tally opened twice is not the double")
		}
	})
}

func FuzzRice(f *testing.F) {
	f.Add([]byte{0, 1, 200, 64, 3}, uint64(7))
	f.Fuzz(func(t *testing.T, lengths []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		values := make([]uint64, len(lengths))
		var w bitWriter
		var in, out riceState
		for i, n := range lengths {
			values[i] = rng.Uint64() >> (n % 65)
			w.rice(values[i], &in)
		}
		r := bitReader{buf: w.close()}
		for i, want := range values {
			if got := r.rice(&out); got != want {
				t.Fatalf("number %d: got %d, want %d", i, got, want)
			}
		}
	})
}

// A busy hour has to stay small: the budget of a week of 300 series rests on it.
func TestSealed_Size(t *testing.T) {
	t.Parallel()
	check := func(n, most int) {
		t.Helper()
		var slot openSlot
		for i, all := 0, traffic(newRNG(), n); i < n; i++ {
			slot.record(0, &all[i])
		}
		var full tally
		slot.collect(&full, false)
		if got := len(appendTally(nil, &full)); got > most {
			t.Errorf("%d observations take %d bytes sealed, want at most %d", n, got, most)
		}
	}
	check(0, 30)
	check(1, 48)
	check(10, 104)
	check(360, 440)
	check(36_000, 1_600) // varints take twice that
}
