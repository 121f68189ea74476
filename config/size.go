package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// Units of Size.
const (
	Byte Size = 1
	KiB       = 1024 * Byte
	MiB       = 1024 * KiB
	GiB       = 1024 * MiB
	TiB       = 1024 * GiB
)

var sizeUnits = []struct {
	name  string
	bytes Size
}{
	{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"B", Byte},
}

var errSize = errors.New(`not a size: want a number and a unit, like "8MiB" (B, KB, KiB, MB, MiB, GB, GiB, TB, TiB)`)

// ParseSize reads a size such as "8MiB", "1.5 GiB" or "65536" (bytes). The case of the unit doesn't matter, KB is 1000
// bytes and KiB 1024. Negative sizes, fractions of a byte and sizes beyond 2^63-1 bytes are errors.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), Byte
	for _, u := range sizeUnits {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, unit = strings.TrimRight(number[:n], " "), u.bytes
			break
		}
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	if !digits(whole) || dotted && !digits(fraction) {
		return 0, errSize
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf("too large: at most %d bytes", int64(math.MaxInt64))
	}
	bytes := n * int64(unit)
	// The fraction is a number of bytes if it is one digit by digit: unit/10, unit/100, …
	rest := int64(0)
	scale := int64(1)
	for i := 0; i < len(fraction); i++ {
		d := int64(fraction[i] - '0')
		if d == 0 && strings.Trim(fraction[i:], "0") == "" {
			break
		}
		if scale > math.MaxInt64/10/int64(unit) {
			return 0, errors.New("not a whole number of bytes")
		}
		scale *= 10
		rest = rest*10 + d
	}
	if rest*int64(unit)%scale != 0 {
		return 0, errors.New("not a whole number of bytes")
	}
	rest = rest * int64(unit) / scale
	if bytes > math.MaxInt64-rest {
		return 0, fmt.Errorf("too large: at most %d bytes", int64(math.MaxInt64))
	}
	return Size(bytes + rest), nil
}

// digits reports whether s is one or more ASCII digits.
func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String returns the size in the largest binary unit that divides it, which ParseSize reads back.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
