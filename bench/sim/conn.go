package sim

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// conn is one client connection, served by one goroutine. Only that goroutine touches it, but for state and close.
type conn struct {
	srv *Server
	nc  net.Conn     // TCP or TLS
	raw net.Conn     // below TLS
	tcp *net.TCPConn // raw, when it is one: resets and half-closes need it

	id     uint64
	served int // requests before the present one
	state  atomic.Int32

	in   []byte // in[r:w] has been read and not been used
	r, w int
	head []byte // of the present request; request aliases it
	out  []byte // waits to be written
	x    exchange
}

const (
	stateIdle   = iota // no byte of a request has come: may be closed at any time
	stateActive        // answering
	stateClosed
)

const (
	initialBuffer = 4 << 10
	maxHead       = 1 << 20 // beyond any proxy's limit: that limit is what tests want to see
	maxKept       = 256 << 10
)

var (
	errGone     = errors.New("client gone")
	errBroken   = errors.New("cut by a fault")
	errTooLarge = errors.New("too large")
)

// serve answers requests until one side wants the connection closed.
func (c *conn) serve() {
	c.x.c, c.x.srv = c, c.srv
	for c.serveOne() {
		c.served++
		if !c.state.CompareAndSwap(stateActive, stateIdle) || c.srv.closing.Load() {
			return
		}
		c.shrink()
	}
}

// serveOne reads and answers one request and tells whether another may follow.
func (c *conn) serveOne() bool {
	if c.r == c.w {
		if t := c.srv.opt.IdleTimeout; t > 0 && c.served > 0 {
			c.nc.SetReadDeadline(time.Now().Add(t))
		}
		if c.fill() != nil {
			return false
		}
		if c.srv.opt.IdleTimeout > 0 {
			c.nc.SetReadDeadline(time.Time{})
		}
	}
	if !c.state.CompareAndSwap(stateIdle, stateActive) {
		return false
	}
	if err := c.readHead(); err != nil {
		return c.refuse(err)
	}
	if err := c.x.req.parse(c.head); err != nil {
		return c.refuse(err)
	}
	return c.x.serve()
}

// refuse answers what is not a request and gives the connection up.
func (c *conn) refuse(err error) bool {
	status := "400 Bad Request"
	switch {
	case errors.Is(err, errTooLarge):
		status = "431 Request Header Fields Too Large"
	case !errors.Is(err, errMalformed):
		return false // it is the connection that failed
	}
	c.srv.stats.malformed.Add(1)
	c.out = append(c.out[:0], "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"...)
	_ = c.flush()
	c.linger()
	return false
}

// shrink gives up buffers that one huge exchange has left behind.
func (c *conn) shrink() {
	if len(c.in) > maxKept && c.r == c.w {
		c.in = nil
	}
	if cap(c.out) > maxKept {
		c.out = nil
	}
	c.x.shrink()
}

// fill reads once, at least one byte.
func (c *conn) fill() error {
	c.room()
	n, err := c.nc.Read(c.in[c.w:])
	c.w += n
	c.srv.stats.bytesIn.Add(int64(n))
	if n > 0 {
		return nil
	}
	return err
}

// room makes place behind w.
func (c *conn) room() {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	switch {
	case c.w < len(c.in):
	case c.r > 0:
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	default:
		c.in = append(c.in, make([]byte, max(initialBuffer, len(c.in)))...)
	}
}

// readHead moves the head of a request, its empty line included, to c.head.
func (c *conn) readHead() error {
	for from := c.r; ; {
		if i := bytes.Index(c.in[from:c.w], []byte("\r\n\r\n")); i >= 0 {
			end := from + i + 4
			c.head = append(c.head[:0], c.in[c.r:end]...)
			c.r = end
			return nil
		}
		if c.w-c.r > maxHead {
			return errTooLarge
		}
		seen := max(0, c.w-c.r-3)
		if err := c.fill(); err != nil {
			return err
		}
		from = c.r + seen
	}
}

// readLine returns a line without its end. The slice lives until the next read.
func (c *conn) readLine() ([]byte, error) {
	for {
		if i := bytes.Index(c.in[c.r:c.w], crlf); i >= 0 {
			line := c.in[c.r : c.r+i]
			c.r += i + 2
			return line, nil
		}
		if c.w-c.r > maxHead {
			return nil, errTooLarge
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// readFull appends n bytes to dst.
func (c *conn) readFull(dst []byte, n int64) ([]byte, error) {
	for n > 0 {
		if c.r < c.w {
			k := int(min(n, int64(c.w-c.r)))
			dst = append(dst, c.in[c.r:c.r+k]...)
			c.r += k
			n -= int64(k)
			continue
		}
		if free := cap(dst) - len(dst); free < 16<<10 && int64(free) < n {
			dst = append(dst, make([]byte, min(n, max(16<<10, int64(len(dst)))))...)[:len(dst)]
		}
		k, err := c.nc.Read(dst[len(dst):min(int64(cap(dst)), int64(len(dst))+n)])
		dst = dst[:len(dst)+k]
		n -= int64(k)
		c.srv.stats.bytesIn.Add(int64(k))
		if err != nil && n > 0 {
			return dst, err
		}
	}
	return dst, nil
}

// flush writes what waits in c.out.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	n, err := c.nc.Write(c.out)
	c.srv.stats.bytesOut.Add(int64(n))
	c.out = c.out[:0]
	if err != nil {
		return errGone
	}
	return nil
}

// wait lets d pass, or returns errGone as soon as the client is seen to have left: it waits in a read. Bytes that
// come meanwhile are a further request and are kept. A negative d waits for nothing but the client to leave.
func (c *conn) wait(d time.Duration) error {
	if d == 0 {
		return nil
	}
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d)
	}
	return c.waitUntil(until)
}

// waitUntil is wait with the time at which it ends; a time that has passed costs nothing, the zero time never comes.
func (c *conn) waitUntil(t time.Time) error {
	if !t.IsZero() && time.Until(t) <= 0 {
		return nil
	}
	c.nc.SetReadDeadline(t)
	for {
		if c.w-c.r > maxHead { // more requests in advance than we are ready to keep: go on without watching
			c.nc.SetReadDeadline(time.Time{})
			if t.IsZero() {
				return errGone
			}
			return c.srv.sleep(time.Until(t))
		}
		switch err := c.fill(); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.nc.SetReadDeadline(time.Time{})
			return nil
		default:
			return errGone
		}
	}
}

// close ends the connection at once. It is the one method other goroutines may call.
func (c *conn) close() { c.raw.Close() }

// reset ends the connection with RST.
func (c *conn) reset() {
	if c.tcp != nil {
		_ = c.tcp.SetLinger(0) // fails on a closed connection only
	}
	c.raw.Close()
}

// linger says that nothing more will be sent and reads on for a while, so that what was sent is not lost to the reset
// that unread bytes would cause.
func (c *conn) linger() {
	const patience = time.Second
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // a client that is gone needs no farewell
	}
	c.nc.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, c.nc) // ends in the deadline at the latest
}
