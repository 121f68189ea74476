package limit

import (
	"bytes"
	"time"
)

// maxWait is the longest time until a reset that is taken seriously.
const maxWait = 32 * 24 * time.Hour

// httpDate is the form of dates in HTTP (RFC 9110, section 5.6.7), beside two older ones.
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// moment reads when a limit is reset: seconds from now, a duration (6m0s, 120ms, 1d2h), a date of HTTP or RFC 3339, or Unix time in seconds, milliseconds, microseconds or
// nanoseconds. What is past is now; what is further off than maxWait is not believed. dated tells a point in time from one that counts from now.
func moment(value []byte, now time.Time) (_ time.Time, dated, ok bool) {
	d, dated, ok := until(value, now)
	if !ok || d > maxWait {
		return time.Time{}, false, false
	}
	return now.Add(max(d, 0)), dated, true
}

func until(value []byte, now time.Time) (_ time.Duration, dated, ok bool) {
	if len(value) == 0 || len(value) > maxName {
		return 0, false, false
	}
	if n, ok := number(value); ok {
		return untilNumber(n, now)
	}
	if d, ok := duration(value); ok {
		return d, false, true
	}
	for _, layout := range [...]string{time.RFC3339, httpDate, time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, string(value)); err == nil {
			return t.Sub(now), true, true
		}
	}
	return 0, false, false
}

// untilNumber tells seconds from Unix times by their size.
func untilNumber(n float64, now time.Time) (_ time.Duration, dated, ok bool) {
	switch {
	case !(n >= 0) || n > 1e19:
		return 0, false, false
	case n < 1e9: // seconds from now
		return time.Duration(min(n, maxWait.Seconds()+1) * float64(time.Second)), false, true
	case n < 1e11:
		n *= 1e9
	case n < 1e14:
		n *= 1e6
	case n < 1e17:
		n *= 1e3
	}
	if n > 9e18 {
		return 0, false, false
	}
	return time.Unix(0, int64(n)).Sub(now), true, true
}

// duration reads numbers with units.
func duration(value []byte) (sum time.Duration, ok bool) {
	for len(value) > 0 {
		digits := 0
		for digits < len(value) && (value[digits] >= '0' && value[digits] <= '9' || value[digits] == '.') {
			digits++
		}
		n, isNumber := number(value[:digits])
		if !isNumber {
			return 0, false
		}
		value = value[digits:]
		letters := 0
		for letters < len(value) && value[letters] >= 'a' {
			letters++
		}
		unit := unitOf(value[:letters])
		if unit == 0 || n*float64(unit) > float64(1<<61) {
			return 0, false
		}
		if sum += time.Duration(n * float64(unit)); sum < 0 || sum > 1<<61 {
			return 0, false
		}
		value = bytes.TrimLeft(value[letters:], " ")
		ok = true
	}
	return sum, ok
}

func unitOf(name []byte) time.Duration {
	switch string(name) {
	case "ns":
		return time.Nanosecond
	case "us", "µs":
		return time.Microsecond
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	}
	return 0
}
