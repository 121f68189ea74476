package window

import (
	"encoding/binary"
	"math/bits"
)

// Numbers in sealed slots are Golomb-Rice codes whose parameter follows the numbers: v>>k in unary, then k low bits. Next to
// varints that halves a sealed histogram, and sealed histograms are most of this package's memory.
const (
	riceMaxUnary = 20      // this many ones announce a number written in full: 6 bits for its length, then the number
	riceMaxInput = 1 << 32 // larger numbers count as this in the estimate, which bounds the parameter to 32
)

// riceState estimates the mean of the numbers coded so far, as JPEG-LS does (Weinberger et al., 2000): decaying by 1/16.
type riceState struct{ mean16 uint64 }

// shift returns the parameter for the next number: the bit length of mean x ln 2 (about 11/16).
func (r *riceState) shift() uint { return uint(bits.Len64(r.mean16 * 11 >> 8)) }

func (r *riceState) update(v uint64) { r.mean16 += min(v, riceMaxInput) - r.mean16>>4 }

// bitWriter appends bits to buf, lowest first.
type bitWriter struct {
	buf   []byte
	acc   uint64
	count uint // bits in acc, below 8 between writes
}

// write appends the low n bits of v, which has no others; n <= 56.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc |= v << w.count
	for w.count += n; w.count >= 8; w.count -= 8 {
		w.buf = append(w.buf, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) rice(v uint64, r *riceState) {
	k := r.shift()
	r.update(v)
	if q := v >> k; q < riceMaxUnary {
		w.write(1<<q-1, uint(q)+1)
		w.write(v&(1<<k-1), k)
		return
	}
	n := uint(bits.Len64(v))
	w.write(1<<riceMaxUnary-1, riceMaxUnary)
	w.write(uint64(n-1), 6)
	w.write(v&(1<<32-1), min(n, 32))
	w.write(v>>32, max(n, 32)-32)
}

// close appends the last bits, filled up with zeros, and returns the extended buffer.
func (w *bitWriter) close() []byte {
	if w.count > 0 {
		w.buf = append(w.buf, byte(w.acc))
	}
	return w.buf
}

// bitReader reads what bitWriter wrote. Past the end it reads zeros.
type bitReader struct {
	buf   []byte
	acc   uint64
	count uint
}

// fill makes sure of 56 bits in acc. Bits above count are zero or those that follow, so that adding them again changes nothing.
func (r *bitReader) fill() {
	if len(r.buf) >= 8 {
		r.acc |= binary.LittleEndian.Uint64(r.buf) << r.count
		n := (63 - r.count) / 8
		r.buf = r.buf[n:]
		r.count += 8 * n
		return
	}
	for ; r.count <= 56; r.count += 8 {
		if len(r.buf) > 0 {
			r.acc |= uint64(r.buf[0]) << r.count
			r.buf = r.buf[1:]
		}
	}
}

// read returns the next n bits; n <= 56.
func (r *bitReader) read(n uint) uint64 {
	if r.count < n {
		r.fill()
	}
	v := r.acc & (1<<n - 1)
	r.acc >>= n
	r.count -= n
	return v
}

func (r *bitReader) rice(s *riceState) uint64 {
	if r.count < riceMaxUnary+1 {
		r.fill()
	}
	var v uint64
	if q := uint(bits.TrailingZeros64(^r.acc)); q < riceMaxUnary {
		r.acc >>= q + 1
		r.count -= q + 1
		k := s.shift()
		v = uint64(q)<<k | r.read(k)
	} else {
		r.acc >>= riceMaxUnary
		r.count -= riceMaxUnary
		n := uint(r.read(6)) + 1
		v = r.read(min(n, 32))
		v |= r.read(max(n, 32)-32) << 32
	}
	s.update(v)
	return v
}
