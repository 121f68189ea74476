package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/proxy/pacing"
	"llm-auto-optimizer/proxy/socket"
	"llm-auto-optimizer/proxy/upstream"
)

const (
	// lingerTimeout and lingerBytes bound how long a connection whose request was not read to its end is read on after
	// the answer, so that the answer is not lost to a reset (compare nginx's lingering_close).
	lingerTimeout = 2 * time.Second
	lingerBytes   = 64 << 20
)

// clientConn is an accepted connection. It carries the tether by which the upstream work of its current exchange ends
// when the client leaves.
type clientConn struct {
	*socket.Conn
	secure *tls.Conn // over Conn, where clients speak TLS; else nil
	tether upstream.Tether

	clients *clients
	slot    int    // index in clients.slots
	gen     uint32 // tells this connection from an earlier one of the same slot
	linger  bool   // set by the connection's goroutine before Close

	answered bool // what fasthttp writes next is to be dropped: see front

	credential []byte // that the last request carried
	caller     hashID // its hash

	credentials    []byte // all that the last request for an answer that may be kept carried, with their names
	credentialsSum [32]byte

	account accountOf
	credit  creditOf
	pace    *pacing.Pace // of the last attempt with the client's own key or model

	tunnelling atomic.Bool // the connection is a tunnel's: its end shows in reading
	gone       atomic.Bool // nobody takes what is written any more

	flight atomic.Pointer[answerFlight] // that the exchange leads; its work does not end with the client where others want the answer

	writeUntil time.Time // write deadline as last set by armWrite

	close sync.Once
}

// leave runs when the client's end of the connection is seen closed, or the server gives up on it.
func (c *clientConn) leave() {
	if c.tunnelling.Load() {
		return
	}
	c.gone.Store(true)
	if !c.flight.Load().Abandon() {
		c.tether.Cut()
	}
	_ = c.SetWriteDeadline(time.Unix(1, 0)) // a writer that waits for this client waits in vain
}

// armWrite gives the client timeout to take what is written next. The deadline is moved only when a sixteenth of
// the time has passed since it was last set, so a steady stream of writes costs next to nothing. Only the
// connection's goroutine may call it.
func (c *clientConn) armWrite(now time.Time, timeout time.Duration) {
	if c.writeUntil.Sub(now) > timeout-timeout/16 {
		return
	}
	c.writeUntil = now.Add(timeout)
	_ = c.SetWriteDeadline(c.writeUntil)
	if c.gone.Load() { // leave has said so before it set its deadline, which must win; at a shutdown the client is still there
		_ = c.SetWriteDeadline(time.Unix(1, 0))
	}
}

// Close ends the watch and closes the connection.
func (c *clientConn) Close() (err error) {
	c.close.Do(func() {
		c.clients.remove(c)
		if c.linger {
			_ = c.CloseWrite()
			_ = c.Stream.SetReadDeadline(time.Now().Add(lingerTimeout))
			_, _ = io.CopyN(io.Discard, c.Stream, lingerBytes)
		}
		err = c.Stream.Close()
	})
	return err
}

// watcher tells when the peers of accepted connections close their end.
type watcher interface {
	add(c *clientConn) error
	// close ends the watch. Connections are removed by closing them.
	close()
}

// clients are the accepted connections, watched from accept to close: no work per request.
type clients struct {
	watch watcher
	rawIO bool // the setting server.raw_io

	mu    sync.Mutex
	slots []*clientConn // nil where free
	free  []int
	gens  []uint32
}

func newClients(rawIO bool) (*clients, error) {
	cs := &clients{rawIO: rawIO}
	w, err := newWatcher(cs)
	if err != nil {
		return nil, err
	}
	cs.watch = w
	return cs, nil
}

func (cs *clients) add(s socket.Stream) *clientConn {
	c := &clientConn{Conn: socket.Wrap(s, cs.rawIO), clients: cs}
	cs.mu.Lock()
	if n := len(cs.free); n > 0 {
		c.slot = cs.free[n-1]
		cs.free = cs.free[:n-1]
	} else {
		c.slot = len(cs.slots)
		cs.slots = append(cs.slots, nil)
		cs.gens = append(cs.gens, 0)
	}
	cs.gens[c.slot]++
	c.gen = cs.gens[c.slot]
	cs.slots[c.slot] = c
	cs.mu.Unlock()
	if err := cs.watch.add(c); err != nil {
		c.leave() // an unwatched client would keep its upstream running; refuse it
	}
	return c
}

func (cs *clients) remove(c *clientConn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.slots[c.slot] = nil
	cs.free = append(cs.free, c.slot)
}

// at is the connection that holds a slot in that generation, or nil.
func (cs *clients) at(slot int, gen uint32) *clientConn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if slot >= len(cs.slots) || cs.gens[slot] != gen {
		return nil
	}
	return cs.slots[slot]
}

// all are the connections of this moment.
func (cs *clients) all() []*clientConn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var open []*clientConn
	for _, c := range cs.slots {
		if c != nil {
			open = append(open, c)
		}
	}
	return open
}

// count is the number of open connections.
func (cs *clients) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.slots) - len(cs.free)
}

// listener hands every accepted connection to clients. Running out of descriptors or memory for a while must not end the
// server: fasthttp takes every error for the end, so those are waited out here.
type listener struct {
	net.Listener
	clients *clients
	tls     *tls.Config // nil: clients speak plain HTTP
	failed  func(error) // told of each error that is waited out
}

// acceptPause is how long accepting rests after an error.
const acceptPause = 50 * time.Millisecond

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			c := l.clients.add(nc.(socket.Stream)) //nolint:forcetypeassert // Serve refuses other listeners
			if l.tls != nil {
				c.overTLS(l.tls)
			}
			return front{c}, nil
		case errors.As(err, &passing) && passing.Temporary():
			l.failed(err)
			time.Sleep(acceptPause)
		default:
			return nil, err
		}
	}
}

// queueWait is how long a listener stays open for what is in its queue.
const queueWait = time.Second

// Close closes the listener once all connections that clients believe to have are accepted; somebody must go on accepting.
func (l *listener) Close() error {
	for end := time.Now().Add(queueWait); queued(l.Listener) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
	return l.Listener.Close()
}
