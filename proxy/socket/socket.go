// Package socket wraps TCP and Unix connections so that reading and writing cost less and reading can be tried without waiting.
//
// The Go runtime brackets every read and write of a connection as a call that might block, which wakes its monitor thread
// whenever the process had been idle; the thread then polls every 20 µs. At moderate rates that costs more than the
// proxy's own work. Sockets are non-blocking anyway, so on Linux this package makes the system calls without the
// bracket (raw_linux.go); waiting stays with the runtime's poller, and deadlines and Close work as ever. Elsewhere, and
// where it is switched off, calls go the ordinary way.
package socket

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Stream is a connection of the system: TCP or a Unix socket.
type Stream interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

var _, _ Stream = (*net.TCPConn)(nil), (*net.UnixConn)(nil)

// Conn is a connection over a Stream. One goroutine may read it while another writes, and anybody may close it. The deadline of a
// direction belongs to the goroutine that uses the direction; others may set one that has passed, to wake it, and use
// HurryRead.
type Conn struct {
	Stream
	raw     *raw // nil: the ordinary way
	trial   trial
	instant bool // Read does not wait

	pieces [2][]byte // of a vectored write in the ordinary way
	vec    net.Buffers
}

// Wrap makes a Conn. useRaw asks for the cheap way, where the system has one.
func Wrap(s Stream, useRaw bool) *Conn {
	c := &Conn{Stream: s}
	if useRaw {
		c.raw = newRaw(s)
	}
	return c
}

// Read implements net.Conn. While the connection is instant, ErrWouldBlock says that there is nothing to read now.
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case c.instant && c.raw != nil:
		return c.raw.tryRead(c.Stream, p)
	case c.instant:
		return c.trial.read(c.Stream, p)
	case c.raw != nil:
		return c.raw.read(c.Stream, p)
	}
	return c.Stream.Read(p)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw != nil {
		return c.raw.write(c.Stream, p)
	}
	return c.Stream.Write(p)
}

// WriteBoth writes two pieces in order with as few system calls as the way allows.
func (c *Conn) WriteBoth(a, b []byte) (int, error) {
	if c.raw != nil {
		return c.raw.writeBoth(c.Stream, a, b)
	}
	c.pieces = [2][]byte{a, b}
	c.vec = c.pieces[:]
	n, err := c.vec.WriteTo(c.Stream)
	c.pieces = [2][]byte{}
	return int(n), err
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.raw != nil {
		return c.raw.in.deadline.set(t)
	}
	return c.Stream.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.raw != nil {
		return c.raw.out.deadline.set(t)
	}
	return c.Stream.SetWriteDeadline(t)
}

// HurryRead sets the read deadline for whoever reads now.
func (c *Conn) HurryRead(t time.Time) error {
	if c.raw != nil {
		return c.raw.in.deadline.setNow(t)
	}
	return c.Stream.SetReadDeadline(t)
}

// Converses tells whether Converse can be used.
func (c *Conn) Converses() bool { return c.raw != nil }

// Converse waits for the answer to what send writes to the connection: it returns when there is something to read, or the end,
// or when the read deadline has passed, or at once when send returns false. If something had come in before, it returns ErrNotSilent, and send is not called.
// It costs one system call less than looking, sending, and reading. It belongs to the reading goroutine.
func (c *Conn) Converse(send func() bool) error { return c.raw.converse(send) }

// ErrNotSilent says that bytes, or the connection's end, came before anything was asked for.
var ErrNotSilent = errors.New("connection is not silent")

// Instant makes Read return at once from now on, or wait again. It belongs to the reading goroutine. A deadline is not
// looked at while reading is instant.
func (c *Conn) Instant(on bool) { c.instant = on }

// ErrWouldBlock says that an instant Read found nothing. It is a temporary net.Error, so that a TLS connection above
// stays usable.
var ErrWouldBlock error = wouldBlockError{}

type wouldBlockError struct{}

func (wouldBlockError) Error() string   { return "nothing to read now" }
func (wouldBlockError) Timeout() bool   { return true }
func (wouldBlockError) Temporary() bool { return true }

// opError dresses an error as package net does.
func opError(op string, c Stream, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
