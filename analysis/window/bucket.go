package window

import "math/bits"

// A bucket holds the values that share exponent and top 6 mantissa bits. A page is the 64 buckets of one octave; pages 0 and 1
// have buckets of width 1, each later page doubles it. Half a bucket is at most 1/128 = 0.78 % of its lowest value.
const (
	mantissaBits = 6
	pageLen      = 1 << mantissaBits
	pageBits     = 5
	pageCount    = 1 << pageBits
	bucketCount  = pageCount * pageLen               // 2,048
	maxValue     = 1<<(mantissaBits+pageCount-1) - 1 // 2^37-1: 38 h in µs, 137 USD in NanoUSD
	maxAddend    = 1<<40 - 1                         // the most one value adds to a sum: 16 million of them fit into uint64
)

// bucketOf returns the bucket of v; everything above maxValue falls into the last one.
func bucketOf(v uint64) int {
	v = min(v, maxValue)
	shift := max(0, bits.Len64(v)-(mantissaBits+1))
	return shift<<mantissaBits + int(v>>shift)
}

// bucketBounds returns the lowest and the highest value of bucket i.
func bucketBounds(i int) (low, high int64) {
	shift := max(0, i>>mantissaBits-1)
	low = int64(i-shift<<mantissaBits) << shift
	return low, low + 1<<shift - 1
}

// bucketValue returns the value that stands for bucket i: its middle.
func bucketValue(i int) int64 {
	low, high := bucketBounds(i)
	return low + (high-low)/2
}
