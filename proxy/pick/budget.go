package pick

import "sync/atomic"

const (
	// DefaultRetryShare of the exchanges under way may be repetitions at a time, as Envoy's retry budgets have it.
	DefaultRetryShare = .2
	// retryFloor repetitions are allowed however little is under way: Envoy has three, which a handful of clients that meet a dead target at
	// the same moment exceed, and one of them gets the error.
	retryFloor = 10
)

// budget bounds repetitions: when everything fails they must not multiply the load.
type budget struct {
	active  atomic.Int64  // exchanges under way
	repeats atomic.Int64  // repetitions that have not begun to be answered
	spent   atomic.Uint64 // that were made
	refused atomic.Uint64
}

// take asks for one repetition.
func (b *budget) take(share float64) bool {
	allowed := max(retryFloor, int64(share*float64(b.active.Load())))
	if b.repeats.Add(1) > allowed {
		b.repeats.Add(-1)
		b.refused.Add(1)
		return false
	}
	return true
}

func (b *budget) give() { b.repeats.Add(-1) }
