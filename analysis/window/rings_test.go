package window

import (
	"slices"
	"sync"
	"testing"
)

// stored returns the numbers of the slots on each level, in order.
func (r *rings) stored() (numbers [len(levels)][]int64) {
	for l, ring := range r.slots {
		for _, e := range ring {
			if e.data != nil {
				numbers[l] = append(numbers[l], e.number)
			}
		}
		slices.Sort(numbers[l])
	}
	return numbers
}

func newTestRings() rings { return newRings(&sync.Pool{New: func() any { return new(workspace) }}) }

func oneRequest() []byte { return appendTally(nil, &tally{counts: [countSums]uint64{OK: 1}}) }

// Every level has room for all it keeps at once, with the present slot and the next.
func TestRings_NoTwoKeptSlotsMeet(t *testing.T) {
	t.Parallel()
	const now = 1_234_567
	for lvl, l := range levels {
		r := newTestRings()
		present := now / l.width
		var want []int64
		for number := present - l.keep; number <= present+1; number++ {
			r.put(lvl, number*l.width, oneRequest(), now)
			want = append(want, number)
		}
		if got := r.stored(); !slices.Equal(got[lvl], want) {
			t.Errorf("level %d: got %v, want %v", lvl, got[lvl], want)
		}
	}
}

func TestRings_Put(t *testing.T) {
	t.Parallel()
	const week, hour, minute = 168 * 360, 360, 6
	const now = 1000 * hour
	check := func(slots []int64, want [len(levels)][]int64) {
		t.Helper()
		r := newTestRings()
		for _, at := range slots {
			r.put(0, at, oneRequest(), now)
		}
		for l, got := range r.stored() {
			if !slices.Equal(got, want[l]) {
				t.Errorf("%v on level %d: got %v, want %v", slots, l, got, want[l])
			}
		}
	}
	type lists = [len(levels)][]int64
	check([]int64{now, now - 6, now + 1, now}, lists{{now - 6, now, now + 1}})
	check([]int64{now - 7, now - 12}, lists{1: {now/minute - 2}})
	check([]int64{now - hour, now - hour - 1}, lists{1: {now/minute - 60}, 2: {998}})
	check([]int64{now - week, now - week - 1}, lists{2: {1000 - 168}})         // older is dropped
	check([]int64{now + 2, now + 2*hour}, lists{1: {now / minute}, 2: {1002}}) // the future, once the clock was set back
	check([]int64{now - 100*hour, now + 70*hour}, lists{2: {900}})             // meets one that is kept
	check([]int64{now + 70*hour, now - 100*hour}, lists{2: {900}})             // the kept one wins
	check([]int64{now + 70*hour, now + 240*hour}, lists{2: {1240}})            // neither is kept
	check([]int64{now - 1, now - hour, now + 50*hour}, lists{{now - 1}, {now/minute - 60}, {1050}})
}

// As time passes, what a ring has no room for is found on the next level, merged.
func TestRings_PushUp(t *testing.T) {
	t.Parallel()
	r := newTestRings()
	const slots = 3 * 360
	for now := range int64(slots) {
		r.put(0, now, oneRequest(), now)
	}
	var all tally
	for _, ring := range r.slots {
		for _, e := range ring {
			if e.data != nil {
				all.addSealed(e.data)
			}
		}
	}
	if all.counts[OK] != slots {
		t.Errorf("got %d requests, want %d", all.counts[OK], slots)
	}
	got := r.stored()
	if len(got[0]) != 8 || len(got[1]) != 62 || !slices.Equal(got[2], []int64{0, 1}) {
		t.Errorf("got %v, want 8 slots, 62 minutes and hours 0 and 1", got)
	}
}
