package limit

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// QueueOptions of a Queue. The zero value has the defaults.
type QueueOptions struct {
	Work    time.Duration // that may wait at most, as far as the queue can tell how fast it goes; 0: DefaultQueueWork
	Waiters int           // that may wait at most; 0: DefaultQueueWaiters
	Jitter  time.Duration // over which those are spread that are let go at once; 0: DefaultQueueJitter
}

// The defaults of QueueOptions.
const (
	DefaultQueueWork    = 2 * time.Second
	DefaultQueueWaiters = 1000
	DefaultQueueJitter  = 20 * time.Millisecond
)

// Queue holds requests until there is room for them. The highest priority goes first. Within a priority callers take turns by the tokens that they were let through
// with (deficit round robin with a quantum of one token: all callers that wait are credited alike, and the first whose credit pays its request goes; VTC, OSDI 2024, says why tokens
// as they were settled). Within a caller the earliest deadline goes first. Who asks while others wait has to wait behind them, or fairness is lost.
type Queue struct {
	o     QueueOptions
	epoch time.Time

	mu      sync.Mutex
	classes []*class     // highest priority first
	waiting atomic.Int64 // changes with mu held
	stuck   bool         // all that wait were passed over: nobody is held up by what this queue is for
	cost    int64        // of all that wait
	pace    pace
	serial  uint64
	handing bool // somebody is in Hand
	again   bool // and has to look once more
	round   uint64
}

// Ticket is what a request tells the queue.
type Ticket struct {
	Caller   ID
	Priority int           // the higher goes first
	Cost     int64         // tokens it is thought to take
	Deadline time.Time     // when it has to be done; zero: whenever
	Service  time.Duration // the least that it takes once it is let go
	Draw     float64       // uniform in [0, 1): its place among those that are let go at once
	For      any           // of the caller's own, for the try of Hand
}

// Waiter is a request in the queue.
type Waiter struct {
	Ticket
	done     chan Grant
	deadline int64
	serial   uint64
	flow     *flow
	place    int  // in its flow
	offered  bool // Hand is trying it
	gone     bool // it was canceled meanwhile
}

// Done tells once how the wait ended.
func (w *Waiter) Done() <-chan Grant { return w.done }

// Grant is how a wait ended.
type Grant struct {
	Outcome Outcome
	Delay   time.Duration // until it may start
}

// Outcome of a wait.
type Outcome uint8

// The outcomes.
const (
	Granted   Outcome = iota + 1 // the request has what Hand took for it
	Late                         // it could not be done before its deadline any more
	Full                         // too much work waits, and its caller has more than its share of it
	Canceled                     // by Cancel
	Elsewhere                    // it waits here no more: what Hand called knows why
)

// NewQueue makes an empty queue.
func NewQueue(now time.Time, o QueueOptions) *Queue {
	return &Queue{o: o.usable(), epoch: now}
}

func (o QueueOptions) usable() QueueOptions {
	o.Work, o.Waiters, o.Jitter = cmp.Or(o.Work, DefaultQueueWork), cmp.Or(o.Waiters, DefaultQueueWaiters), cmp.Or(o.Jitter, DefaultQueueJitter)
	return o
}

// Len is how many wait. Who finds none may try without the queue. It takes no lock.
func (q *Queue) Len() int { return int(q.waiting.Load()) }

// busy tells that somebody is held up. q.mu is held.
func (q *Queue) busy() bool { return q.waiting.Load() > 0 && !q.stuck }

// Takes is how long it takes until all have been let go that wait; 0 where that is not known.
func (q *Queue) Takes() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pace.lasts(q.cost)
}

// Renew has a queue that nobody waits in begin anew, with other options: how fast it went says nothing any more. What callers owe stays.
func (q *Queue) Renew(o QueueOptions) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o, q.pace = o.usable(), pace{}
}

// Use has other options obeyed from the next Push on. Those that wait go on waiting, unless they are pushed out.
func (q *Queue) Use(o QueueOptions) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o = o.usable()
}

// Owes tells that a caller has had more than its turn.
func (q *Queue) Owes() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.classes {
		for _, f := range c.flows {
			if min(plus(f.credit, minus(c.given, f.left)), 0) < 0 {
				return true
			}
		}
	}
	return false
}

// Push lets a request wait. It is nil, with the reason, where that is of no use: too much waits already, or it would be late. It may push others out, that are of a lower
// priority or of a caller that has more waiting.
func (q *Queue) Push(now time.Time, t *Ticket) (*Waiter, Outcome) {
	at := int64(now.Sub(q.epoch))
	w := &Waiter{Ticket: *t, done: make(chan Grant, 1), deadline: int64(t.Deadline.Sub(q.epoch))}
	w.Cost = max(w.Cost, 1)
	if t.Deadline.IsZero() {
		w.deadline = 1<<63 - 1
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pace.roll(at, q.busy())
	c := q.class(t.Priority)
	f := c.flow(t.Caller)
	if plus(plus(at, int64(q.ahead(c, f, w.Cost))), int64(t.Service)) > w.deadline {
		c.forget(f)
		return nil, Late
	}
	for q.Len() > 0 && (q.Len() >= q.o.Waiters || q.pace.lasts(plus(q.cost, w.Cost)) > q.o.Work) {
		victim := q.victim(c, f, w.Cost)
		if victim == nil {
			c.forget(f)
			return nil, Full
		}
		q.leave(victim, Grant{Outcome: Full})
	}
	q.serial++
	w.serial, w.flow = q.serial, f
	c.add(f, w)
	q.waiting.Add(1)
	q.cost, q.stuck = plus(q.cost, w.Cost), false
	return w, 0
}

// ahead is how long it takes until a request of this flow has been let go: all of higher classes go before it, and of its own class each caller as much as its own.
func (q *Queue) ahead(c *class, f *flow, cost int64) time.Duration {
	own, sum := plus(f.cost, cost), int64(0)
	for _, o := range q.classes {
		if o.priority > c.priority {
			sum = plus(sum, o.cost)
		}
	}
	for _, o := range c.active {
		if o != f {
			sum = plus(sum, min(o.cost, own))
		}
	}
	return q.pace.lasts(plus(sum, f.cost))
}

// victim is who has to make place for a request: the last of the caller with the most work in the lowest class; nil where that is no other.
func (q *Queue) victim(c *class, f *flow, cost int64) *Waiter {
	for _, low := range slices.Backward(q.classes) {
		if low.priority < c.priority {
			if most := low.largest(); most != nil {
				return most.latest()
			}
		}
	}
	if most := c.largest(); most != nil && most != f && most.cost > plus(f.cost, cost) {
		return most.latest()
	}
	return nil
}

// leave ends a wait. q.mu is held.
func (q *Queue) leave(w *Waiter, g Grant) {
	w.flow.class.remove(w)
	q.waiting.Add(-1)
	q.cost = minus(q.cost, w.Cost)
	w.done <- g
}

// Cancel takes a request out. It is false where the wait has ended or is about to: Done tells how, and what was granted has to be given back.
func (q *Queue) Cancel(w *Waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.offered {
		w.gone = true
		return false
	}
	if w.place < 0 {
		return false
	}
	q.leave(w, Grant{Outcome: Canceled})
	return true
}

// Answer is what a try of Hand came to.
type Answer uint8

// The answers.
const (
	Stop Answer = iota // there is no room for anybody
	Pass               // a limit of this caller's own is in the way: others may go before it
	Took               // it has reserved what the request needs
	On                 // it has had its turn here, and goes on to wait for what it needs besides
	Drop               // it is not to wait here any more, and has had nothing
)

// Hand offers room to those that wait, in their order. It is called when room may have come: something was settled, or the time that a refusal named has come. try is
// called without locks, by one goroutine at a time. It returns how many were let go.
func (q *Queue) Hand(now time.Time, try func(w *Waiter) Answer) (granted int) {
	at := int64(now.Sub(q.epoch))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.again = true; q.handing {
		return 0
	}
	q.handing = true
	for q.again {
		q.again = false
		granted += q.hand(at, granted, try)
	}
	q.handing = false
	return granted
}

// hand is one round, in which each caller is passed over once at most. q.mu is held, but not while try is called.
func (q *Queue) hand(at int64, before int, try func(w *Waiter) Answer) (granted int) {
	q.pace.roll(at, q.busy())
	q.round++
	for {
		w, need := q.next(at)
		if w == nil {
			q.stuck = true
			return granted
		}
		w.offered = true
		q.mu.Unlock()
		answer := try(w)
		q.mu.Lock()
		w.offered = false
		if answer == Took || answer == On && !w.gone {
			w.flow.class.turn(w.flow, need, q.round)
			w.flow.pay(w.Cost)
			q.pace.add(w.Cost)
		}
		switch {
		case answer == Took:
			delay := time.Duration(0)
			if before+granted > 0 {
				delay = time.Duration(w.Draw * float64(q.o.Jitter))
			}
			granted++
			q.leave(w, Grant{Outcome: Granted, Delay: delay})
		case w.gone:
			q.leave(w, Grant{Outcome: Canceled})
		case answer == On || answer == Drop:
			q.leave(w, Grant{Outcome: Elsewhere})
		case answer == Stop:
			q.stuck = false
			return granted
		default:
			w.flow.passed = q.round
		}
	}
}

// next is whose turn it is, and what has to be credited to all for it; those that would be late are dropped. q.mu is held.
func (q *Queue) next(at int64) (*Waiter, int64) {
	for _, c := range q.classes {
		for {
			w, need := c.next(q.round)
			if w == nil {
				break
			}
			if plus(at, int64(w.Service)) <= w.deadline {
				return w, need
			}
			q.leave(w, Grant{Outcome: Late})
		}
	}
	return nil, 0
}

// First tells whether a request is the one that Hand offers room to first.
func (q *Queue) First(w *Waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.classes {
		if first, _ := c.next(q.round + 1); first != nil {
			return first == w
		}
	}
	return false
}

// Settle corrects what a caller was let through with, once its real tokens are known.
func (q *Queue) Settle(t *Ticket, tokens int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.class(t.Priority)
	f := c.flow(t.Caller)
	f.pay(minus(max(tokens, 0), max(t.Cost, 1)))
	c.forget(f)
}

// class finds or makes one. There are as many as priorities in the settings.
func (q *Queue) class(priority int) *class {
	i, found := slices.BinarySearchFunc(q.classes, priority, func(c *class, p int) int { return cmp.Compare(p, c.priority) })
	if !found {
		q.classes = slices.Insert(q.classes, i, &class{priority: priority, flows: map[ID]*flow{}})
	}
	return q.classes[i]
}
