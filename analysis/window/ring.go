package window

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Exchange is what one exchange of a route came to: plain facts, for whoever follows single exchanges. Its strings are shared with whoever wrote it.
type Exchange struct {
	At            time.Time // its end
	Route         string
	Target        string // that was chosen first; empty: none was left, or none was needed
	Session       uint64 // a keyed hash, the same for all exchanges of a conversation; 0: none
	Trial         uint64 // the salt of the trial that it was an arm of; 0: none
	Class         uint8  // light, medium, heavy
	Arm           uint8  // which of the route's parameters it obeyed, by their order in the policy
	Attempts      uint8
	Forced        bool // the target was no choice: pinned, or the only one left
	Rescued       bool // a later attempt has served it after the first had failed
	Late          bool // an attempt was given up at the learned bound of the first byte
	Hedged        bool // it had two attempts side by side
	HedgeWon      bool // of which the second one served
	Failed        bool // the client got no answer, or a broken one
	Violation     bool // the same, or an answer that began later than the route's objective
	Unpriced      bool // part of what it cost is not known
	Shared        bool // what it came to depends on what all arms have kept together: it proves nothing of its own
	Input, Output int64
	Expected      int64 // input tokens, as they were estimated before anything was chosen; 0: not known
	CostNanoUSD   int64 // of all attempts
	LostNanoUSD   int64 // of it, for attempts that lost against another one beside them
	// Wait is the time from the exchange's start to its first content, or to the answer's end where that was no stream; 0: there was none. What was waited for room in limits of
	// providers is part of it, as they come with the target; what was waited for limits of the gateway itself is not.
	Wait     time.Duration
	PerToken time.Duration // time per output token of the attempt that served, where that was the first; 0: not known
	Limited  Limited
}

// Limited is what limits have done to an exchange.
type Limited struct {
	Queued   time.Duration // waited for room in limits of the gateway, where it had Met one
	Paced    time.Duration // waited for room in those of providers
	Short    time.Duration // one that was refused might have had room after so much longer; 0: not known
	Reserved int32         // output tokens that were reserved for an answer that is whole; 0: none were
	Met      uint8         // what there was no room for at first in limits of the gateway, as bits in the order of limit.Dimension
	Lacked   uint8         // the same of providers
	Refused  Refusal       // it was
	Guessed  bool          // too few answers of the route and class were known when it was reserved, and this one's length was told, which is learned from
}

// Bits of Limited.Met and Limited.Lacked for which it matters how long answers are.
const (
	MetOutput uint8 = 1 << (iota + 2) // output tokens
	MetTokens                         // input and output tokens together
	_                                 // at a time
	MetSpend                          // money
)

// Refusal is who had no room for an exchange that was refused.
type Refusal uint8

// The refusals.
const (
	NotRefused Refusal = iota
	ByGateway          // before anything was chosen: no target has a part in it
	ByTarget           // by a limit of the gateway for its target
	ByProvider         // by what is known of its provider's limits
)

// Ring is a bounded buffer of exchanges that loses what nobody fetches in time, and never makes a writer wait. It is safe for concurrent use.
type Ring struct {
	shards [ringShards]ringShard
	lost   atomic.Uint64
}

const (
	ringShards = 4
	// ringSlots is what a shard holds: together 8,192 exchanges, 1.4 MB, and as much again while they are fetched.
	ringSlots = 2048
)

type ringShard struct {
	mu   sync.Mutex
	full []Exchange
	free []Exchange // the other buffer, empty; nil while it is read
	_    [40]byte   // shards don't share a cache line
}

// NewRing returns an empty ring.
func NewRing() *Ring {
	r := &Ring{}
	for i := range r.shards {
		r.shards[i].full, r.shards[i].free = make([]Exchange, 0, ringSlots), make([]Exchange, 0, ringSlots)
	}
	return r
}

// Put adds an exchange, unless there is no room or all shards are held by others at the moment: then it is lost, which Lost counts.
func (r *Ring) Put(x *Exchange) {
	first := rand.Uint32() //nolint:gosec // spreads load
	for i := range uint32(ringShards) {
		s := &r.shards[(first+i)%ringShards]
		if !s.mu.TryLock() {
			continue
		}
		if len(s.full) < ringSlots {
			s.full = append(s.full, *x)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
	r.lost.Add(1)
}

// Drain hands over what has come since the last time, in no certain order, and forgets it. One goroutine at a time may call it; yield may take its time.
func (r *Ring) Drain(yield func(*Exchange)) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		got := s.full
		s.full, s.free = s.free, nil
		s.mu.Unlock()
		for j := range got {
			yield(&got[j])
		}
		clear(got) // names of routes that are gone
		s.mu.Lock()
		s.free = got[:0]
		s.mu.Unlock()
	}
}

// Lost is how many exchanges there was no room for.
func (r *Ring) Lost() uint64 { return r.lost.Load() }
