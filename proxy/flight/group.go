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
	follow atomic.Int64 // followers that have not left
	shards [shards]shard[H, E]
}

// shards keep requests with different keys from waiting for each other.
const shards = 64

type shard[H, E any] struct {
	mu sync.Mutex
	of map[ID]*Flight[H, E]
}

// NewGroup makes a group without flights.
func NewGroup[H, E any](o Options) *Group[H, E] {
	g := &Group[H, E]{o: o}
	for i := range g.shards {
		g.shards[i].of = map[ID]*Flight[H, E]{}
	}
	return g
}

// Len is the number of flights that can be joined, or could be a moment ago.
func (g *Group[H, E]) Len() (n int) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		n += len(s.of)
		s.mu.Unlock()
	}
	return n
}

// Followers is how many follow a flight.
func (g *Group[H, E]) Followers() int { return int(g.follow.Load()) }

// Forget has nobody join a flight any more that there is now. Who follows one goes on.
func (g *Group[H, E]) Forget() {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		clear(s.of)
		s.mu.Unlock()
	}
}

// Join makes the caller a follower of the flight under way, who must Leave its reader in the end; or the leader of a new one (the reader is nil then), who
// must End it and have it Land. cut ends the leader's work when nobody is left to take it; tries counts what was tried for this answer before.
func (g *Group[H, E]) Join(id ID, cut func(), tries int) (*Flight[H, E], *Reader[H, E]) {
	s := g.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.join(s, id, cut, tries)
}

// Rejoin is Join for a follower of a flight that has brought nothing. All who followed it meet on the same next one, however late they come: what that brings is
// theirs too.
func (g *Group[H, E]) Rejoin(f *Flight[H, E], cut func(), tries int) (*Flight[H, E], *Reader[H, E]) {
	s := g.shard(f.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.next != nil {
		if r := f.next.board(true); r != nil {
			return f.next, r
		}
	}
	if s.of[f.id] == f {
		delete(s.of, f.id)
	}
	next, r := g.join(s, f.id, cut, tries)
	f.next = next
	return next, r
}

// Lead makes the caller the leader of a new flight, unless there is one: nil then.
func (g *Group[H, E]) Lead(id ID, cut func()) *Flight[H, E] {
	s := g.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[id] != nil {
		return nil
	}
	return g.lead(s, id, cut, 0)
}

func (g *Group[H, E]) shard(id ID) *shard[H, E] { return &g.shards[id.Key[0]%shards] }

func (g *Group[H, E]) join(s *shard[H, E], id ID, cut func(), tries int) (*Flight[H, E], *Reader[H, E]) {
	if f := s.of[id]; f != nil {
		if r := f.board(false); r != nil {
			return f, r
		}
	}
	return g.lead(s, id, cut, tries), nil
}

func (g *Group[H, E]) lead(s *shard[H, E], id ID, cut func(), tries int) *Flight[H, E] {
	first := &piece{}
	f := &Flight[H, E]{group: g, id: id, cut: cut, tries: tries, first: first, last: first}
	s.of[id] = f
	return f
}

// remove takes a flight out, so that nobody joins it any more.
func (g *Group[H, E]) remove(f *Flight[H, E]) {
	s := g.shard(f.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[f.id] == f {
		delete(s.of, f.id)
	}
}
