package limit

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// oddly sends 100 requests a second for some minutes to a provider with a hidden limit, of which a share is of some callers, whose requests are refused for a reason of their own. It
// tells how many of the others' were let through, of those that the limit allows.
func oddly(limit float64, share float64, callers int, alone bool, after time.Duration) (used float64) {
	now, draw := time.Unix(1_000_000_000, 0), rand.New(rand.NewPCG(3, 4))
	p, h := NewPacer(now), hidden{limit: limit, period: time.Second, last: now}
	h.level = h.holds()
	const lasts = 4 * time.Minute
	through := 0
	var pending answers
	for end := now.Add(lasts); now.Before(end); now = now.Add(10 * time.Millisecond) {
		for len(pending) > 0 && !pending[0].at.After(now) {
			a := heap.Pop(&pending).(answer)
			if v := Through; a.through {
				p.Answered(a.at, a.sent, v, nil, 0, 0)
			} else {
				p.Answered(a.at, a.sent, Limited, nil, after, 0)
			}
		}
		own := draw.Float64() < share
		n := Need{Caller: ID(2 + draw.IntN(5))}
		if own {
			n.Caller = ID(8 + draw.IntN(callers))
		}
		s, wait := p.Take(now, n, DefaultShare)
		if wait > 0 {
			continue
		}
		a := answer{sent: s, through: h.ask(now) && (!own || !alone), at: now.Add(300 * time.Millisecond)}
		if !a.through {
			a.at = now.Add(30 * time.Millisecond)
		}
		if heap.Push(&pending, a); a.through {
			through++
		}
	}
	return float64(through) / lasts.Seconds() / min(limit, 100)
}

// One caller whose requests are refused for what they ask for slows nobody else down, whether or not the provider says when to come again. Where all share a limit that is too low
// for them it is found as ever, and also where the same is true for the caller besides.
func TestPacer_RefusedAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what         string
		limit, share float64
		callers      int
		alone        bool
		after        time.Duration
		least, most  float64
	}{
		{"no limit, nobody refused", 1e6, .02, 1, false, 0, .99, 1},
		{"no limit, one refused", 1e6, .02, 1, true, 0, .95, 1},
		{"no limit, one refused often", 1e6, .15, 1, true, 0, .77, .86},
		{"no limit, five refused", 1e6, .05, 5, true, 0, .85, 1},
		{"no limit, one told to wait a second", 1e6, .02, 1, true, time.Second, .92, 1},
		{"a limit, nobody refused alone", 60, .02, 1, false, 0, .95, 1.01},
		{"a limit, one refused besides", 60, .02, 1, true, 0, .8, 1.01},
	} {
		if got := oddly(c.limit, c.share, c.callers, c.alone, c.after); got < c.least || got > c.most {
			t.Errorf("%s: others have %.3f of it, want %v to %v", c.what, got, c.least, c.most)
		} else {
			t.Logf("%s: others have %.3f of it", c.what, got)
		}
	}
}

// Whose requests are most of all is not taken for one that is refused alone.
func TestOdd(t *testing.T) {
	t.Parallel()
	var o odd
	refused := func(who ID, others int) (alone bool) {
		alone = o.alone(who)
		for range others {
			o.took(9)
		}
		o.took(who)
		return alone
	}
	for range 4 {
		if refused(1, 2) {
			t.Error("a third of all, and few")
		}
	}
	for range 100 {
		if refused(1, 2) {
			t.Error("a third of all")
		}
	}
	o = odd{}
	for i := range 8 {
		if got := refused(1, 19); got != (i >= 3) {
			t.Errorf("the %d. of one in twenty: %v", i+1, got)
		}
	}
	for i := range 8 {
		if got := refused(2, 19); got != (i >= 3) {
			t.Errorf("the %d. of another beside: %v", i+1, got)
		}
	}
	for range 300 {
		o.took(ID(10))
	}
	if !refused(1, 9) {
		t.Error("not any more")
	}
	for i := range 300 {
		refused(ID(20+i), 0) // everybody is
	}
	if refused(1, 0) {
		t.Error("all are refused, and it alone is told apart")
	}
}

// After a long quiet time, in which one was refused once, nobody is taken for refused alone when the provider refuses all: not who is the only one, nor one of a few.
func TestOdd_Outage(t *testing.T) {
	t.Parallel()
	for _, callers := range []int{1, 2, 5} {
		a := newAsker(t)
		n := 0
		ask := func(v Verdict) (ignored int) {
			n++
			s, wait := a.Take(a.now, Need{Caller: ID(1 + n%callers)}, DefaultShare)
			if a.now = a.now.Add(10 * time.Millisecond); wait > 0 {
				return 0
			}
			if m := a.Answered(a.now, s, v, nil, 0, 0); v == Limited && m == Nothing {
				return 1
			}
			return 0
		}
		ask(Limited)
		for range 9000 {
			ask(Through)
		}
		ignored := 0
		for range 3000 {
			ignored += ask(Limited)
		}
		if ignored > 0 {
			t.Errorf("%d callers: %d refusals mean nothing", callers, ignored)
		}
	}
}
