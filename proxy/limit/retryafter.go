package limit

import "time"

// maxRetryAfter is the longest time to be left alone that is taken seriously.
const maxRetryAfter = 7 * 24 * time.Hour

// retryAfter is what an answer asks for by name.
type retryAfter struct {
	wait       time.Duration
	said, fine bool // fine: in milliseconds, which is the better of the two
}

// read takes Retry-After or retry-after-ms.
func (a *retryAfter) read(name, value []byte, now time.Time) bool {
	if string(name) == "retry-after-ms" {
		n, ok := number(value)
		if ok = ok && n >= 0; ok {
			*a = retryAfter{bounded(n * float64(time.Millisecond)), true, true}
		}
		return ok
	}
	d, _, ok := until(value, now)
	if n, isNumber := number(value); isNumber && !ok && n > 0 { // beyond any time
		d, ok = maxRetryAfter, true
	}
	if ok && !a.fine {
		*a = retryAfter{wait: bounded(float64(d)), said: true}
	}
	return ok
}

func bounded(ns float64) time.Duration { return time.Duration(min(max(ns, 0), float64(maxRetryAfter))) }

// RetryAfter is how long the provider wants to be left alone: what Retry-After or retry-after-ms say, else until the latest reset of a limit that is used up. said tells
// that it has asked for it by name: a reset is when a limit is whole again, and some of it may be there before. It is 0 where nothing usable is said.
func (h *Headers) RetryAfter(now time.Time) (wait time.Duration, said bool) {
	if h.after.said {
		return h.after.wait, true
	}
	for _, r := range h.Readings() {
		if r.Remaining == 0 && !r.Reset.IsZero() {
			wait = max(wait, bounded(float64(r.Reset.Sub(now))))
		}
	}
	return wait, false
}

// mayRetry looks for names that begin as Retry-After does.
func mayRetry(name []byte) bool {
	return name[0]|' ' == 'r' && name[1]|' ' == 'e' && name[2]|' ' == 't'
}
