package ghost

import "slices"

// stack holds the sampled keys in the order of their last accesses, with the bytes of each, in a Fenwick tree: what was asked for
// since a key was is a sum over the places behind it. Places are given out in order; the stack is packed when there are none left.
type stack struct {
	places []int32 // the sample at a place; -1: it has moved up
	sums   []int64 // the tree, from 1
	total  int64
	oldest int // no place before it is taken
}

func (s *stack) add(place int32, bytes int64) {
	s.total += bytes
	for i := int(place) + 1; i < len(s.sums); i += i & -i {
		s.sums[i] += bytes
	}
}

// above is the sum of the bytes behind a place.
func (s *stack) above(place int32) int64 {
	below := int64(0)
	for i := int(place) + 1; i > 0; i -= i & -i {
		below += s.sums[i]
	}
	return s.total - below
}

func (s *stack) remove(place int32, bytes int64) {
	s.places[place] = -1
	s.add(place, -bytes)
}

// push puts a sample on top.
func (c *Curves) push(i int32) {
	if len(c.stack.places) == cap(c.stack.places) {
		c.pack()
	}
	place := int32(len(c.stack.places))
	c.stack.places = append(c.stack.places, i)
	c.samples[i].place = place
	c.stack.add(place, c.samples[i].bytes)
}

// pack takes the places that are free out of the stack.
func (c *Curves) pack() {
	s := &c.stack
	kept := s.places[:0]
	clear(s.sums)
	s.total, s.oldest = 0, 0
	for _, i := range s.places {
		if i >= 0 {
			kept = append(kept, i)
		}
	}
	s.places = kept
	for place, i := range kept {
		c.samples[i].place = int32(place)
		s.add(int32(place), c.samples[i].bytes)
	}
}

// enter makes room for a key.
func (c *Curves) enter(h uint64) (i int32) {
	if n := len(c.spare); n > 0 {
		i, c.spare = c.spare[n-1], c.spare[:n-1]
		c.samples[i] = sample{hash: h}
	} else {
		i = int32(len(c.samples))
		c.samples = append(c.samples, sample{hash: h})
		c.stored = append(c.stored, make([]uint32, len(c.sizes)*len(c.ttls))...)
	}
	c.keys[h] = i
	return i
}

func (c *Curves) leave(i int32) {
	c.stack.remove(c.samples[i].place, c.samples[i].bytes)
	delete(c.keys, c.samples[i].hash)
	c.spare = append(c.spare, i)
}

// bound gives up keys that no cache would hold any more, and lowers the rate when there are too many others.
func (c *Curves) bound() {
	s := &c.stack
	reach := float64(c.sizes[len(c.sizes)-1]) * rateOf(c.threshold.Load())
	for s.oldest < len(s.places) {
		i := s.places[s.oldest]
		if i >= 0 {
			if float64(s.total-c.samples[i].bytes) < reach {
				break
			}
			c.leave(i)
		}
		s.oldest++
	}
	if len(c.keys) > c.most {
		c.lower()
	}
}

// lower gives up the eighth of the keys with the highest hashes, and scales what the sample has counted.
func (c *Curves) lower() {
	hashes := make([]uint64, 0, len(c.keys))
	for h := range c.keys {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	before := rateOf(c.threshold.Load())
	threshold := hashes[len(hashes)-1-len(hashes)/8]
	c.threshold.Store(threshold)
	for _, h := range hashes {
		if h > threshold {
			c.leave(c.keys[h])
		}
	}
	scale := rateOf(threshold) / before
	for _, a := range []*account{&c.current, &c.previous} {
		for m := range a.sampled {
			a.sampled[m] *= scale
		}
		for j := range a.hits {
			for m := range a.hits[j] {
				a.hits[j][m] *= scale
			}
		}
	}
}
