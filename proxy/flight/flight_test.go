package flight

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type group = Group[string, string]

func newGroup(most, lag int) *group {
	return NewGroup[string, string](Options{Most: most, Lag: lag})
}

// lead begins a flight that nobody else leads.
func lead(t *testing.T, g *group, id ID, cut func()) *Flight[string, string] {
	t.Helper()
	f, r := g.Join(id, cut, 0)
	if r != nil {
		t.Fatal("there is a flight already")
	}
	return f
}

func follow(t *testing.T, g *group, id ID) *Reader[string, string] {
	t.Helper()
	_, r := g.Join(id, nil, 0)
	if r == nil {
		t.Fatal("nothing to follow")
	}
	return r
}

// all reads to the end.
func all(r *Reader[string, string], pause time.Duration) (got []byte, end string) {
	for {
		switch n := r.Next(); {
		case n.Bytes != nil:
			got = append(got, n.Bytes...)
			time.Sleep(pause)
		case n.End != nil:
			return got, *n.End
		case n.Behind:
			return got, "behind"
		default:
			<-n.Wait
		}
	}
}

// Whoever joins, early or late, quick or slow, reads the same bytes.
func TestFlight_AllReadTheSame(t *testing.T) {
	t.Parallel()
	g := newGroup(1<<20, 1<<20)
	f := lead(t, g, ID{}, nil)
	var want []byte
	var wg sync.WaitGroup
	draw := rand.New(rand.NewPCG(1, 2))
	type result struct {
		got []byte
		end string
	}
	results := make([]result, 40)
	for i := range results {
		for range 20 {
			piece := bytes.Repeat([]byte{byte(draw.Uint32())}, draw.IntN(900))
			f.Publish(piece)
			want = append(want, piece...)
		}
		r := follow(t, g, ID{})
		pause := time.Duration(i%3) * 10 * time.Microsecond
		wg.Go(func() {
			defer r.Leave()
			results[i].got, results[i].end = all(r, pause)
		})
	}
	f.End(false, new("well"))
	r := follow(t, g, ID{}) // it has ended, and is not yet kept
	got, end := all(r, 0)
	r.Leave()
	f.Land(0)
	wg.Wait()
	for i, r := range append(results, result{got, end}) {
		if !bytes.Equal(r.got, want) || r.end != "well" {
			t.Errorf("reader %d: %d bytes of %d, %s", i, len(r.got), len(want), r.end)
		}
	}
	if g.Len() != 0 || g.Followers() != 0 {
		t.Errorf("%d flights, %d followers", g.Len(), g.Followers())
	}
}

// What is too long can't be joined any more and is not kept; who follows already gets it all, unless it falls too far behind.
func TestFlight_Bounds(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	f := lead(t, g, ID{}, nil)
	quick, slow := follow(t, g, ID{}), follow(t, g, ID{})
	var got []byte
	for range 100 {
		f.Publish(make([]byte, 100))
		got = append(got, quick.Next().Bytes...)
	}
	if len(got) != 10_000 {
		t.Errorf("the quick one has %d bytes", len(got))
	}
	if n := slow.Next(); !n.Behind {
		t.Errorf("the slow one gets %+v", n)
	}
	if other, r := g.Join(ID{}, nil, 0); r != nil || other == f {
		t.Error("joined a flight of which the beginning is lost")
	} else {
		other.Land(0)
	}
	quick.Leave()
	slow.Leave()
	f.Publish(make([]byte, 100))
	if f.last != nil {
		t.Error("kept what nobody can read")
	}
	tail := f.Tail()
	f.Publish([]byte("end"))
	if n := tail.Next(); string(n.Bytes) != "end" {
		t.Errorf("the leader's own reader: %+v", n)
	}
}

// Who follows is told what holds the leader up, and is not woken by what they know already.
func TestFlight_Hold(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	f := lead(t, g, ID{}, nil)
	r := follow(t, g, ID{})
	check := func(by uint64, wakes bool) {
		t.Helper()
		_, before := r.HeadOrEnd()
		f.Hold(by)
		woken := false
		select {
		case <-before.Wait:
			woken = true
		default:
		}
		if _, now := r.HeadOrEnd(); woken != wakes || now.Held != by {
			t.Errorf("held by %d: woken %v, told %d", by, woken, now.Held)
		}
	}
	check(0, false)
	check(7, true)
	check(7, false)
	check(8, true)
	check(0, true)
	check(0, false)
	r.Leave()
	f.Land(0)
	var none *Flight[string, string]
	none.Hold(1)
}

// What was kept can be had for a moment longer; what was not, and what has failed, can't be joined.
func TestFlight_Linger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(1000, 5000)
		f := lead(t, g, ID{}, nil)
		f.End(false, new("well"))
		f.Land(time.Second)
		r := follow(t, g, ID{})
		if _, n := r.HeadOrEnd(); n.End == nil || *n.End != "well" {
			t.Errorf("%+v", n)
		}
		time.Sleep(2 * time.Second)
		lead(t, g, ID{}, nil).Land(0)
		if _, end := all(r, 0); end != "well" {
			t.Error("who follows is not told any more")
		}
		r.Leave()
		r.Leave()

		f = lead(t, g, ID{}, nil)
		r = follow(t, g, ID{})
		f.End(true, new("failed"))
		f.End(false, new("a second end"))
		lead(t, g, ID{}, nil).Land(0)
		if _, end := all(r, 0); end != "failed" {
			t.Error(end)
		}
		r.Leave()
		f.Land(0)
		if g.Len() != 0 || g.Followers() != 0 {
			t.Errorf("%d flights, %d followers", g.Len(), g.Followers())
		}
	})
}

// Where nobody wants the answer any more the flight is over at once, but who reads waits for the leader's own word: it may be the leader itself.
func TestFlight_AbandonedIsNotEnded(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	f := lead(t, g, ID{}, nil)
	f.Announce(new("head"))
	follow(t, g, ID{}).Leave()
	tail := f.Tail()
	if f.Abandon() {
		t.Error("goes on for nobody")
	}
	n := tail.Next()
	if n.Wait == nil {
		t.Fatalf("%+v", n)
	}
	f.End(true, new("cut"))
	<-n.Wait
	if n = tail.Next(); n.End == nil || *n.End != "cut" {
		t.Errorf("%+v", n)
	}
	f.Land(0)
}

// Those who followed a failure meet on the next flight, however late they come: it is not tried by each of them.
func TestFlight_Rejoin(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	f := lead(t, g, ID{}, nil)
	a, b, c := follow(t, g, ID{}), follow(t, g, ID{}), follow(t, g, ID{})
	f.End(true, new("failed"))
	next, r := g.Rejoin(f, nil, 1)
	if r != nil || next.Tries() != 1 {
		t.Fatal("the first does not lead")
	}
	a.Leave()
	same, r := g.Rejoin(f, nil, 1)
	if same != next || r == nil {
		t.Fatal("the second does not follow")
	}
	b.Leave()
	r.Leave()
	next.End(true, new("failed again"))
	next.Land(0)
	f.Land(0)
	same, r = g.Rejoin(f, nil, 1)
	if same != next || r == nil {
		t.Fatal("the third tries on its own")
	}
	if _, end := all(r, 0); end != "failed again" {
		t.Error(end)
	}
	c.Leave()
	r.Leave()
	if g.Len() != 0 || g.Followers() != 0 {
		t.Errorf("%d flights, %d followers", g.Len(), g.Followers())
	}
}

// The leader's client may leave: the work goes on for as long as anybody follows, and then is cut.
func TestFlight_Abandon(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	cut := 0
	f := lead(t, g, ID{}, func() { cut++ })
	if f.Abandon() {
		t.Error("goes on for nobody")
	}
	f.Land(0)
	f = lead(t, g, ID{}, func() { cut++ })
	a, b := follow(t, g, ID{}), follow(t, g, ID{})
	a.Leave()
	if !f.Abandon() || !f.Orphaned() || !f.Followed() {
		t.Error("does not go on for who follows")
	}
	c := follow(t, g, ID{})
	b.Leave()
	if cut != 0 {
		t.Error("cut while somebody follows")
	}
	c.Leave()
	if cut != 1 || g.Len() != 0 || f.Abandon() {
		t.Errorf("cut %d times, %d flights", cut, g.Len())
	}
	f.Publish([]byte("nobody reads this"))
	f.Announce(new("head"))
	tail := f.Tail()
	f.End(true, new("cut"))
	if n := tail.Next(); n.End == nil || *n.End != "cut" {
		t.Errorf("the leader itself is not told: %+v", n)
	}
	f.Land(0)

	f = lead(t, g, ID{}, func() { cut++ })
	if g.Lead(ID{}, nil) != nil || g.Lead(ID{Form: 1}, nil) == nil {
		t.Error("who leads")
	}
	a = follow(t, g, ID{})
	f.End(false, new("well"))
	if f.Abandon() {
		t.Error("goes on after its end")
	}
	a.Leave()
	f.Land(0)
	if cut != 1 {
		t.Errorf("cut %d times", cut)
	}
	var none *Flight[string, string]
	if none.Abandon() || none.Followed() || none.Orphaned() {
		t.Error("no flight")
	}
	none.Publish(nil)
	none.Land(0)
}
