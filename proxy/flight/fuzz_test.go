package flight

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// flightModel is what a flight ought to be.
type flightModel struct {
	f         *Flight[string, string]
	id        ID
	next      *flightModel // that those meet on who have followed it in vain
	published []byte
	end       *string
	head      *string
	landed    bool
	failed    bool
	orphan    bool
	followers int
	cuts      int
	unwanted  bool // nobody was left who wants the answer
}

// open tells whether somebody can follow it; ended: who only wants to know how it has ended.
func (m *flightModel) open(ended bool) bool {
	return m != nil && len(m.published) <= fuzzMost && (!m.landed && !m.failed && !m.unwanted || ended && m.end != nil)
}

// readerModel is what somebody who follows has read.
type readerModel struct {
	r      *Reader[string, string]
	of     *flightModel
	got    []byte
	from   int // of the bytes; the leader's own reader begins late
	own    bool
	behind bool
	done   bool
}

const (
	fuzzMost, fuzzLag = 6000, 9000
	fuzzPeople        = 24
)

// flightPlay plays operations on a group and its model.
type flightPlay struct {
	t       *testing.T
	g       *group
	flights []*flightModel // all there have been
	current map[ID]*flightModel
	readers []*readerModel
	next    byte // of what is published
}

// lead has somebody lead a flight, where there is none.
func (p *flightPlay) lead(id ID) {
	m := &flightModel{id: id}
	if m.f = p.g.Lead(id, func() { m.cuts++ }); (m.f == nil) != (p.current[id] != nil) {
		p.t.Fatalf("leads %v, and there is %v", m.f != nil, p.current[id])
	}
	if m.f != nil {
		p.flights, p.current[id] = append(p.flights, m), m
	}
}

// join joins as everybody does, or as one that has followed a flight before: there is just one flight to follow, or none.
func (p *flightPlay) join(id ID, before *flightModel) {
	m := &flightModel{id: id}
	cut := func() { m.cuts++ }
	var f *Flight[string, string]
	var r *Reader[string, string]
	var want *flightModel
	if before == nil {
		f, r = p.g.Join(id, cut, 3)
	} else {
		f, r = p.g.Rejoin(before.f, cut, 3)
		if m.id = before.id; before.next.open(true) {
			want = before.next
		} else {
			p.remove(before)
		}
	}
	if at := p.current[m.id]; want == nil && at.open(false) {
		want = at
	}
	switch {
	case want != nil && (r == nil || f != want.f):
		p.t.Fatalf("does not follow %+v", want)
	case want != nil:
		want.followers++
		p.readers = append(p.readers, &readerModel{r: r, of: want})
	case r != nil || f.Tries() != 3:
		p.t.Fatalf("follows %v, tried %d times", r != nil, f.Tries())
	default:
		m.f, want = f, m
		p.flights, p.current[m.id] = append(p.flights, m), m
	}
	if before != nil {
		before.next = want
	}
}

// remove has nobody follow a flight any more.
func (p *flightPlay) remove(m *flightModel) {
	if p.current[m.id] == m {
		delete(p.current, m.id)
	}
}

// leave has a reader leave, which cuts the work where nobody else wants it.
func (p *flightPlay) leave(i int) {
	r := p.readers[i]
	p.readers = slices.Delete(p.readers, i, i+1)
	if r.own {
		return
	}
	m, cuts := r.of, r.of.cuts
	m.followers--
	want := cuts
	if m.followers == 0 && m.orphan && m.end == nil {
		want, m.unwanted = cuts+1, true
		p.remove(m)
	}
	r.r.Leave()
	r.r.Leave() // which counts once
	if m.cuts != want {
		p.t.Errorf("cut %d times, want %d", m.cuts, want)
	}
}

// read has a reader read what there is, and compares it.
func (p *flightPlay) read(r *readerModel) {
	m := r.of
	want := m.published[min(r.from+len(r.got), len(m.published)):]
	head, n := r.r.HeadOrEnd()
	if head != m.head || head == nil && (n.End != m.end || (n.End == nil) != (n.Wait != nil)) {
		p.t.Fatalf("head %v, %+v", head, n)
	}
	if r.behind = len(want) > fuzzLag; r.behind {
		if n := r.r.Next(); !n.Behind || n.Bytes != nil {
			p.t.Fatalf("%d bytes behind: %+v", len(want), n)
		}
		return
	}
	for len(want) > 0 {
		n := r.r.Next()
		if len(n.Bytes) == 0 || !bytes.HasPrefix(want, n.Bytes) || n.Behind || n.End != nil || n.Wait != nil {
			p.t.Fatalf("got %+v, want bytes %x", n, want)
		}
		r.got, want = append(r.got, n.Bytes...), want[len(n.Bytes):]
	}
	switch n := r.r.Next(); {
	case n.Bytes != nil || n.Behind || n.End != m.end || (n.Wait == nil) == (m.end == nil):
		p.t.Fatalf("all is read: %+v, want the end %v", n, m.end)
	case n.Wait != nil:
		select {
		case <-n.Wait:
			p.t.Fatal("there are no news")
		default:
		}
	default:
		r.done = true
	}
}

// news has those wait for news who have read all there is, and runs what is to bring some.
func (p *flightPlay) news(m *flightModel, happen func()) {
	var waits []<-chan struct{}
	for _, r := range p.readers {
		if r.of == m && r.from+len(r.got) == len(m.published) {
			waits = append(waits, r.r.Next().Wait)
		}
	}
	happen()
	for _, w := range waits {
		select {
		case <-w:
		default:
			p.t.Error("who waits is not told")
		}
	}
}

// step plays one operation; which says on whom.
func (p *flightPlay) step(op, which byte) {
	id := ID{Form: uint16(which % 3)}
	var m *flightModel
	if len(p.flights) > 0 {
		m = p.flights[int(which)%len(p.flights)]
	}
	switch op % 13 {
	case 0, 1:
		if len(p.readers) < fuzzPeople {
			p.join(id, nil)
		}
	case 2:
		p.lead(id)
	case 3:
		if len(p.readers) > 0 {
			p.read(p.readers[int(which)%len(p.readers)])
		}
	case 4:
		if len(p.readers) > 0 {
			p.leave(int(which) % len(p.readers))
		}
	case 5:
		p.g.Forget()
		clear(p.current)
	}
	if m == nil {
		return
	}
	switch op % 13 {
	case 6, 7:
		if m.end == nil {
			piece := make([]byte, int(which%40)/10*1500+int(which)/100) // bounds are met just so, and some are longer than a piece of the flight
			for i := range piece {
				p.next++
				piece[i] = p.next
			}
			publish := func() {
				m.f.Publish(piece)
				m.published = append(m.published, bytes.Clone(piece)...)
				clear(piece) // it was copied
			}
			if len(piece) == 0 {
				publish()
			} else {
				p.news(m, publish)
			}
		}
	case 8:
		if m.head == nil && m.end == nil {
			m.head = new("head")
			p.news(m, func() { m.f.Announce(m.head) })
		}
	case 9:
		if first := m.end == nil; first {
			m.end = new(string([]byte{which}))
			p.news(m, func() { m.f.End(which%2 == 0, m.end) })
		} else {
			m.f.End(which%2 == 0, new("a second end"))
		}
		if which%2 == 0 {
			m.failed = true
			p.remove(m)
		}
	case 10:
		if m.end != nil {
			m.f.Land(0)
			m.landed = true
			p.remove(m)
		}
	case 11:
		goesOn := m.end == nil && m.followers > 0
		if got := m.f.Abandon(); got != goesOn {
			p.t.Errorf("goes on %v, want %v", got, goesOn)
		}
		if m.orphan = m.orphan || goesOn; m.end == nil && !goesOn {
			m.unwanted = true
			p.remove(m)
		}
	case 12:
		if which%2 == 0 && m.followers > 0 && m.end != nil && len(p.readers) < fuzzPeople {
			p.join(ID{}, m)
		} else if len(p.readers) < fuzzPeople {
			p.readers = append(p.readers, &readerModel{r: m.f.Tail(), of: m, from: len(m.published), own: true})
		}
	}
	if n := p.g.Len(); n != len(p.current) {
		p.t.Errorf("%d flights, want %d", n, len(p.current))
	}
	if m.f.Followed() != (m.followers > 0) || m.f.Orphaned() != m.orphan || m.f.Ended() != (m.end != nil) {
		p.t.Errorf("followed %v, orphaned %v, ended %v; want %+v", m.f.Followed(), m.f.Orphaned(), m.f.Ended(), m)
	}
}

// finish ends all there is: everybody gets all of it, or is told to be behind, and nothing is left.
func (p *flightPlay) finish() {
	for _, m := range p.flights {
		if m.end == nil {
			m.end = new("the end")
			p.news(m, func() { m.f.End(false, m.end) })
		}
		m.f.Land(0)
		m.landed = true
	}
	for _, r := range p.readers {
		if p.read(r); r.behind == r.done || r.done && !bytes.Equal(r.got, r.of.published[r.from:]) {
			p.t.Errorf("read %x of %x, behind %v, told of the end %v", r.got, r.of.published[r.from:], r.behind, r.done)
		}
	}
	for len(p.readers) > 0 {
		p.leave(0)
	}
	if p.g.Len() != 0 || p.g.Followers() != 0 {
		p.t.Errorf("%d flights and %d followers are left", p.g.Len(), p.g.Followers())
	}
}

// Whatever leaders and followers do, and in which order: each follower gets just the bytes that were published, from the first on, and then the end, or is told that it has
// fallen behind; the work is cut when nobody wants it any more and not before; and in the end nothing is left.
func FuzzFlight(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 8, 0, 6, 25, 3, 0, 6, 25, 0, 0, 3, 0, 9, 1, 3, 0, 10, 0, 4, 0})
	f.Add([]byte{0, 0, 0, 0, 11, 0, 6, 20, 4, 0, 9, 2, 10, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 9, 2, 12, 0, 12, 0, 7, 9, 9, 1, 12, 1, 3, 1, 5, 0, 2, 0})
	f.Add([]byte{0, 1, 0, 1, 12, 1, 6, 29, 6, 29, 6, 29, 6, 29, 0, 1, 3, 0, 3, 1, 4, 0})
	f.Fuzz(playFlights)
}

// The same of operations that are drawn.
func TestFlight_IsAsItsModel(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		ops := make([]byte, 2*draw.IntN(80))
		for i := range ops {
			ops[i] = byte(draw.Uint32())
		}
		if playFlights(t, ops); t.Failed() {
			t.Fatalf("played %v", ops)
		}
	}
}

func playFlights(t *testing.T, ops []byte) {
	p := &flightPlay{t: t, g: newGroup(fuzzMost, fuzzLag), current: map[ID]*flightModel{}}
	stuck := time.AfterFunc(time.Minute, func() { panic("BUG: deadlock") }) // which is a failure, and not a wait
	defer stuck.Stop()
	for i := 0; i+1 < len(ops) && i < 2000; i += 2 {
		p.step(ops[i], ops[i+1])
	}
	p.finish()
}
