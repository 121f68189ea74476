package optimizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func pin(t *testing.T, l *Loop, at time.Time, value float64) {
	t.Helper()
	order(t, l, at, Order{Action: Pin, Route: "r", Parameter: "retry_share", Value: value, For: time.Hour, By: "ann"})
}

// A pin that ends has its parameter go back to what it was before, and says so; also after a restart.
func TestPin_EndsWithItsValue(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = func(*RouteEvidence) Proposal { return Proposal{Reason: "nothing"} }
	s.in.RetryShare = .3 // as was tuned
	l := s.loop(Auto)
	l.Step(noon)
	pin(t, l, noon, .5)
	pin(t, l, noon.Add(time.Minute), .6)
	if l.Step(noon.Add(50 * time.Minute)); s.in.RetryShare != .6 {
		t.Fatalf("pinned it is %v", s.in.RetryShare)
	}
	b, err := l.MarshalBinary()
	if l = s.loop(Auto); err != nil || l.UnmarshalBinary(b) != nil {
		t.Fatal(err)
	}
	s.stale = ErrOrder // somebody else is faster
	if l.Step(noon.Add(2 * time.Hour)); s.in.RetryShare != .6 {
		t.Errorf("%v though it could not be published", s.in.RetryShare)
	}
	s.stale = nil
	d := l.Step(noon.Add(2*time.Hour + 10*time.Second))
	if s.in.RetryShare != .3 || len(d) != 1 || d[0].Verdict != Applied || !strings.Contains(d[0].String(), "r went back to retry_share = 0.3: ann's pin of it to 0.6 has ended") {
		t.Errorf("ended it is %v: %v", s.in.RetryShare, d)
	}
	if _, pins, _, _ := l.Standing(noon); len(pins) != 0 {
		t.Errorf("still pinned: %v", pins)
	}
	if d := l.Step(noon.Add(3 * time.Hour)); len(d) > 1 {
		t.Errorf("told again: %v", d)
	}
}

// Unpinning does the same at once; what somebody has changed since stays, and so does all while a route is frozen.
func TestPin_EndsOtherwise(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = func(*RouteEvidence) Proposal { return Proposal{Reason: "nothing"} }
	l := s.loop(Auto)
	l.Step(noon)
	pin(t, l, noon, .5)
	d := order(t, l, noon, Order{Action: Unpin, Route: "r", Parameter: "retry_share", By: "ann"})
	if s.in.RetryShare != .2 || len(d.Changes) != 1 || !strings.Contains(d.Reason, "goes back to 0.2") {
		t.Errorf("unpinned it is %v: %v", s.in.RetryShare, d.String())
	}
	pin(t, l, noon, .5)
	s.in.RetryShare = .4
	if d := l.Step(noon.Add(2 * time.Hour)); s.in.RetryShare != .4 || len(d) != 1 || len(d[0].Changes) > 0 {
		t.Errorf("what was changed since became %v: %v", s.in.RetryShare, d)
	}
	pin(t, l, noon, .5)
	order(t, l, noon, Order{Action: Freeze, Route: "r", For: 3 * time.Hour, By: "ann"})
	if l.Step(noon.Add(2 * time.Hour)); s.in.RetryShare != .5 {
		t.Error("it goes back while the route is frozen")
	}
	if l.Step(noon.Add(4 * time.Hour)); s.in.RetryShare != .4 {
		t.Error("it does not go back once the route is thawed")
	}
}

// A trial that is under way when a pin ends is of other parameters: it is over.
func TestPin_EndsTrial(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = func(*RouteEvidence) Proposal { return Proposal{Reason: "nothing"} }
	l := s.loop(Canary)
	l.Step(noon)
	pin(t, l, noon, .5)
	s.propose = towards(.9)
	now := noon.Add(50 * time.Minute)
	s.play(l, &now, time.Minute, 10, rand.New(rand.NewPCG(1, 1)), outcomes{})
	if s.canary == nil {
		t.Fatal("no trial")
	}
	now = noon.Add(time.Hour)
	d := l.Step(now)
	if s.canary != nil || s.in.RetryShare != .2 || len(d) != 2 || d[0].Verdict != RolledBack || d[1].Verdict != Applied {
		t.Errorf("canary %v, %v, %v", s.canary, s.in.RetryShare, d)
	}
	if l.Step(now.Add(10 * time.Second)); s.canary == nil || s.canary.RetryShare != .2 {
		t.Errorf("tried anew: %+v", s.canary)
	}
}
