package load

import (
	"math"
	"math/bits"
	"time"
)

// A bucket holds the times in nanoseconds that share exponent and top 7 mantissa bits, so that its middle is within 0.4 %
// of all of them. The last one also takes what is longer than 73 minutes.
const (
	mantissaBits = 7
	valueBits    = 42
	bucketCount  = (valueBits - mantissaBits + 1) << mantissaBits
)

// Histogram counts durations. The zero value is empty. Not safe for concurrent use.
type Histogram struct {
	counts [bucketCount]uint64
	count  uint64
	sum    float64 // nanoseconds; exact for more than 100 days
	max    time.Duration
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	v := min(uint64(d), 1<<valueBits-1)
	shift := max(0, bits.Len64(v)-(mantissaBits+1))
	h.counts[shift<<mantissaBits+int(v>>shift)]++
	h.count++
	h.sum += float64(d)
	h.max = max(h.max, d)
}

// Count is the number of durations recorded.
func (h *Histogram) Count() int64 { return int64(h.count) }

// Max is the longest duration recorded, exactly; 0 without any.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the mean of the durations recorded, of the durations themselves; 0 without any.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile is the q-quantile by nearest rank, within 0.4 %, and never above Max; 0 without any durations. A q outside
// of [0, 1] counts as 0 or 1.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(max(1, math.Ceil(min(q, 1)*float64(h.count))))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			shift := max(0, i>>mantissaBits-1)
			low := time.Duration(i-shift<<mantissaBits) << shift
			return min(low+time.Duration(1)<<shift/2, h.max)
		}
	}
	return 0
}
