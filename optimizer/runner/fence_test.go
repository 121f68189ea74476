package runner

import (
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/optimizer"
)

// A tuner that hangs again and again is left out for longer each time.
func TestRunner_HangingTunerIsFencedForLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		hung := make(chan struct{})
		defer close(hung)
		s.propose = func(*optimizer.RouteEvidence) optimizer.Proposal {
			<-hung
			return optimizer.Proposal{}
		}
		s.run(true)
		for i, hours := range []int{1, 2, 4} {
			want := time.Duration(hours) * time.Hour
			s.cycle(ErrLate)
			fenced := s.told(optimizer.Fenced)
			if len(fenced) != i+1 || fenced[i].Expires.Sub(fenced[i].At) != want {
				t.Fatalf("time %d: %v", i+1, fenced)
			}
			time.Sleep(want - time.Minute)
			s.cycle(nil) // it is not asked yet
			time.Sleep(time.Minute)
		}
	})
}
