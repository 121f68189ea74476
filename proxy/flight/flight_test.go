package flight

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

type group = Group[string, string]

func newGroup(most, lag int) *group { return NewGroup[string, string](Options{Most: most, Lag: lag}) }

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

func ended(what string) func(bool) *string { return func(bool) *string { return &what } }

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
		case n.Landed:
			return got, "landed"
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
	f.End(false, ended("well"))
	r := follow(t, g, ID{}) // it has ended, and is not yet kept
	got, end := all(r, 0)
	r.Leave()
	f.Land()
	wg.Wait()
	for i, r := range append(results, result{got, end}) {
		if !bytes.Equal(r.got, want) || r.end != "well" {
			t.Errorf("reader %d: %d bytes of %d, %s", i, len(r.got), len(want), r.end)
		}
	}
	if g.Len() != 0 || g.Followers() != 0 || g.Landed() != 1 {
		t.Errorf("%d flights, %d followers, %d landed", g.Len(), g.Followers(), g.Landed())
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
		other.Land()
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

// What ends while nobody follows, and was not published, is told to nobody: who comes between that and its landing waits for it to be kept.
func TestFlight_EndsUnseen(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	f := lead(t, g, ID{}, nil)
	f.End(false, func(followed bool) *string {
		if followed {
			t.Error("followed by nobody")
		}
		return new(string)
	})
	r := follow(t, g, ID{})
	_, n := r.HeadOrEnd()
	if n.Wait == nil {
		t.Fatalf("%+v", n)
	}
	f.Land()
	<-n.Wait
	if _, n = r.HeadOrEnd(); !n.Landed {
		t.Errorf("%+v", n)
	}
	r.Leave()
	lead(t, g, ID{}, nil).Land()
	if f = lead(t, g, ID{}, nil); f == nil {
		t.Fatal("no flight")
	}
	r = follow(t, g, ID{})
	f.End(true, func(followed bool) *string { return new(fmt.Sprint(followed)) })
	if _, n = r.HeadOrEnd(); n.End == nil || *n.End != "true" {
		t.Errorf("%+v", n)
	}
	if g.Len() != 0 {
		t.Error("a failure can be joined")
	}
	if _, n := all(r, 0); n != "true" {
		t.Error(n)
	}
	r.Leave()
	r.Leave()
	f.Land()
	if g.Followers() != 0 {
		t.Errorf("%d followers", g.Followers())
	}
}

// Those who followed a failure meet on the next flight, however late they come: it is not tried by each of them.
func TestFlight_Rejoin(t *testing.T) {
	t.Parallel()
	g := newGroup(1000, 5000)
	f := lead(t, g, ID{}, nil)
	a, b, c := follow(t, g, ID{}), follow(t, g, ID{}), follow(t, g, ID{})
	f.End(true, ended("failed"))
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
	next.End(true, func(followed bool) *string { return new(fmt.Sprint(followed)) })
	next.Land()
	f.Land()
	same, r = g.Rejoin(f, nil, 1)
	if same != next || r == nil {
		t.Fatal("the third tries on its own")
	}
	if _, end := all(r, 0); end != "true" {
		t.Errorf("told %s: the leader of the second could not know of the third", end)
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
	f.Land()
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
	f.End(true, ended("cut"))
	if n := tail.Next(); n.End == nil || *n.End != "cut" {
		t.Errorf("the leader itself is not told: %+v", n)
	}
	f.Land()

	f = lead(t, g, ID{}, func() { cut++ })
	if g.Lead(ID{}, nil) != nil || g.Lead(ID{Form: 1}, nil) == nil {
		t.Error("who leads")
	}
	a = follow(t, g, ID{})
	f.End(false, ended("well"))
	if f.Abandon() {
		t.Error("goes on after its end")
	}
	a.Leave()
	f.Land()
	if cut != 1 {
		t.Errorf("cut %d times", cut)
	}
	var none *Flight[string, string]
	if none.Abandon() || none.Followed() || none.Orphaned() {
		t.Error("no flight")
	}
	none.Publish(nil)
	none.Land()
}
