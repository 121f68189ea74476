package flight

import (
	"sync"
	"sync/atomic"
)

// ID tells flights apart: who has the same may share an answer, byte for byte.
type ID struct {
	Key  [32]byte
	Form uint16 // in which the answer is wanted
}

// Options bound what flights hold in memory.
type Options struct {
	Most int // bytes of an answer up to which others may join; past it only those who are there get the rest
	Lag  int // bytes that a follower may be behind
}

// Group are the flights under way. Its methods are safe for concurrent use.
type Group[H, E any] struct {
	o      Options
	landed atomic.Uint64 // flights that have gone
	follow atomic.Int64  // followers that have not left

	mu sync.Mutex
	of map[ID]*Flight[H, E]
}

// NewGroup makes a group without flights.
func NewGroup[H, E any](o Options) *Group[H, E] {
	return &Group[H, E]{o: o, of: map[ID]*Flight[H, E]{}}
}

// Landed counts the flights that have gone. Who has looked for an answer in vain, and leads although the count has moved since, has to look again.
func (g *Group[H, E]) Landed() uint64 { return g.landed.Load() }

// Len is the number of flights that can be joined, or could be a moment ago.
func (g *Group[H, E]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.of)
}

// Followers is how many follow a flight.
func (g *Group[H, E]) Followers() int { return int(g.follow.Load()) }

// Join makes the caller a follower of the flight under way, who must Leave its reader in the end; or the leader of a new one (the reader is nil then), who
// must End it and have it Land. cut ends the leader's work when nobody is left to take it; tries counts what was tried for this answer before.
func (g *Group[H, E]) Join(id ID, cut func(), tries int) (*Flight[H, E], *Reader[H, E]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.join(id, cut, tries)
}

func (g *Group[H, E]) join(id ID, cut func(), tries int) (*Flight[H, E], *Reader[H, E]) {
	if f := g.of[id]; f != nil {
		if r := f.board(false); r != nil {
			return f, r
		}
	}
	return g.lead(id, cut, tries), nil
}

// Rejoin is Join for a follower of a flight that has brought nothing, before it leaves that. All who followed it meet on the same next one, however late they come:
// what that brought is theirs too.
func (g *Group[H, E]) Rejoin(f *Flight[H, E], cut func(), tries int) (*Flight[H, E], *Reader[H, E]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.next != nil {
		if r := f.next.board(true); r != nil {
			return f.next, r
		}
	}
	if g.of[f.id] == f {
		delete(g.of, f.id)
	}
	var r *Reader[H, E]
	if f.next, r = g.join(f.id, cut, tries); r == nil {
		f.next.awaited = true
	}
	return f.next, r
}

// Lead makes the caller the leader of a new flight, unless there is one: nil then.
func (g *Group[H, E]) Lead(id ID, cut func()) *Flight[H, E] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[id] != nil {
		return nil
	}
	return g.lead(id, cut, 0)
}

func (g *Group[H, E]) lead(id ID, cut func(), tries int) *Flight[H, E] {
	first := &piece{}
	f := &Flight[H, E]{group: g, id: id, cut: cut, tries: tries, first: first, last: first}
	g.of[id] = f
	return f
}

// remove takes a flight out, so that nobody joins it any more.
func (g *Group[H, E]) remove(f *Flight[H, E]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[f.id] == f {
		delete(g.of, f.id)
	}
}
