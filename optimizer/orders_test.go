package optimizer

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func order(t *testing.T, l *Loop, now time.Time, o Order) Decision {
	t.Helper()
	o.By = "ann"
	d, err := l.Order(now, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOrder_Freeze(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Auto)
	order(t, l, noon, Order{Action: Freeze, For: time.Hour, Why: "a launch"})
	d := l.Step(noon)
	if s.published > 0 || len(d) != 1 || d[0].Why != "frozen by ann: a launch" {
		t.Errorf("%v", d)
	}
	if l.Step(noon.Add(time.Hour)); s.published == 0 {
		t.Error("it does not end")
	}
	published := s.published
	order(t, l, noon.Add(time.Hour), Order{Action: Freeze, Route: "r"})
	if l.Step(noon.Add(time.Hour + 30*time.Second)); s.published != published {
		t.Error("what is under way goes on")
	}
	order(t, l, noon.Add(time.Hour), Order{Action: Thaw, Route: "r"})
	if l.Step(noon.Add(time.Hour + time.Minute)); s.published == published {
		t.Error("it does not go on")
	}
}

func TestOrder_Recommendations(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Recommend)
	d := l.Step(noon)
	if len(d) != 1 || d[0].Verdict != Recommended || d[0].ID == "" {
		t.Fatalf("%v", d)
	}
	if again := l.Step(noon.Add(10 * time.Second)); len(again) != 0 {
		t.Errorf("told again: %v", again)
	}
	order(t, l, noon, Order{Action: Reject, Decision: d[0].ID, For: time.Hour, Why: "no"})
	if d = l.Step(noon.Add(20 * time.Second)); len(d) != 1 || d[0].Verdict != Refused || !strings.Contains(d[0].Why, "rejected") {
		t.Errorf("%v", d)
	}
	if d = l.Step(noon.Add(2 * time.Hour)); len(d) != 1 || d[0].Verdict != Recommended {
		t.Fatalf("%v", d)
	}
	id, now := d[0].ID, noon.Add(2*time.Hour)
	order(t, l, now, Order{Action: Approve, Decision: id})
	for range 30 {
		now = now.Add(10 * time.Second)
		l.Step(now)
	}
	if w := s.weight("a"); w < 1.79 {
		t.Errorf("a has %v", w)
	}
	undone := order(t, l, now, Order{Action: Undo, Decision: id, Why: "dear"})
	if s.weight("a") != 1 || s.holdback != 0 || !strings.Contains(undone.String(), "undid "+id) {
		t.Errorf("a has %v, hold-back %v: %s", s.weight("a"), s.holdback, undone.String())
	}
	if d = l.Step(now.Add(10 * time.Minute)); len(d) != 1 || d[0].Verdict != Refused || !strings.Contains(d[0].Why, "undone") {
		t.Errorf("%v", d)
	}
}

func TestOrder_EndsTrial(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Canary)
	d := l.Step(noon)
	if s.canary == nil {
		t.Fatalf("%v", d)
	}
	order(t, l, noon, Order{Action: Undo, Decision: d[0].ID})
	if s.canary != nil || len(l.Trials()) != 0 {
		t.Error("the trial goes on")
	}
	if d = l.Step(noon.Add(10 * time.Minute)); s.canary != nil {
		t.Errorf("tried again: %v", d)
	}
}

func TestOrder_Pins(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Auto)
	order(t, l, noon, Order{Action: Pin, Route: "r", Parameter: "weights/a/light", Value: .25})
	if s.weight("a") != .25 {
		t.Errorf("a has %v", s.weight("a"))
	}
	now := noon
	for range 30 {
		now = now.Add(10 * time.Second)
		l.Step(now)
	}
	if s.weight("a") != .25 || s.in.Targets["a"].Weights[1] < 1.7 {
		t.Errorf("a has %v", s.in.Targets["a"])
	}
	order(t, l, now, Order{Action: Unpin, Route: "r", Parameter: "weights/a/light"})
	for range 200 {
		now = now.Add(10 * time.Second)
		l.Step(now)
	}
	if s.weight("a") < 1.7 {
		t.Errorf("unpinned, a has %v", s.weight("a"))
	}
	order(t, l, now, Order{Action: Reset, Route: "r"})
	if s.weight("a") != 1 || s.in.Targets["a"].Weights[1] != 1 {
		t.Errorf("reset, a has %v", s.in.Targets["a"])
	}
}

func TestOrder_Modes(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Observe)
	order(t, l, noon, Order{Action: SetMode, Tuner: "stand", Mode: Auto})
	l.Step(noon)
	order(t, l, noon, Order{Action: SetMode, Tuner: "stand", Mode: Observe})
	order(t, l, noon, Order{Action: SetMode, Tuner: "stand", Route: "r", Mode: Recommend})
	if m := l.Modes("r")["stand"]; s.published == 0 || m != Recommend || l.Modes("other")["stand"] != Observe {
		t.Errorf("mode %v, published %d times", m, s.published)
	}
	l.Step(noon.Add(25 * time.Hour))
	if m := l.Modes("r")["stand"]; m != Observe {
		t.Errorf("a day later: %v", m)
	}
}

func TestOrder_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Auto)
	l.Step(noon)
	for want, o := range map[string]Order{
		`action "dance"`:                  {Action: "dance"},
		`there is no route "x"`:           {Action: Freeze, Route: "x"},
		`no route "y"`:                    {Action: Pin, Route: "y"},
		`no parameter "speed"; there are`: {Action: Pin, Route: "r", Parameter: "speed"},
		"-1: want a number":               {Action: Pin, Route: "r", Parameter: "retry_share", Value: -1},
		`no tuner "x"; there are stand`:   {Action: SetMode, Tuner: "x"},
		`decision "d99" that could be`:    {Action: Approve, Decision: "d99"},
		"undone: it is not in force":      {Action: Undo, Decision: "d98"},
		"is not frozen":                   {Action: Thaw},
		"is not pinned":                   {Action: Unpin, Route: "r", Parameter: "retry_share"},
		"rejected: it is neither":         {Action: Reject, Decision: "d97"},
	} {
		if _, err := l.Order(noon, o); !errors.Is(err, ErrOrder) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, name := range []string{"a", "b"} {
		_, err := l.Order(noon, Order{Action: Pin, Route: "r", Parameter: "weights/" + name + "/light"})
		if name == "b" && (err == nil || !strings.Contains(err.Error(), "no target would have a weight")) {
			t.Errorf("all weights 0: %v", err)
		}
	}
}

// An operator wins over whoever else publishes.
func TestOrder_WinsRaces(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.propose = towards(.9)
	l := s.loop(Observe)
	l.Step(noon)
	s.stale = errors.New("stale")
	if _, err := l.Order(noon, Order{Action: Pin, Route: "r", Parameter: "retry_share", Value: .5}); err == nil {
		t.Error("published though it can't be")
	}
	s.stale = nil
	order(t, l, noon, Order{Action: Pin, Route: "r", Parameter: "retry_share", Value: .5})
	if s.in.RetryShare != .5 {
		t.Errorf("retry share %v", s.in.RetryShare)
	}
}
