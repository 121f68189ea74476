package admission

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// Options say how requests wait.
type Options struct {
	MaxWait time.Duration // of a request; 0: none waits
	Waiters int           // for one limit
	Work    time.Duration // that may wait for one limit, as far as it can be told; 0: as long as MaxWait
	Jitter  time.Duration // over which the starts of those are spread that are let in at once

	Waited func(time.Duration) // is told how long a request has waited, in vain or not; nil: nobody is
}

// Gate holds limits and those that wait for room in them. Its methods are safe for concurrent use. Close ends its goroutines.
type Gate struct {
	set     *limit.Set
	options atomic.Pointer[Options]
	ruled   atomic.Uint32 // parts that there are rules for, as bits
	waiting atomic.Int64

	closing chan struct{}
	serving sync.WaitGroup // goroutines of rooms

	mu     sync.Mutex
	rooms  map[*room]struct{}
	closed bool

	Late    atomic.Uint64 // requests that have waited in vain
	Crowded atomic.Uint64 // those that found too much waiting, or were pushed out
}

// Pass is what a request was let in with. The zero value holds nothing. It belongs to one goroutine.
type Pass struct {
	lease   limit.Lease
	request limit.Request
	ticket  *limit.Ticket // of one that has waited
	place   limit.Place   // where it has
	renewed time.Time
}

// Held tells whether the pass has to be given back.
func (p *Pass) Held() bool { return !p.renewed.IsZero() }

// Delay is how long the request has to be held back yet, by limits that space requests out.
func (p *Pass) Delay() time.Duration { return p.lease.Delay }

// New makes a gate without limits.
func New(now time.Time, s limit.Options, o Options) *Gate {
	g := &Gate{set: limit.New(now, s), closing: make(chan struct{}), rooms: map[*room]struct{}{}}
	g.options.Store(&o)
	return g
}

// Configure puts rules in force, as limit.Set does, and says how requests wait from now on.
func (g *Gate) Configure(now time.Time, rules []limit.Rule, o Options) error {
	if err := g.set.Configure(now, rules); err != nil {
		return err
	}
	ruled := uint32(0)
	for i := range rules {
		if rules[i].Target == (limit.Scope{}) {
			ruled |= 1 << limit.Exchange
		} else {
			ruled |= 1 << limit.Attempt
		}
	}
	g.ruled.Store(ruled)
	g.options.Store(&o)
	for _, r := range g.allRooms() {
		r.Nudge()
	}
	return nil
}

// Close has nobody wait any more, and returns when all goroutines of the gate have ended. What holds a pass gives it back as before.
func (g *Gate) Close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.closing)
	}
	g.mu.Unlock()
	g.serving.Wait()
}

// Rules tells whether there are limits for a part.
func (g *Gate) Rules(part limit.Part) bool { return g.ruled.Load()&(1<<part) != 0 }

// Set is what holds the limits, to be looked at.
func (g *Gate) Set() *limit.Set { return g.set }

// Waiting is how many requests wait.
func (g *Gate) Waiting() int64 { return g.waiting.Load() }

// Enter lets a request in, at once or after a wait of as long as the options allow, or refuses it. ctx ends the wait, with an error then. There is a pass only where there
// is neither a refusal nor an error, and it has to Leave. delay is how long the request has to be held back yet: limits space requests out, and those that waited do
// not all start at once.
func (g *Gate) Enter(ctx context.Context, q *limit.Request, priority int) (p Pass, delay time.Duration, refusal limit.Refusal, err error) {
	return g.EnterWithin(ctx, q, priority, 0, 0)
}

// EnterWithin is Enter for a request that may wait for so long, of which it has spent some elsewhere; 0: as long as the options allow. Where these have nobody wait, it does not either.
func (g *Gate) EnterWithin(ctx context.Context, q *limit.Request, priority int, most, spent time.Duration) (p Pass, delay time.Duration, refusal limit.Refusal, err error) {
	p, refusal = g.TryEnter(q)
	if !refusal.Refused() {
		return p, p.lease.Delay, refusal, nil
	}
	o := g.options.Load()
	if most <= 0 || o.MaxWait <= 0 {
		most = o.MaxWait
	}
	if rest := most - spent; rest > 0 && !hopeless(&refusal, rest) {
		p, delay, refusal, err = g.wait(ctx, q, priority, most, rest, refusal)
	}
	if refusal.Refused() {
		refusal.Count()
		tell(&refusal, draw())
	}
	return p, delay, refusal, err
}

// TryEnter lets a request in at once or not at all. Those that wait for the same limits go before it.
func (g *Gate) TryEnter(q *limit.Request) (p Pass, refusal limit.Refusal) {
	now := time.Now()
	lease, refusal := g.set.Reserve(now, q)
	if refusal.Refused() {
		return p, refusal
	}
	return Pass{lease: lease, request: *q, renewed: now}, refusal
}

// Usage is what a request has really taken.
type Usage = limit.Usage

// Leave gives a pass back: what was used takes the place of what was reserved. It may be called on a pass that holds nothing.
func (g *Gate) Leave(p *Pass, u Usage) {
	if !p.Held() {
		return
	}
	now := time.Now()
	if !g.set.Settle(now, p.lease, u) { // it had lasted too long, and its room is others' meanwhile
		if p.lease != (limit.Lease{}) {
			g.set.Charge(now, &p.request, u)
		}
	}
	g.left(p, u.Input+u.Output)
}

// Charge counts what was used without having been let in.
func (g *Gate) Charge(q *limit.Request, u Usage) { g.set.Charge(time.Now(), q, u) }

// Cancel gives back a pass of a request that has taken nothing.
func (g *Gate) Cancel(p *Pass) {
	if !p.Held() {
		return
	}
	g.set.Cancel(time.Now(), p.lease)
	g.left(p, 0)
}

// left tells the callers' turns what the request has really taken.
func (g *Gate) left(p *Pass, tokens int64) {
	if p.ticket != nil {
		if l := p.place.Line(); l != nil {
			l.Settle(p.ticket, tokens)
		}
	}
	*p = Pass{}
}

// Renew keeps a pass of a request that goes on. It is cheap where that is not due yet.
func (g *Gate) Renew(p *Pass, now time.Time, lease time.Duration) {
	if p.Held() && now.Sub(p.renewed) > lease/4 {
		p.renewed = now
		g.set.Renew(now, p.lease)
	}
}

// Sweep ends what has leaked, and forgets what nobody uses. It is to be called every second or so.
func (g *Gate) Sweep(now time.Time) {
	g.set.Sweep(now)
	for _, r := range g.allRooms() {
		if r.retire(now) {
			g.mu.Lock()
			delete(g.rooms, r)
			g.mu.Unlock()
		}
	}
}

func (g *Gate) allRooms() []*room {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.rooms))
}

// draw is uniform in [0, 1).
func draw() float64 { return rand.Float64() }
