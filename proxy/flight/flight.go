package flight

import (
	"sync"
	"time"
)

// Flight is one request under way and what has come of it. The leader calls Hold, Announce, Publish, End and Land, in this order and one after the other; Abandon and
// Followed may be called at any time, by anybody.
type Flight[H, E any] struct {
	group *Group[H, E]
	id    ID
	cut   func()
	tries int
	next  *Flight[H, E] // that its followers meet on; guarded by the group's shard

	mu        sync.Mutex
	followers int
	tailed    bool // the leader reads along
	orphan    bool // the leader's own client has left: only the followers want the answer
	closed    bool // it can't be joined any more
	head      *H
	first     *piece // of all that was published; nil: it is not at hand as a whole any more
	last      *piece // to which is appended
	size      int    // bytes published
	end       *E
	held      uint64        // by whose affairs the leader is held up; 0: it is not
	until     time.Time     // it can be joined, once it has landed; zero: it has not
	news      chan struct{} // closed at the next change; nil: nobody waits for it
}

// piece is a stretch of what was published. What is in it stays; more may be appended, up to its capacity.
type piece struct {
	bytes []byte
	next  *piece
}

// pieceSize is the room of a piece: a few events of a stream.
const pieceSize = 4 << 10

// Tries counts what was tried for this answer before.
func (f *Flight[H, E]) Tries() int { return f.tries }

// Followed tells whether anybody follows. It may be called on nil.
func (f *Flight[H, E]) Followed() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.followers > 0
}

// board takes a follower in; nil where it is too late. Who only wants to know how it has ended is never too late.
func (f *Flight[H, E]) board(ended bool) *Reader[H, E] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.until.IsZero() && time.Now().After(f.until) { // the timer may be late
		f.closed = true
	}
	if f.first == nil || f.closed && !(ended && f.end != nil) {
		return nil
	}
	f.followers++
	f.group.follow.Add(1)
	return &Reader[H, E]{f: f, at: f.first}
}

// Announce tells what comes ahead of the bytes.
func (f *Flight[H, E]) Announce(head *H) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = head
	f.wake()
}

// Hold tells who follows that the leader is held up by somebody's own affairs, whom the number stands for; 0: it is not any more. It may be called on nil.
func (f *Flight[H, E]) Hold(by uint64) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == by {
		return
	}
	f.held = by
	f.wake()
}

// Publish appends bytes, which are copied. It may be called on nil.
func (f *Flight[H, E]) Publish(p []byte) {
	if f == nil || len(p) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size += len(p); f.size > f.group.o.Most {
		if f.first = nil; f.followers == 0 && !f.tailed { // nobody can want it any more
			f.last = nil
			return
		}
	}
	if f.last.bytes == nil {
		f.last.bytes = make([]byte, 0, max(pieceSize, len(p)))
	}
	if cap(f.last.bytes)-len(f.last.bytes) < len(p) {
		f.last.next = &piece{bytes: make([]byte, 0, max(pieceSize, len(p)))}
		f.last = f.last.next
	}
	f.last.bytes = append(f.last.bytes, p...)
	f.wake()
}

// Ended tells whether End was called. It may be called on nil.
func (f *Flight[H, E]) Ended() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end != nil
}

// End tells how it ended; only the first End counts. A flight that has failed can't be joined any more.
func (f *Flight[H, E]) End(failed bool, end *E) {
	f.mu.Lock()
	if f.end == nil {
		f.end = end
		f.closed = f.closed || failed
		f.wake()
	}
	f.mu.Unlock()
	if failed {
		f.group.remove(f)
	}
}

// Land ends the leader's part in a flight that has ended. For linger it can still be joined: until who comes next finds the answer where it is kept. It may be
// called on nil, and again.
func (f *Flight[H, E]) Land(linger time.Duration) {
	if f == nil {
		return
	}
	if linger > 0 {
		f.mu.Lock()
		f.until = time.Now().Add(linger)
		f.mu.Unlock()
		time.AfterFunc(linger, func() { f.Land(0) })
		return
	}
	f.group.remove(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// Abandon says that the leader's own client has left. It tells whether the work is to go on, for the followers; otherwise the flight can't be joined any more. It
// may be called on nil.
func (f *Flight[H, E]) Abandon() (goOn bool) {
	if f == nil {
		return false
	}
	f.mu.Lock()
	if f.end == nil {
		goOn = f.followers > 0
		f.orphan = f.orphan || goOn
		f.closed = f.closed || !goOn
	}
	unwanted := f.end == nil && !goOn
	f.mu.Unlock()
	if unwanted {
		f.group.remove(f)
	}
	return goOn
}

// Orphaned tells whether the work has gone on for the followers alone. It may be called on nil.
func (f *Flight[H, E]) Orphaned() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.orphan
}

// Tail is a reader of what is published from now on, for the leader itself while it is followed: it counts as no follower, and need not Leave.
func (f *Flight[H, E]) Tail() *Reader[H, E] {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tailed = true
	if f.last == nil {
		f.last = &piece{}
	}
	return &Reader[H, E]{f: f, at: f.last, off: len(f.last.bytes), read: f.size}
}

// wake tells all who wait that there are news. f.mu is held.
func (f *Flight[H, E]) wake() {
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
}
