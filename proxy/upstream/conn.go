package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"llm-auto-optimizer/proxy/socket"
)

const (
	// readBuffer is what one read may bring. 8 KiB: smaller costs CPU on fast streams, larger gains nothing.
	readBuffer = 8 << 10
	// maxHead bounds an answer's status line and headers.
	maxHead = 256 << 10
	// JoinLimit is the body size up to which head and body are copied together into one write; above it they go out
	// as one vector.
	JoinLimit = 4 << 10
)

// buffers are read buffers of connections that have been closed: streams that are cut take their connections with them.
var buffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// countedConn counts the bytes that were given to the kernel, so that they can be compared with those that the
// peer has acknowledged.
type countedConn struct {
	*socket.Conn
	written uint64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written += uint64(n)
	return n, err
}

func (c *countedConn) WriteBoth(a, b []byte) error {
	n, err := c.Conn.WriteBoth(a, b)
	c.written += uint64(n)
	return err
}

// Conn is one connection to an origin. Its methods belong to one goroutine at a time, except that WriteRequest may run
// beside the reading ones: writing and reading share no state.
type Conn struct {
	nc      net.Conn     // TLS or plain
	counted *countedConn // below TLS
	origin  *Origin
	tether  *Tether

	buf  []byte            // what was read and not yet handed out is buf[r:w]
	own  *[readBuffer]byte // what buf is, unless a large head has made it grow
	r, w int

	idleSince time.Time
	pooled    bool     // it has waited in the pool before the current request
	question  question // under way
	before    uint64   // bytes written before the current request
	answered  bool     // a byte of the current answer has arrived
	keep      bool     // the answer allows the connection to be used again

	Head Head // of the current answer
	body body
}

// Buffered is the number of bytes that were read and not yet handed out.
func (c *Conn) Buffered() int { return c.w - c.r }

// SetDeadline bounds all reads and writes from now on. A cut wins over any deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.nc.SetDeadline(t)
	return c.checkCut()
}

// SetReadDeadline bounds reads from now on.
func (c *Conn) SetReadDeadline(t time.Time) error {
	_ = c.nc.SetReadDeadline(t)
	return c.checkCut()
}

// HurryRead bounds a read that is under way. It is for others than the reading goroutine.
func (c *Conn) HurryRead(t time.Time) { _ = c.counted.HurryRead(t) }

// checkCut runs after a deadline was set: whoever cuts marks the tether first and sets his deadline second, so
// either he is seen here or his deadline comes later than ours.
func (c *Conn) checkCut() error {
	if c.tether.IsCut() {
		return ErrCut
	}
	return nil
}

// WriteRequest sends a request's head and body, which the caller must not change until it returns. body may be empty.
// The head's backing array may be appended to.
func (c *Conn) WriteRequest(head, body []byte) error {
	var err error
	switch _, isTCP := c.nc.(*countedConn); {
	case len(body) == 0:
		_, err = c.nc.Write(head)
	case len(body) <= JoinLimit:
		_, err = c.nc.Write(append(head, body...))
	case isTCP:
		err = c.counted.WriteBoth(head, body)
	default:
		if _, err = c.nc.Write(head); err == nil {
			_, err = c.nc.Write(body)
		}
	}
	if err != nil && c.tether.IsCut() {
		return ErrCut
	}
	return err
}

// SetWriteDeadline bounds writes from now on. It may run beside the reading methods.
func (c *Conn) SetWriteDeadline(t time.Time) { _ = c.nc.SetWriteDeadline(t) }

// Write sends a piece of a request whose head has been sent.
func (c *Conn) Write(p []byte) (int, error) { return c.nc.Write(p) }

// Interrupt wakes whoever reads or writes the connection, from any goroutine. It must be closed afterwards.
func (c *Conn) Interrupt() { _ = c.nc.SetDeadline(longAgo) }

// CloseWrite ends our side of a tunnel: the peer sees the end after all that was written.
func (c *Conn) CloseWrite() error {
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok { // TLS
		return w.CloseWrite()
	}
	return c.counted.CloseWrite()
}

// fill reads once. It makes room by growing the buffer (up to limit) when it is full of unconsumed bytes.
func (c *Conn) fill(limit int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		if len(c.buf) >= limit {
			return errHeadTooLarge
		}
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		c.answered = true
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	if c.tether.IsCut() {
		return ErrCut
	}
	return err
}

// MayRepeat tells whether a request that ended in err may be sent again on a new connection: the peer had closed this one
// without a byte of an answer, and the request either is safe to repeat or certainly reached nobody.
func (c *Conn) MayRepeat(err error, safe bool) bool {
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	// A bare reset proves nothing: the kernel does not take the acknowledgement that it carries.
	unseen := !errors.Is(err, syscall.ECONNRESET) && !peerAcknowledged(c.counted.Stream, c.before)
	return closed && !c.answered && (safe || unseen)
}

// Timeout tells whether err means that a deadline has passed.
func Timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// ErrStale says that a pooled connection had ended, or held bytes that nobody had asked for. Nothing was sent on it.
var ErrStale = errors.New("kept-alive connection is stale")

// question is a request whose answer is waited for from before it is sent.
type question struct {
	head, body []byte
	sent       bool
	ask        func() bool // bound once
}

// Ask sends a request as WriteRequest does and may wait until its answer can be read. sent tells whether it went out whole;
// why it did not is left to the reading side, which may find that the peer has answered all the same. The only error is
// ErrStale.
func (c *Conn) Ask(head, body []byte) (sent bool, err error) {
	if c.pooled && c.counted.Converses() {
		q := &c.question
		if q.ask == nil {
			q.ask = func() bool {
				q.sent = c.WriteRequest(q.head, q.body) == nil
				return q.sent
			}
		}
		q.head, q.body, q.sent = head, body, false
		err = c.counted.Converse(q.ask)
		q.head, q.body = nil, nil
		if !errors.Is(err, socket.ErrNotSilent) {
			c.origin.Reuses.Add(1)
			return q.sent, nil
		} // it may still be TLS session tickets
	}
	if !c.Usable() {
		return false, ErrStale
	}
	return c.WriteRequest(head, body) == nil, nil
}

// Usable tells whether a connection may be written to: one that has waited in the pool must be open and silent. Bytes that
// nobody asked for would be taken for the next answer; most often they are a provider's 408 before it closes.
func (c *Conn) Usable() bool {
	switch {
	case !c.pooled:
		return true
	case c.silent():
		c.origin.Reuses.Add(1)
		return true
	default:
		c.origin.Stale.Add(1)
		return false
	}
}

func (c *Conn) silent() bool {
	c.counted.Instant(true)
	n, err := c.nc.Read(c.buf[:1]) // above TLS, so that session tickets don't count
	c.counted.Instant(false)
	return n == 0 && errors.Is(err, socket.ErrWouldBlock)
}

// Release ends the use of the connection. It is kept for another request if the answer was read to its end, nothing
// was left over, the peer did not say close, and nobody has cut the exchange; otherwise it is closed.
func (c *Conn) Release() {
	untouched := c.tether.detach()
	c.tether = nil
	if !untouched || !c.keep || !c.body.done || c.r != c.w {
		c.Close()
		return
	}
	c.reset()
	c.origin.put(c)
}

// Discard ends the use of the connection and closes it.
func (c *Conn) Discard() {
	if c.tether != nil {
		c.tether.detach()
		c.tether = nil
	}
	c.Close()
}

// Move ties a connection that nobody waits on to another tether; false where that was cut.
func (c *Conn) Move(to *Tether) bool {
	c.tether.detach()
	return to.attach(c)
}

// Close closes the connection, which must be detached or never attached.
func (c *Conn) Close() {
	c.origin.open.Add(-1)
	_ = c.counted.Close() // below TLS: a close_notify could block on a peer that does not read
	buffers.Put(c.own)
	c.buf, c.own = nil, nil
}

// reset forgets the last exchange. The buffer shrinks back if a large head had made it grow.
func (c *Conn) reset() {
	c.buf = c.own[:]
	c.r, c.w = 0, 0
	c.answered, c.keep = false, false
	c.body = body{}
	c.Head = Head{fields: c.Head.fields[:0]}
}
