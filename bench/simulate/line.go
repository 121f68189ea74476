package simulate

import (
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// line is those that wait for room, in virtual time: what the gateway does with goroutines and timers around limit.Queue.
type line struct {
	w       *world
	options limit.QueueOptions
	try     func(w *waiting) (a limit.Answer, next time.Duration) // takes room for one, or says when to look again
	begin   time.Duration                                         // until the first look of a new queue
	least   time.Duration                                         // between two looks
	longest time.Duration                                         // the same, whatever was said
	kept    *limit.Queue                                          // what is used each time that somebody waits; nil: another one
	queue   *limit.Queue                                          // nil: nobody waits
	all     []*waiting
	looks   int           // so far; older plans to look are void
	due     time.Duration // of the planned one
}

// waiting is one that waits.
type waiting struct {
	limit.Ticket
	waiter  *limit.Waiter
	in      *limit.Queue
	input   int64
	output  int64
	granted func(delay time.Duration)
	refused func()

	sent    limit.Sent    // what a pace has let through
	lease   limit.Lease   // what a gate has
	request limit.Request // of a gate
}

// join lets one wait until it is granted or refused; false where that is of no use. One of the two is called later, not before join has returned.
func (l *line) join(t *waiting, most time.Duration) bool {
	now := l.w.time()
	fresh := l.queue == nil
	switch {
	case fresh && l.kept != nil:
		l.queue = l.kept
		l.queue.Renew(l.options)
	case fresh:
		l.queue = limit.NewQueue(now, l.options)
	}
	t.Deadline, t.For = now.Add(most), t
	before := l.queue.Len()
	waiter, _ := l.queue.Push(now, &t.Ticket)
	if waiter == nil {
		if fresh {
			l.queue = nil
		}
		return false
	}
	t.waiter, t.in = waiter, l.queue
	l.all = append(l.all, t)
	if l.queue.Len() <= before { // others were pushed out
		l.collect()
	}
	queue := l.queue
	l.w.at(l.w.now+most, func() {
		if queue.Cancel(waiter) || len(waiter.Done()) > 0 {
			l.collect()
		}
	})
	if fresh {
		l.plan(l.begin)
	}
	return true
}

// plan looks again after a while.
func (l *line) plan(after time.Duration) {
	l.looks++
	look := l.looks
	l.due = l.w.now + min(max(after, l.least), l.longest)
	l.w.at(l.due, func() {
		if look == l.looks {
			l.hand()
		}
	})
}

// nudge says that something may have changed for those that wait.
func (l *line) nudge() {
	if l.queue != nil && l.due > l.w.now+l.least {
		l.plan(0)
	}
}

// hand lets those through that there is room for.
func (l *line) hand() {
	if l.queue == nil {
		return
	}
	next := l.longest
	l.queue.Hand(l.w.time(), func(w *limit.Waiter) limit.Answer {
		a, again := l.try(w.For.(*waiting)) //nolint:forcetypeassert // no others are pushed
		if a != limit.Took {
			next = min(next, again)
		}
		return a
	})
	l.collect()
	if l.queue != nil {
		l.plan(next)
	}
}

// collect tells those whose wait is over.
func (l *line) collect() {
	kept := l.all[:0]
	var over []func()
	for _, t := range l.all {
		select {
		case g := <-t.waiter.Done():
			if g.Outcome == limit.Granted {
				over = append(over, func() { t.granted(g.Delay) })
			} else {
				over = append(over, t.refused)
			}
		default:
			kept = append(kept, t)
		}
	}
	clear(l.all[len(kept):])
	l.all = kept
	if l.queue.Len() == 0 {
		l.queue = nil
	}
	for _, tell := range over {
		l.w.at(l.w.now, tell)
	}
}
