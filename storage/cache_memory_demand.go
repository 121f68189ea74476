package storage

import (
	"math/bits"
	"sync/atomic"
)

// demand estimates how often keys have been asked for lately, also those that are not there: a count-min sketch, of which all counts are halved now and then.
// The counters of a key lie within one cache line. It is safe for concurrent use, takes no lock and allocates nothing.
type demand struct {
	lines []demandLine
	shift uint
}

// demandLine is a cache line of counters of 16 bits, two to a word. A key has four, one in each quarter.
type demandLine [16]atomic.Uint32

const (
	// demandEntry is the size of an entry that the counters are laid out for: a line for each.
	demandEntry = 4 << 10
	// leastDemand is how many lines there are at least.
	leastDemand = 1 << 10
	// demandWindow is after how many accesses for each entry that is held all counts are halved. The longer, the surer is what is known of answers that are seldom
	// asked for, and the longer it takes to see that the demand is another.
	demandWindow = 64
	// demandMost is where counting ends: far enough below the end of a counter that what is counted at the same time finds room.
	demandMost = 1 << 15
)

// newDemand is laid out for a cache of a size in bytes.
func newDemand(size int64) *demand {
	lines := bits.Len64(uint64(min(max(size/demandEntry, leastDemand), 1<<24) - 1)) //nolint:gosec // within bounds
	return &demand{lines: make([]demandLine, 1<<lines), shift: uint(64 - lines)}
}

// at is the line of a key, and which counter it has in each quarter, three bits each.
func (d *demand) at(key *CacheKey) (line *demandLine, places uint32) {
	hash := memoryHash(key)
	return &d.lines[hash*0x9e3779b97f4a7c15>>d.shift], uint32(hash>>8) & 0xfff //nolint:gosec // some bits of it
}

// place is the word of a key's counter in a quarter, and by how many bits the counter is shifted in it.
func (l *demandLine) place(places, quarter uint32) (word *atomic.Uint32, shift uint32) {
	place := places >> (3 * quarter)
	return &l[4*quarter+place>>1&3], 16 * (place & 1)
}

func (l *demandLine) least(places uint32) uint32 {
	least := uint32(demandMost)
	for q := range uint32(4) {
		word, shift := l.place(places, q)
		least = min(least, word.Load()>>shift&0xffff)
	}
	return least
}

// add counts an access.
func (d *demand) add(key *CacheKey) {
	line, places := d.at(key)
	least := line.least(places)
	if least >= demandMost {
		return
	}
	for q := range uint32(4) { // those that are higher already have counted others too
		if word, shift := line.place(places, q); word.Load()>>shift&0xffff == least {
			word.Add(1 << shift)
		}
	}
}

// of is about how often a key has been asked for.
func (d *demand) of(key *CacheKey) uint32 {
	line, places := d.at(key)
	return line.least(places)
}

// halve forgets half of all. What is counted meanwhile may get lost.
func (d *demand) halve() {
	for i := range d.lines {
		for j := range d.lines[i] {
			if n := d.lines[i][j].Load(); n > 0 {
				d.lines[i][j].Store(n >> 1 & 0x7fff7fff)
			}
		}
	}
}
