package admission

import (
	"time"

	"llm-auto-optimizer/proxy/limit"
)

const (
	// leastRetry is as soon as anybody is told to come again, and leastSlotRetry where requests under way have to end first: nobody knows when they do, and a client that
	// comes every few milliseconds is worse than one that waits for longer than it had to.
	leastRetry     = time.Millisecond
	leastSlotRetry = time.Second
	// Budgets open for all of their callers at once: those come back spread over a share of their wait, within bounds.
	spreadShare             = .01
	leastSpread, mostSpread = time.Second, 10 * time.Second
)

// hopeless tells that waiting for less than the refusal says is of no use: what gives room by requests ending is not known so well.
func hopeless(r *limit.Refusal, most time.Duration) bool {
	return r.Never || !r.Guess && r.Retry > most
}

// tell makes of when there is room when to come again. draw is uniform in [0, 1).
func tell(r *limit.Refusal, draw float64) {
	switch {
	case r.Never:
	case r.Guess:
		r.Retry = max(r.Retry, leastSlotRetry)
	case r.Limit.Of == limit.Spend:
		spread := min(max(time.Duration(spreadShare*float64(r.Retry)), leastSpread), mostSpread)
		r.Retry += time.Duration(draw * float64(spread))
	default:
		r.Retry = max(r.Retry, leastRetry)
	}
}
