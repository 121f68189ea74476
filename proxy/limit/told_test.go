package limit

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// What is spent is counted for as long as the rule is there, whoever is forgotten, whatever its numbers.
func TestSet_SpentNeverGoesBack(t *testing.T) {
	t.Parallel()
	r := Rule{Name: "m", Caller: Scope{Each: true}, Limits: []Limit{{Of: Spend, Per: Minute, Most: 1e12}, {Of: Spend, Per: Hour, Most: 1e12}}}
	w := newWorld(t, Options{}, r)
	for c := range ID(10) {
		w.Charge(w.now, &Request{Caller: c + 1}, Usage{Cost: 1e9})
	}
	w.now = w.now.Add(24 * time.Hour)
	w.Sweep(w.now)
	r.Limits[0].Most++
	w.rules(r)
	w.Charge(w.now, &Request{Caller: 1}, Usage{Cost: 7})
	if st := w.Stats()[0]; st.Spent != 10e9+7 || st.Entries != 1 {
		t.Errorf("%+v", st)
	}
}

// What is left is never more than the limit, and all of it where nothing is used.
func TestSet_LeftIsOfTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{},
		Rule{Name: "smooth", Limits: []Limit{{Of: Requests, Per: Minute, Most: 600, Smooth: time.Second}}},
		Rule{Name: "burst", Limits: []Limit{{Of: Requests, Per: Minute, Most: 600, Burst: 6000}}},
		Rule{Name: "few", Limits: []Limit{{Of: Requests, Per: Minute, Most: 600, Burst: 30}}},
		Rule{Name: "none", Limits: []Limit{{Of: Requests, Per: Minute, Smooth: time.Second}}},
	)
	check := func(want ...[2]int64) {
		t.Helper()
		for i, st := range w.Standings(nil, w.now, &Request{}) {
			if st.Left != want[i][0] || st.Holds != want[i][1] {
				t.Errorf("%s: %d of %d left, want %v", st.Rule, st.Left, st.Holds, want[i])
			}
		}
	}
	check([2]int64{11, 11}, [2]int64{600, 600}, [2]int64{30, 30}, [2]int64{0, 0})
	w.rules(
		Rule{Name: "smooth", Limits: []Limit{{Of: Requests, Per: Minute, Most: 600, Smooth: time.Second}}},
		Rule{Name: "burst", Limits: []Limit{{Of: Requests, Per: Minute, Most: 600, Burst: 6000}}},
	)
	for left := int64(11); left > 0; left-- { // as many as it says come through, and no more
		check([2]int64{left, 11}, [2]int64{600, 600})
		w.admit(Request{})
	}
	check([2]int64{0, 11}, [2]int64{600, 600})
	if r := w.refuse(Request{}, "smooth", Requests, 100*time.Millisecond); r.Left != 0 {
		t.Errorf("refused with %d left", r.Left)
	}
	if all := w.Look(w.now, "burst", 10); len(all) != 1 || all[0].share() != 1 {
		t.Errorf("%+v", all)
	}
}

// How long slots last is known from the first that ended; before that they last as long as the oldest has.
func TestSet_SlotsAreGuessedEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Rule{Name: "slots", Limits: []Limit{{Of: Concurrent, Most: 2}}})
	lease := w.admit(Request{})
	w.now = w.now.Add(10 * time.Second)
	w.admit(Request{})
	w.now = w.now.Add(10 * time.Second)
	if r := w.refuse(Request{}, "slots", Concurrent, 10*time.Second); !r.Guess {
		t.Error("a guess is told as if it were known")
	}
	w.Settle(w.now, lease, Usage{})
	lease = w.admit(Request{})
	w.refuse(Request{}, "slots", Concurrent, 10*time.Second)
	w.Cancel(w.now.Add(time.Millisecond), lease) // what was not sent says nothing
	w.admit(Request{})
	w.refuse(Request{}, "slots", Concurrent, 10*time.Second)
}

// Balances come in one order, and nobody who looks for an entry waits for them.
func TestSet_BalancesInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Rule{Name: "b", Caller: Scope{Each: true}, Limits: []Limit{{Of: Spend, Per: Hour, Most: 1e9, Rolling: true}, {Of: Spend, Per: Day, Most: 1e9}}},
		Rule{Name: "a", Limits: []Limit{{Of: Spend, Per: Month, Most: 1e9}}})
	for range 3 {
		for c := ID(40); c > 0; c-- {
			w.Charge(w.now, &Request{Caller: c}, Usage{Cost: 1})
		}
		w.now = w.now.Add(2 * time.Minute)
	}
	all := w.Balances(nil, w.now)
	if len(all) != 1+40*4 || all[0].Rule != "a" || !slices.IsSortedFunc(all[1:], func(a, b Balance) int { return int(a.Caller) - int(b.Caller) }) || !slices.Equal(all, w.Balances(nil, w.now)) {
		t.Errorf("%d: %+v", len(all), all)
	}
	if h := all[1:4]; !h[0].Begin.Before(h[1].Begin) || !h[1].Begin.Before(h[2].Begin) {
		t.Errorf("%+v", h)
	}
	r := w.plan.Load().rules[0]
	e := r.table.find(w.at(w.now), key{caller: 1}, r, 100)
	e.mu.Lock()
	done := make(chan struct{})
	go func() { w.Balances(nil, w.now); close(done) }()
	for e.pins.Load() < 2 {
		time.Sleep(time.Microsecond)
	}
	for c := ID(2); c < 200; c++ {
		r.table.find(w.at(w.now), key{caller: c}, r, 1000).unpin()
	}
	e.mu.Unlock()
	<-done
}

// A rule under the name of another one begins anew.
func TestSet_RestoresItsOwnOnly(t *testing.T) {
	t.Parallel()
	day := []Limit{{Of: Spend, Per: Day, Most: 100}}
	w := newWorld(t, Options{}, Rule{Name: "limit-1", Caller: Scope{Only: 7}, Limits: day})
	w.Charge(w.now, &Request{Caller: 7}, Usage{Cost: 100})
	saved := w.Balances(nil, w.now)
	other := newWorld(t, Options{}, Rule{Name: "limit-1", Caller: Scope{Only: 8}, Limits: day}, Rule{Name: "limit-2", Caller: Scope{Only: 7}, Limits: day})
	if n := other.Restore(w.now, saved); n != 0 {
		t.Errorf("%d restored", n)
	}
	other.admit(Request{Caller: 8, Cost: 50})
	same := newWorld(t, Options{}, Rule{Name: "limit-1", Caller: Scope{Only: 7}, Limits: day})
	if n := same.Restore(w.now, saved); n != 1 {
		t.Errorf("%d restored", n)
	}
	same.refuse(Request{Caller: 7, Cost: 50}, "limit-1", Spend, 12*time.Hour)
}

// A refusal that a limit of tokens explains, which is kept to, slows no requests down that there are tokens for.
func TestPacer_TokensExplain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000_000, 0)
	p := NewPacer(now)
	left := int64(100_000)
	headers := func() *Headers {
		h := &Headers{}
		h.Add([]byte("x-ratelimit-limit-tokens"), []byte("100000"), now)
		h.Add([]byte("x-ratelimit-remaining-tokens"), fmt.Append(nil, left), now)
		h.Add([]byte("x-ratelimit-reset-tokens"), []byte("60s"), now)
		return h
	}
	for range 10 {
		s, _ := p.Take(now, Need{Input: 100}, 1)
		left -= 100
		now = now.Add(10 * time.Millisecond)
		p.Answered(now, s, Through, headers(), 0, 0)
	}
	var sent []Sent
	for range 6 {
		s, _ := p.Take(now, Need{Input: 100}, 1)
		sent = append(sent, s)
	}
	left = 0 // others have used it up
	for _, s := range sent {
		now = now.Add(10 * time.Millisecond)
		p.Answered(now, s, Limited, headers(), 0, 0)
	}
	if s := p.State(now); s.Rate != 0 || !s.Follows {
		t.Errorf("%+v", s)
	}
	s, wait := p.Take(now, Need{Input: 100}, 1)
	if wait == 0 || s.Lacks() != Tokens {
		t.Errorf("lacks %v for %v", s.Lacks(), wait)
	}
}

// Who asks when a limit is whole again that is used up, and is told of too late to follow what is left, is told that.
func TestLane_Closed(t *testing.T) {
	t.Parallel()
	l := lane{stale: true, told: int64(time.Second), view: view{limit: 100, reset: int64(5 * time.Second)}}
	at := int64(4500 * time.Millisecond)
	if l.close(at) || !l.close(at) {
		t.Error("the first is news, the second is not")
	}
	if wait, again := l.wait(at, 0, 1, 1), l.empty(at, 0, 1); wait != 500*time.Millisecond || again != wait || l.rate(at, 0, 1) != 0 {
		t.Errorf("waits %v, is to come again after %v, at %v", wait, again, l.rate(at, 0, 1))
	}
	if at += int64(time.Second); l.empty(at, 0, 1) != 0 || l.rate(at, 0, 1) == 0 {
		t.Error("not open again")
	}
}
