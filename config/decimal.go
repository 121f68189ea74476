package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

var (
	errNotNumber = errors.New("not a number")
	errNegative  = errors.New("negative")
	errTooLarge  = errors.New("too large")
)

// scaleDecimal returns the number that a decimal text such as "1.25e-07" stands for, times 10^scale, computed on its
// digits: exact, and rounded half to even where digits are left. The text is a number as JSON writes them.
func scaleDecimal(text string, scale int) (int64, error) {
	rest := strings.TrimPrefix(text, "-")
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(rest), "e")
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	if !digits(whole) || hasFraction && !digits(fraction) {
		return 0, errNotNumber
	}
	if hasExponent {
		if unsigned := strings.TrimLeft(exponent, "+-"); !digits(unsigned) || len(exponent)-len(unsigned) > 1 {
			return 0, errNotNumber
		}
		// An exponent that doesn't fit stays at its end of the range of int32, far beyond any digits.
		n, _ := strconv.ParseInt(exponent, 10, 32)
		scale += int(n)
	}
	number := strings.TrimLeft(whole+fraction, "0")
	if number == "" {
		return 0, nil
	}
	if len(rest) != len(text) {
		return 0, errNegative
	}
	shift := scale - len(fraction) // the result is number × 10^shift
	if shift >= 0 {
		if len(number)+shift > 18 { // 10^18 - 1 fits, so do all that are shorter
			return 0, errTooLarge
		}
		n, err := strconv.ParseInt(number+strings.Repeat("0", shift), 10, 64)
		return n, err
	}
	kept := len(number) + shift // digits in front of the cut
	if kept < 0 {
		return 0, nil
	}
	if kept > 18 {
		return 0, errTooLarge
	}
	n := int64(0)
	if kept > 0 {
		n, _ = strconv.ParseInt(number[:kept], 10, 64) // at most 18 digits
	}
	switch left := number[kept:]; {
	case left[0] > '5', left[0] == '5' && (strings.Trim(left[1:], "0") != "" || n%2 == 1):
		n++
	}
	return n, nil
}

// mulDiv returns a × b / c for numbers that are not negative, or the largest number if it doesn't fit.
func mulDiv(a, b, c int64) int64 {
	if a != 0 && b > math.MaxInt64/a {
		return math.MaxInt64
	}
	return a * b / c
}
