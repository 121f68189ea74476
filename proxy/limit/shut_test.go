package limit

import (
	"testing"
	"time"
)

// asker sends at a rate to a provider that is as the test says.
type asker struct {
	*Pacer
	t     *testing.T
	now   time.Time
	queue []answer // by when they come
}

func newAsker(t *testing.T) *asker {
	now := time.Unix(1_000_000_000, 0)
	return &asker{Pacer: NewPacer(now), t: t, now: now}
}

// send sends so many a second, as far as the pacer lets them, for a while. serve tells what happens to each, and after how long. It returns how many were let through by both.
func (a *asker) send(rate float64, lasts time.Duration, serve func() (Verdict, time.Duration)) (through int) {
	a.t.Helper()
	for end := a.now.Add(lasts); a.now.Before(end); a.now = a.now.Add(time.Duration(float64(time.Second) / rate)) {
		a.hear()
		s, wait := a.Take(a.now, Need{}, DefaultShare)
		if wait > 0 {
			continue
		}
		v, took := serve()
		if v == Through {
			through++
		}
		late := answer{at: a.now.Add(took), sent: s, through: v == Through}
		if v == Other {
			a.Answered(a.now, s, v, nil, 0, 0)
			continue
		}
		i := len(a.queue)
		for i > 0 && a.queue[i-1].at.After(late.at) {
			i--
		}
		a.queue = append(a.queue[:i], append([]answer{late}, a.queue[i:]...)...)
	}
	return through
}

// hear takes in what has come.
func (a *asker) hear() {
	for len(a.queue) > 0 && !a.queue[0].at.After(a.now) {
		v := Limited
		if a.queue[0].through {
			v = Through
		}
		a.Answered(a.queue[0].at, a.queue[0].sent, v, nil, 0, 0)
		a.queue = a.queue[1:]
	}
}

func always(v Verdict, took time.Duration) func() (Verdict, time.Duration) {
	return func() (Verdict, time.Duration) { return v, took }
}

// While a provider refuses everything it is hardly asked, and afterwards all is soon as before, however long that was, and whatever else became of those who found out.
func TestTrial_Outage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		lasts time.Duration
		other int // one in so many fails otherwise
		late  int // one in so many is refused late
	}{{"a minute", time.Minute, 0, 0}, {"an hour", time.Hour, 0, 0}, {"other failures", 10 * time.Minute, 3, 0}, {"late refusals", 10 * time.Minute, 0, 3}} {
		a := newAsker(t)
		a.send(100, 30*time.Second, always(Through, 300*time.Millisecond))
		asked := 0
		a.send(100, c.lasts, func() (Verdict, time.Duration) {
			switch asked++; {
			case c.other > 0 && asked%c.other == 0:
				return Other, 0
			case c.late > 0 && asked%c.late == 0:
				return Limited, 400 * time.Millisecond
			}
			return Limited, 30 * time.Millisecond
		})
		if most := 60 + int(c.lasts/(2*time.Second)); asked > most {
			t.Errorf("%s: asked %d times, want %d at most", c.what, asked, most)
		}
		a.send(100, 25*time.Second, always(Through, 300*time.Millisecond)) // up to ten seconds until the next finds out
		if got := a.send(100, 20*time.Second, always(Through, 300*time.Millisecond)); got < 1700 {
			t.Errorf("%s: half a minute later %d of 2000 were sent, at %.1f a second", c.what, got, a.State(a.now).Rate)
		}
	}
}

// Whoever finds out that it is over need not be waited for until the provider would have refused: it says so.
func TestTrial_AnswerOpens(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.send(60, 10*time.Second, always(Through, 300*time.Millisecond))
	a.send(60, 20*time.Second, always(Limited, 5*time.Second))
	before := a.now
	for a.send(60, 100*time.Millisecond, always(Through, 200*time.Millisecond)) < 2 {
		if a.now.Sub(before) > 21*time.Second { // two times ten seconds until the next may go
			t.Fatalf("shut for %v after it was over", a.now.Sub(before))
		}
	}
}

// Refusals that come late are of what was sent before the rate was cut: they do not cut it again and again.
func TestTrial_LateRefusals(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{50 * time.Millisecond, time.Second, 3 * time.Second, 8 * time.Second} {
		a := newAsker(t)
		h := hidden{limit: 100, period: time.Second, last: a.now}
		h.level = h.holds()
		ask := func() (Verdict, time.Duration) {
			if h.ask(a.now) {
				return Through, 300 * time.Millisecond
			}
			return Limited, late
		}
		a.send(150, time.Minute, ask)
		if got := a.send(150, 2*time.Minute, ask); got < 80*120 {
			t.Errorf("refusals after %v: %.0f %% of the limit used", late, float64(got)/120)
		}
	}
}

// Where little is sent a refusal now and then says nothing of how fast it may be: a later rush goes through.
func TestTrial_LoneRefusals(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	n := 0
	a.send(.05, 12*time.Hour, func() (Verdict, time.Duration) {
		if n++; n%50 == 0 {
			return Limited, 30 * time.Millisecond
		}
		return Through, 300 * time.Millisecond
	})
	a.send(100, 2*time.Minute, always(Through, 300*time.Millisecond))
	if got := a.send(100, 10*time.Second, always(Through, 300*time.Millisecond)); got < 500 {
		t.Errorf("two minutes into a rush %d of 1000 were sent, at %.1f a second", got, a.State(a.now).Rate)
	}
}

// What is known is forgotten where nobody was sent by it for long.
func TestTrial_Forgets(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.send(100, 2*time.Second, always(Through, 0))
	a.send(100, time.Second, always(Limited, 0))
	if a.State(a.now).Rate == 0 {
		t.Fatal("nothing is known")
	}
	a.now = a.now.Add(trialForget + time.Minute)
	if _, wait := a.Take(a.now, Need{}, DefaultShare); wait > 0 || a.State(a.now).Rate != 0 {
		t.Errorf("waits %v at %.1f a second", wait, a.State(a.now).Rate)
	}
}

// A limit that falls far by windows is found at once and used: that a window is used up soon after the last is no sign that the last was not over.
func TestTrial_LimitFallsFar(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{time.Second, 10 * time.Second} {
		a := newAsker(t)
		h := hidden{limit: 100 * window.Seconds(), period: window, fixed: true, last: a.now}
		h.level = h.holds()
		ask := func() (Verdict, time.Duration) {
			if h.ask(a.now) {
				return Through, 100 * time.Millisecond
			}
			return Limited, 30 * time.Millisecond
		}
		a.send(150, 30*time.Second, ask)
		h.limit = 20 * window.Seconds()
		a.send(150, 30*time.Second, ask)
		if got := a.send(150, time.Minute, ask); got < 1000 || got > 1250 {
			t.Errorf("windows of %v: %.0f %% of the limit used", window, float64(got)/12)
		}
	}
}

// A limit that falls while little of it is used is found as well where refusals come late.
func TestTrial_LimitFallsUnused(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{30 * time.Millisecond, 300 * time.Millisecond} {
		a := newAsker(t)
		a.send(1000, 5*time.Second, always(Through, 100*time.Millisecond))
		a.send(1000, 50*time.Millisecond, always(Limited, 0))
		a.send(1200, time.Minute, always(Through, 100*time.Millisecond))
		a.send(350, 5*time.Second, always(Through, 100*time.Millisecond))
		h := hidden{limit: 100, period: time.Second, last: a.now}
		refused := 0
		a.send(350, time.Minute, func() (Verdict, time.Duration) {
			if h.ask(a.now) {
				return Through, 100 * time.Millisecond
			}
			refused++
			return Limited, late
		})
		if refused > 1000 {
			t.Errorf("refusals after %v: %d of 21000 refused, at %.0f a second", late, refused, a.State(a.now).Rate)
		}
	}
}

// An operator who has it go on does so with what was known.
func TestTrial_Resume(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.send(100, 5*time.Second, always(Through, 100*time.Millisecond))
	a.send(100, 900*time.Millisecond, always(Limited, 30*time.Millisecond))
	before := a.State(a.now).Rate
	s, wait := a.Take(a.now, Need{}, DefaultShare)
	for ; wait > 0; s, wait = a.Take(a.now, Need{}, DefaultShare) {
		a.now = a.now.Add(wait)
	}
	a.Resume()
	a.Answered(a.now.Add(30*time.Millisecond), s, Limited, nil, 0, 0)
	if got := a.State(a.now).Rate; got < before/2 {
		t.Errorf("from %.1f a second to %.1f", before, got)
	}
}
