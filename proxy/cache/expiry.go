package cache

import (
	"encoding/binary"
	"math"
	"time"
)

// jitter is the part of its time to live that an answer may lose, so that answers stored together do not expire together.
const jitter = 0.1

// Jittered is the time to live of the answer with this key: between 90 % and 100 % of ttl, always the same for the same key. It never exceeds ttl, which is
// a promise about how old an answer may be.
func Jittered(key *Key, ttl time.Duration) time.Duration {
	part := float64(binary.LittleEndian.Uint64(key[:])>>11) / (1 << 53)
	return ttl - time.Duration(float64(ttl)*jitter*part)
}

// EarlyRefresh decides whether a hit fetches its answer anew before it expires: probabilistic early expiration, XFetch (Vattani, Chierichetti, Lowenstein,
// "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015). delta is how long a fetch takes, beta how eager to be (1 is the optimum for exponential
// arrivals, 0 is never), draw uniform in (0,1].
func EarlyRefresh(now, expires time.Time, delta time.Duration, beta, draw float64) bool {
	if beta <= 0 || delta <= 0 || math.IsNaN(draw) {
		return false
	}
	draw = min(max(draw, math.SmallestNonzeroFloat64), 1)
	ahead := -float64(delta) * beta * math.Log(draw)
	return ahead >= float64(expires.Sub(now))
}

// State is what may be done with a stored answer.
type State uint8

// The states, from good to useless.
const (
	Fresh   State = iota // give it out
	Stale                // give it out and fetch a new one meanwhile
	OnError              // give it out only if the provider fails
	Expired              // a miss
)

// StateAt is the state of an answer that was created and expires at these times, and may be no older than limit, under a route's settings and a request's directives. A clock that was
// set back makes no answer fresher than at its start.
func StateAt(created, expires, now time.Time, limit time.Duration, s *Settings, d *Directives) State {
	if d.NoCache || s.TTL <= 0 {
		return Expired
	}
	age := max(now.Sub(created), 0)
	if d.HasMaxAge && age > d.MaxAge {
		return Expired
	}
	past := now.Sub(expires)
	if age >= limit { // the route's TTL was shortened since
		past = max(past, age-limit)
	}
	switch {
	case past < 0:
		return Fresh
	case past < s.WhileNew:
		return Stale
	case past < s.OnError:
		return OnError
	}
	return Expired
}

// KeepFor is how long a store keeps an answer that expires after ttl: as long as any use of it is allowed.
func (s *Settings) KeepFor(ttl time.Duration) time.Duration { return ttl + max(s.WhileNew, s.OnError) }
