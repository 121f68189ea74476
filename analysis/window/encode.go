package window

import "encoding/binary"

// A sealed slot is one byte string: the counters as varints; for each measure its sum and its number of filled buckets as
// varints; then for each measure one bit string of its filled buckets in ascending order, as gaps and counts.

// deltaFrom is the count from which on the next one is written as its difference: where counts are high, neighbors are alike,
// where they are low, they are noise. 16 is where the two lengths cross for lognormal data.
const deltaFrom = 16

// appendTally appends t in the sealed form to dst.
func appendTally(dst []byte, t *tally) []byte {
	for _, n := range t.counts {
		dst = binary.AppendUvarint(dst, n)
	}
	for m := range t.dists {
		d := &t.dists[m]
		dst = binary.AppendUvarint(dst, d.sum)
		dst = binary.AppendUvarint(dst, d.filled())
	}
	w := bitWriter{buf: dst}
	for m := range t.dists {
		writeBuckets(&w, &t.dists[m])
	}
	return w.close()
}

// addSealed adds a slot in the sealed form to t.
func (t *tally) addSealed(sealed []byte) {
	next := func() uint64 {
		v, n := binary.Uvarint(sealed)
		sealed = sealed[n:]
		return v
	}
	for i := range t.counts {
		t.counts[i] += next()
	}
	var filled [measuresEnd]uint64
	for m := range t.dists {
		t.dists[m].sum += next()
		filled[m] = next()
	}
	r := bitReader{buf: sealed}
	for m := range t.dists {
		readBuckets(&r, &t.dists[m], filled[m])
	}
}

// filled returns the number of buckets that hold values.
func (d *Distribution) filled() (n uint64) {
	for range d.Buckets() {
		n++
	}
	return n
}

func writeBuckets(w *bitWriter, d *Distribution) {
	var gaps, counts, deltas riceState
	var previous uint64
	next := -1 // the first bucket is written in full: a gap from 0 would spoil the estimate of the others
	for p, page := range d.pages {
		if page == nil {
			continue
		}
		for i, n := range page {
			if n == 0 {
				continue
			}
			b := p<<mantissaBits + i
			if next < 0 {
				w.write(uint64(b), pageBits+mantissaBits)
			} else {
				w.rice(uint64(b-next), &gaps)
			}
			if previous >= deltaFrom {
				w.rice(zigzag(int64(n-previous)), &deltas)
			} else {
				w.rice(n-1, &counts)
			}
			next, previous = b+1, n
		}
	}
}

func readBuckets(r *bitReader, d *Distribution, filled uint64) {
	var gaps, counts, deltas riceState
	var n, total uint64
	b := -1
	for ; filled > 0; filled-- {
		if b < 0 {
			b = int(r.read(pageBits + mantissaBits))
		} else {
			b += int(r.rice(&gaps)) + 1
		}
		if n >= deltaFrom {
			n += uint64(unzigzag(r.rice(&deltas)))
		} else {
			n = r.rice(&counts) + 1
		}
		d.page(b >> mantissaBits)[b&(pageLen-1)] += n
		total += n
	}
	d.count += total
}

// zigzag maps small numbers of either sign to small non-negative ones.
func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
