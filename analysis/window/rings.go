package window

import (
	"bytes"
	"sync"
	"time"
)

// Times are counted in slots of the finest level since 1970.
const (
	slotLength = 10 * time.Second
	never      = -1 // the label of an open slot that has not been used
)

// level is one resolution. It keeps the slots of a whole span behind the present one, which may end anywhere in its slot.
type level struct {
	width int64 // of a slot, in the finest ones
	keep  int64 // whole slots kept behind the present one
}

var levels = [...]level{
	{1, 6},     // 10 s: one minute
	{6, 60},    // 1 min: one hour
	{360, 168}, // 1 h: one week
}

const lastLevel = len(levels) - 1

// rings holds the sealed slots of a series. A slot is on the finest level that still keeps its time, never on two. The series'
// mutex guards it; the byte strings themselves never change.
type rings struct {
	slots [len(levels)][]sealedSlot
	pool  *sync.Pool // of *workspace
}

type sealedSlot struct {
	number int64  // in slots of its level
	data   []byte // see appendTally; nil: nothing yet
}

// workspace is what sealing needs and would otherwise allocate anew each time. Its tally is empty while it is in the pool.
type workspace struct {
	tally tally
	buf   []byte
}

func newRings(pool *sync.Pool) rings {
	r := rings{pool: pool}
	for i, l := range levels {
		// One for the present slot and one ahead, for clocks that disagree: no two slots that are kept meet.
		r.slots[i] = make([]sealedSlot, l.keep+2)
	}
	return r
}

// keeps says whether level l has room for slot number at the present time, both in its own slots.
func (l level) keeps(number, present int64) bool {
	return number >= present-l.keep && number <= present+1
}

// put files data, which belongs to slot at, on the finest level from lvl on that keeps that time. What it displaces there is
// too old (or was written under a clock that has since been set back) and moves up a level. Data older than the last
// level keeps is dropped.
func (r *rings) put(lvl int, at int64, data []byte, now int64) {
	for ; lvl < len(levels); lvl++ {
		l := levels[lvl]
		number, present := at/l.width, now/l.width
		kept := l.keeps(number, present)
		if !kept && lvl < lastLevel {
			continue
		}
		if number < present-l.keep {
			return
		}
		e := &r.slots[lvl][number%int64(len(r.slots[lvl]))]
		old := *e
		switch {
		case old.data == nil:
			*e = sealedSlot{number, data}
		case old.number == number:
			e.data = r.merge(old.data, data)
		case lvl < lastLevel:
			*e = sealedSlot{number, data}
			r.put(lvl+1, old.number*l.width, old.data, now)
		case kept || !l.keeps(old.number, present):
			*e = sealedSlot{number, data}
		}
		return
	}
}

// merge returns the sum of two sealed slots.
func (r *rings) merge(a, b []byte) []byte {
	w := r.pool.Get().(*workspace)
	defer r.pool.Put(w)
	w.tally.addSealed(a)
	w.tally.addSealed(b)
	return w.seal()
}

// seal empties the workspace's tally and returns what it held in the sealed form, in memory of its own.
func (w *workspace) seal() []byte {
	w.buf = appendTally(w.buf[:0], &w.tally)
	w.tally.reset()
	return bytes.Clone(w.buf)
}
