package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCut says that the exchange was ended from outside: its client has left or the server is shutting down.
var ErrCut = errors.New("exchange cut")

// longAgo is a deadline that has passed: setting it wakes whoever reads or writes the connection.
var longAgo = time.Unix(1, 0)

// Tether ties the upstream work of a client connection's exchange to that client's presence. One per client
// connection. Cut may be called by anybody at any time; the rest by the exchange's goroutine alone.
type Tether struct {
	cut atomic.Bool

	woken atomic.Bool // and not attached to another connection since

	mu     sync.Mutex
	conn   *Conn              // in use by the current exchange
	cancel context.CancelFunc // of the dial under way
}

// Cut ends the current exchange's upstream work, and every later one's before it starts. It does not block.
func (t *Tether) Cut() {
	t.cut.Store(true) // before the deadline: see Conn.arm
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		_ = t.conn.nc.SetDeadline(longAgo)
	}
	if t.cancel != nil {
		t.cancel()
	}
}

// Wake ends the wait on the current connection or dial, which fails as if its deadline had passed. Anybody may call it.
func (t *Tether) Wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken.Store(true)
	if t.conn != nil {
		_ = t.conn.nc.SetDeadline(longAgo)
	}
	if t.cancel != nil {
		t.cancel()
	}
}

// Woken tells whether Wake was called since this was last asked.
func (t *Tether) Woken() bool { return t.woken.Swap(false) }

// Await waits until done is closed, or until the tether is cut, which it tells.
func (t *Tether) Await(done <-chan struct{}) (cut bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !t.attachDial(cancel) {
		return true
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	return t.detachDial()
}

// Attend gives a context for the time of a wait, which is done when the tether is cut, or at the deadline; zero: there is none. release ends it.
func (t *Tether) Attend(deadline time.Time) (ctx context.Context, release func()) {
	var cancel context.CancelFunc
	if deadline.IsZero() {
		ctx, cancel = context.WithCancel(context.Background())
	} else {
		ctx, cancel = context.WithDeadline(context.Background(), deadline)
	}
	if !t.attachDial(cancel) {
		cancel()
		return ctx, cancel
	}
	return ctx, func() {
		t.detachDial()
		cancel()
	}
}

// IsCut tells whether Cut was called.
func (t *Tether) IsCut() bool { return t.cut.Load() }

func (t *Tether) attach(c *Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut.Load() {
		return false
	}
	t.conn, c.tether = c, t
	return true
}

// detach takes the connection away from the tether's reach and tells whether its deadline was never touched.
func (t *Tether) detach() (untouched bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = nil
	return !t.cut.Load()
}

func (t *Tether) attachDial(cancel context.CancelFunc) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut.Load() {
		return false
	}
	t.cancel = cancel
	return true
}

func (t *Tether) detachDial() (cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel = nil
	return t.cut.Load()
}

// Sleep waits for d, or until the tether is cut, which it tells.
func (t *Tether) Sleep(d time.Duration) (cut bool) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if !t.attachDial(cancel) {
		return true
	}
	<-ctx.Done()
	return t.detachDial()
}
