package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

var errDuration = errors.New(`not a duration: want numbers and units, like "10s" (ns, us, ms, s, m, h, d)`)

// ParseDuration reads a duration such as "250ms", "1h30m", "30d" or "1d12h": what time.ParseDuration reads, with days
// of 24 hours in front. Signs and durations beyond 292 years are errors.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		return 0, errDuration
	}
	days, rest := int64(0), s
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if !digits(number) || err != nil || n > math.MaxInt64/int64(day) {
			return 0, errDuration
		}
		if days, rest = n, after; rest == "" {
			return time.Duration(days) * day, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || rest[0] == '+' || rest[0] == '-' || d > math.MaxInt64-time.Duration(days)*day {
		return 0, errDuration
	}
	return time.Duration(days)*day + d, nil
}

// FormatDuration writes a duration that is not negative the way settings spell it, without the zeros of
// time.Duration.String: "10m", "30d", "1h30m". ParseDuration reads it back.
func FormatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
