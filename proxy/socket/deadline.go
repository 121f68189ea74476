package socket

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// deadline is one direction's. Telling the runtime's poller of a deadline costs a timer, and often the wake-up of a thread,
// each time; most reads and writes need not wait at all. So a deadline is only noted, and the poller is told when a call is
// about to wait, and then only if it knows none that is as early. When an earlier one that it knew passes, the waiter
// is woken for nothing, tells the poller the right one and waits on.
//
// A deadline that has passed is told at once: that is how others wake a waiter.
type deadline struct {
	want  atomic.Int64 // nanoseconds since epoch; 0: none; -1: passed when it was set
	armed atomic.Int64 // what the poller was told last
	tell  func(t time.Time) error
}

var epoch = time.Now().Add(-time.Second) // so that no deadline to come is 0

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// set is for the goroutine that reads or writes; with a deadline in the past it is for anybody.
func (d *deadline) set(t time.Time) error {
	w := d.note(t)
	if w >= 0 {
		return nil
	}
	d.armed.Store(-1)
	return d.tell(longAgo)
}

// setNow is for anybody: a waiter obeys at once.
func (d *deadline) setNow(t time.Time) error {
	w := d.note(t)
	d.armed.Store(w)
	return d.tell(t)
}

func (d *deadline) note(t time.Time) (w int64) {
	if !t.IsZero() {
		if w = int64(t.Sub(epoch)); w <= 0 {
			w = -1
		}
	}
	d.want.Store(w)
	return w
}

// arm is called by who is about to wait.
func (d *deadline) arm() {
	for {
		w, a := d.want.Load(), d.armed.Load()
		if w == 0 || w == a || a > 0 && a < w {
			return
		}
		d.tellAgain(w)
		if d.want.Load() == w { // otherwise somebody has set another, maybe before ours reached the poller
			return
		}
	}
}

func (d *deadline) tellAgain(w int64) {
	t := time.Time{}
	switch {
	case w < 0:
		t = longAgo
	case w > 0:
		t = epoch.Add(time.Duration(w))
	}
	d.armed.Store(w)
	_ = d.tell(t) // fails on a closed connection only, which the call reports
}

// early tells whether err says that a deadline has passed which is not the one in force. Then the poller knows the right one
// and the call may be made again.
func (d *deadline) early(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	for {
		w := d.want.Load()
		if w < 0 || w > 0 && int64(time.Since(epoch)) >= w {
			return false
		}
		d.tellAgain(w)
		if d.want.Load() == w {
			return true
		}
	}
}
