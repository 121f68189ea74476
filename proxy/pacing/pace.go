package pacing

import (
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// Pace is how fast requests with one key go to one model. Its methods are safe for concurrent use.
type Pace struct {
	key   Key
	epoch time.Time
	pacer *limit.Pacer
	used  uses
	gone  atomic.Bool // from the table

	crowd   atomic.Pointer[limit.Concurrency] // nil: that was never asked for
	waiting atomic.Int32
	last    lastRefusal

	mu    sync.Mutex // of what follows
	queue *limit.Queue
	news  chan struct{} // something may have changed for those in the queue
}

func newPace(now, epoch time.Time, k Key) *Pace {
	p := &Pace{key: k, epoch: epoch, pacer: limit.NewPacer(now), news: make(chan struct{}, 1)}
	p.used.now(int64(now.Sub(epoch)) + grain + 1)
	return p
}

// Is tells whether the pace is that of a key, and in the table still. p may be nil.
func (p *Pace) Is(provider uint64, caller [8]byte, model []byte) bool {
	return p != nil && p.key.Provider == provider && p.key.Caller == caller && p.key.Model == string(model) && !p.gone.Load()
}

// Gone tells whether the pace has left its table.
func (p *Pace) Gone() bool { return p.gone.Load() }

// inUse tells whether something is under way with the pace, and whether the provider wants to be left alone yet.
func (p *Pace) inUse(now time.Time) (busy, paused bool) {
	s := p.pacer.State(now)
	return p.waiting.Load() > 0 || s.Flying > 0, s.Paused > 0
}

// Terms are what an attempt obeys.
type Terms struct {
	Share       float64                  // of the limits that the provider tells of
	MaxWait     time.Duration            // 0: none waits
	Waiters     int                      // at a time
	Concurrency limit.ConcurrencyOptions // where Crowds
	Crowds      bool                     // it is found out how many at a time suit the target
}

// Sized tells whether the size of an attempt makes a difference to Try.
func (p *Pace) Sized() bool { return p.pacer.Sized() }

// Turn is what an attempt was let through with. The zero value is none. It belongs to one goroutine.
type Turn struct {
	sent  limit.Sent
	start limit.Start
	state turnState

	queue  *limit.Queue // of an attempt that had to wait
	ticket *limit.Ticket
}

type turnState uint8

const (
	open    turnState = 1 << iota // the answer was not told of yet
	crowded                       // it counts among those under way
)

// Held tells whether the turn has to be ended.
func (t *Turn) Held() bool { return t.state != 0 }

// Told tells whether limits that the provider tells of were kept to with the attempt.
func (t *Turn) Told() bool { return t.sent.Told() }

// Refusal is why an attempt was not let through.
type Refusal struct {
	Retry time.Duration   // when it may ask again, as far as that is known
	Full  bool            // as many as suit the target are under way
	Lacks limit.Dimension // what there is no room for, unless it is Full
	Told  bool            // there is none in limits that the provider tells of
}

// crowdLook is after how long it is looked again whether there is room beside those under way; each that ends tells, too.
const crowdLook = 10 * time.Millisecond

// Try lets an attempt through, unless there is no room or others wait for it already: then the refusal has a time to retry above 0.
func (p *Pace) Try(now time.Time, terms *Terms, n limit.Need) (Turn, Refusal) {
	p.used.now(int64(now.Sub(p.epoch)))
	if n := p.waiting.Load(); n > 0 {
		return Turn{}, p.behind(n)
	}
	t, r := p.take(now, terms, n)
	if r.Retry > 0 {
		p.last.store(&r)
	}
	return t, r
}

func (p *Pace) take(now time.Time, terms *Terms, n limit.Need) (t Turn, r Refusal) {
	if terms.Crowds {
		c := p.crowdOf(terms)
		start, ok := c.Begin()
		if !ok {
			return t, Refusal{Retry: crowdLook, Full: true, Lacks: limit.Concurrent}
		}
		t.start, t.state = start, crowded
	}
	sent, wait := p.pacer.Take(now, n, terms.Share)
	if wait > 0 {
		if t.state != 0 {
			p.crowd.Load().End(t.start, limit.NoMatter, 0)
		}
		return Turn{}, Refusal{Retry: wait, Lacks: sent.Lacks(), Told: sent.Told()}
	}
	t.sent, t.state = sent, t.state|open
	return t, r
}

func (p *Pace) crowdOf(terms *Terms) *limit.Concurrency {
	c := p.crowd.Load()
	if c == nil {
		c = limit.NewConcurrency(terms.Concurrency)
		if !p.crowd.CompareAndSwap(nil, c) {
			c = p.crowd.Load()
		}
	}
	c.Use(terms.Concurrency)
	return c
}

// Answered takes in what came back and tells what it means, as limit.Pacer.Answered does; the turn goes on until End.
func (p *Pace) Answered(now time.Time, t *Turn, v limit.Verdict, h *limit.Headers, retryAfter time.Duration, draw float64) limit.Meaning {
	if t.state&open == 0 {
		return limit.Nothing
	}
	t.state &^= open
	m := p.pacer.Answered(now, t.sent, v, h, retryAfter, draw)
	p.nudge()
	return m
}

// End ends the turn of an attempt, which took so many tokens (0: nobody knows, or none): sign and ttft are as in limit.Concurrency.End. An attempt that was not sent is dropped, and its
// caller's turn was for nothing. One that was sent and took no tokens has had its turn all the same: else who sends what fails at once would have all of them. It may be called on a turn
// that is none.
func (p *Pace) End(now time.Time, t *Turn, sent bool, sign limit.Sign, ttft float64, tokens int64) {
	if t.state == 0 {
		return
	}
	if t.state&open != 0 {
		if sent {
			p.pacer.Answered(now, t.sent, limit.Other, nil, 0, 0)
		} else {
			p.pacer.Dropped(t.sent)
		}
	}
	if t.state&crowded != 0 {
		p.crowd.Load().End(t.start, sign, ttft)
	}
	if !sent {
		tokens = 0
	}
	if t.queue != nil && (tokens > 0 || !sent) {
		t.queue.Settle(t.ticket, tokens)
	}
	*t = Turn{}
	p.nudge()
}

// Resume has those who wait go on, though the provider wants to be left alone: it is an operator's order.
func (p *Pace) Resume() {
	p.pacer.Resume()
	p.nudge()
}

// nudge has those that wait looked at.
func (p *Pace) nudge() {
	if p.waiting.Load() == 0 {
		return
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// State is what is known, to be shown.
type State struct {
	limit.PacerState
	Waiting     int
	Concurrency int // attempts at a time that suit the target; 0: no bound was met
}

// State tells what is known. p may be nil: nothing.
func (p *Pace) State(now time.Time) (s State) {
	if p == nil {
		return s
	}
	s.PacerState, s.Waiting = p.pacer.State(now), int(p.waiting.Load())
	if c := p.crowd.Load(); c != nil {
		s.Concurrency, _ = c.Limit()
	}
	return s
}

// Trusted tells whether what the provider says of its limits is followed now.
func (p *Pace) Trusted(now time.Time) bool { return p.pacer.State(now).Trusted }
