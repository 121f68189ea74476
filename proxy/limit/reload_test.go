package limit

import (
	"sync"
	"testing"
	"time"
)

// A request that has found its limits by the rules before a reload, and gets to them after it, reserves by the new ones: nothing is left over when it ends.
func TestSet_ReloadWhileReserving(t *testing.T) {
	t.Parallel()
	each := func(l ...Limit) Rule {
		return Rule{Name: "r", Caller: Scope{Each: true}, Limits: append([]Limit{perMinute(Requests, 10)}, l...)}
	}
	w := newWorld(t, Options{}, each())
	q := Request{Caller: 7, Cost: 5}
	w.Cancel(w.now, w.admit(q))
	at := w.at(w.now)
	e := w.plan.Load().rules[0].table.find(at, key{caller: 7}, w.plan.Load().rules[0], 100)
	e.mu.Lock()
	var lease Lease
	var wg sync.WaitGroup
	wg.Go(func() { lease, _ = w.Reserve(w.now, &q) })
	for e.pins.Load() < 2 {
		time.Sleep(time.Microsecond)
	}
	w.rules(each(Limit{Of: Concurrent, Most: 3}, Limit{Of: Spend, Per: Day, Most: 100}))
	e.adapt(at, w.plan.Load().rules[0]) // as another request has done
	e.mu.Unlock()
	wg.Wait()
	check := func(want ...int64) {
		t.Helper()
		for i, st := range w.Standings(nil, w.now, &q) {
			if st.Left != want[i] {
				t.Errorf("%s: %d left, want %d", st.Limit.Of, st.Left, want[i])
			}
		}
	}
	check(9, 2, 95)
	w.Cancel(w.now, lease)
	check(10, 3, 100)
}

// Rules of which one is wrong change nothing, though others of them are right.
func TestSet_ConfigureChecksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Rule{Name: "r", Limits: []Limit{perMinute(Requests, 10)}})
	lease := w.admit(Request{})
	if err := w.Configure(w.now, []Rule{{Name: "r", Limits: []Limit{{Of: Concurrent, Most: 1}}}, {Name: "wrong", Limits: []Limit{{Of: 99}}}}); err == nil {
		t.Fatal("accepted")
	}
	if st := w.Standings(nil, w.now, &Request{}); len(st) != 1 || st[0].Limit.Of != Requests || st[0].Left != 9 {
		t.Errorf("%+v", st)
	}
	w.rules(Rule{Name: "r", Limits: []Limit{perMinute(Requests, 10), {Of: Concurrent, Most: 1}}})
	w.Cancel(w.now, lease)
	if st := w.Standings(nil, w.now, &Request{}); len(st) != 2 || st[0].Left != 10 || st[1].Left != 1 {
		t.Errorf("%+v", st)
	}
}

// A limit that only counts owes nothing for what it would have refused: neither while it is watched nor when it is put in force.
func TestSet_ObservedOwesNothing(t *testing.T) {
	t.Parallel()
	r := Rule{Name: "o", Observe: true, Limits: []Limit{{Of: Requests, Per: Second, Most: 10}, perMinute(Tokens, 1<<40)}}
	w := newWorld(t, Options{}, r)
	send := func(n int, every time.Duration) (met uint64) {
		before := w.Stats()[0].Met
		for range n {
			w.now = w.now.Add(every)
			w.Settle(w.now, w.admit(Request{Input: 10}), Usage{Input: 10})
		}
		return w.Stats()[0].Met - before
	}
	if met := send(100*600, 10*time.Millisecond); met != 100*600-6000-9 {
		t.Errorf("met at ten times the limit: %d of 60000", met)
	}
	if met := send(3600, time.Second); met != 0 {
		t.Errorf("met at a tenth of the limit: %d of 3600", met)
	}
	w.Charge(w.now, &Request{}, Usage{Input: 1 << 41})
	r.Observe = false
	w.rules(r)
	for _, st := range w.Standings(nil, w.now, &Request{}) {
		if st.Limit.Of == Tokens && st.Reset > time.Minute {
			t.Errorf("put in force, it owes: whole in %v", st.Reset)
		}
	}
	w.admit(Request{})
}
