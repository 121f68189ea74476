package load

import (
	"context"
	"time"
)

// waitFunc waits for a time. It returns false when ctx is done first.
type waitFunc func(ctx context.Context, at time.Time) bool

// waitTimer waits by a timer of the runtime.
func waitTimer(ctx context.Context, at time.Time) bool {
	if wait := time.Until(at); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
