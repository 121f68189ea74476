package limit

import (
	"math"
	"math/bits"
)

// plus adds and saturates.
func plus(a, b int64) int64 {
	if sum := a + b; (sum > a) == (b > 0) {
		return sum
	}
	if b > 0 {
		return math.MaxInt64
	}
	return math.MinInt64
}

// minus subtracts and saturates.
func minus(a, b int64) int64 {
	if diff := a - b; (diff < a) == (b > 0) {
		return diff
	}
	if b > 0 {
		return math.MinInt64
	}
	return math.MaxInt64
}

// apart is a - b, for a not below b: exact, however far apart.
func apart(a, b int64) uint64 { return uint64(a) - uint64(b) } //nolint:gosec // two's complement: the difference fits

// divided is (a × b + rem) / by with what is left; whole is false where the quotient does not fit.
func divided(a, b, rem, by uint64) (quotient, left uint64, whole bool) {
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, rem, 0)
	if hi += carry; hi >= by {
		return 0, 0, false
	}
	quotient, left = bits.Div64(hi, lo, by)
	return quotient, left, true
}
