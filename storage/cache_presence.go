package storage

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

const (
	presenceShards = 64 // by the first byte of a key
	// presenceLoad is how full a shard may be, in 16ths: probes stay short.
	presenceLoad = 12
)

// presence knows which keys are on disk, and in which epoch, so that looking for one that is not there costs no call. It takes eight
// bytes a place, whatever is in it: 47 bits of the key, beside those that choose the shard, and the lowest 16 of the epoch. Keys for which those agree are taken for the
// same, which happens once in some 10^9 lookups and ends as a miss, since the record has the whole key under its checksum.
// It is safe for concurrent use.
type presence struct {
	shards [presenceShards]presenceShard
	most   int // entries
}

type presenceShard struct {
	mu    sync.RWMutex
	words []uint64 // open addressing, probed one by one; 0: free
	count int
	_     [64]byte
}

// epochTag is what is kept of the number of an epoch.
func epochTag(number uint32) uint16 { return uint16(number & 0xffff) }

func wordEpoch(word uint64) uint16 { return uint16(word & 0xffff) }

// newPresence returns a table of so many places, rounded up to a power of two.
func newPresence(places int) *presence {
	n := max(16, 1<<bits.Len(uint(max(places, 1)-1)/presenceShards))
	p := &presence{most: n * presenceShards * (presenceLoad - 1) / 16}
	for i := range p.shards {
		p.shards[i].words = make([]uint64, n)
	}
	return p
}

func (p *presence) shard(key *CacheKey) (s *presenceShard, mark uint64) {
	mark = binary.LittleEndian.Uint64(key[8:16])&^0xffff | 1<<16 // never 0
	return &p.shards[key[0]%presenceShards], mark
}

// find returns the lowest 16 bits of the epoch of a key.
func (p *presence) find(key *CacheKey) (epoch uint16, found bool) {
	s, mark := p.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i, ok := s.place(mark); ok {
		return wordEpoch(s.words[i]), true
	}
	return 0, false
}

// place is where a key is, or would be. There always is a free place.
func (s *presenceShard) place(mark uint64) (i uint64, found bool) {
	mask := uint64(len(s.words) - 1)
	for i = mark >> 17 & mask; s.words[i] != 0; i = (i + 1) & mask {
		if s.words[i]&^0xffff == mark {
			return i, true
		}
	}
	return i, false
}

// put notes a key, and returns the epoch it was in before. It is not noted when its shard is full.
func (p *presence) put(key *CacheKey, epoch uint16) (before uint16, was, noted bool) {
	s, mark := p.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.place(mark)
	switch {
	case found:
		before = wordEpoch(s.words[i])
	case s.count >= len(s.words)*presenceLoad/16:
		return 0, false, false
	default:
		s.count++
	}
	s.words[i] = mark | uint64(epoch)
	return before, found, true
}

// remove forgets a key, if it is in that epoch.
func (p *presence) remove(key *CacheKey, epoch uint16) bool {
	s, mark := p.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.place(mark)
	if !found || wordEpoch(s.words[i]) != epoch {
		return false
	}
	s.free(i)
	return true
}

// free takes a word out, and moves up those behind it that would not be found any more.
func (s *presenceShard) free(i uint64) {
	mask := uint64(len(s.words) - 1)
	s.count--
	for j := (i + 1) & mask; s.words[j] != 0; j = (j + 1) & mask {
		if home := s.words[j] >> 17 & mask; (j-home)&mask >= (j-i)&mask {
			s.words[i] = s.words[j]
			i = j
		}
	}
	s.words[i] = 0
}

// drop forgets all keys of an epoch, and returns how many they were.
func (p *presence) drop(epoch uint16) (n int) {
	for i := range p.shards {
		n += p.shards[i].drop(epoch)
	}
	return n
}

func (s *presenceShard) drop(epoch uint16) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]uint64, 0, s.count)
	for _, w := range s.words {
		switch {
		case w == 0:
		case wordEpoch(w) == epoch:
			n++
		default:
			kept = append(kept, w)
		}
	}
	clear(s.words)
	s.count = len(kept)
	for _, w := range kept {
		i, _ := s.place(w &^ 0xffff)
		s.words[i] = w
	}
	return n
}

// clear forgets all keys.
func (p *presence) clear() {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		clear(s.words)
		s.count = 0
		s.mu.Unlock()
	}
}

func (p *presence) count() (n int) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.RLock()
		n += s.count
		s.mu.RUnlock()
	}
	return n
}
