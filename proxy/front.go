package proxy

import (
	"crypto/tls"
	"net"
)

// front is what fasthttp holds of a client's connection: it reads requests from it, one after the other. Answers are written
// by the exchanges themselves, which know better how: the provider's header lines as they came, each piece of a
// stream at once, nothing kept while a stream waits. fasthttp has no way to be told that a request has been answered, so the
// few bytes that it writes then are dropped.
type front struct{ *clientConn }

// Read implements net.Conn.
func (f front) Read(p []byte) (int, error) {
	if f.secure != nil {
		return f.secure.Read(p)
	}
	return f.Conn.Read(p)
}

// Write implements net.Conn.
func (f front) Write(p []byte) (int, error) {
	if f.answered {
		f.answered = false // an empty answer's head is one write
		return len(p), nil
	}
	return f.write(p)
}

// Close implements net.Conn.
func (f front) Close() error {
	if f.secure != nil {
		return f.secure.Close()
	}
	return f.clientConn.Close()
}

// write writes to the client.
func (c *clientConn) write(p []byte) (int, error) {
	if c.secure != nil {
		return c.secure.Write(p)
	}
	return c.Conn.Write(p)
}

// writeBoth writes two pieces in order.
func (c *clientConn) writeBoth(a, b []byte) error {
	if c.secure == nil {
		_, err := c.WriteBoth(a, b)
		return err
	}
	_, err := c.secure.Write(a)
	if err == nil {
		_, err = c.secure.Write(b)
	}
	return err
}

// overTLS has the connection speak TLS. The handshake is made by whoever reads or writes first.
func (c *clientConn) overTLS(t *tls.Config) { c.secure = tls.Server(c, t) }

// clientOf finds the accepted connection behind fasthttp's.
func clientOf(nc net.Conn) *clientConn {
	f, ok := nc.(front)
	if !ok {
		panic("BUG: connection was not accepted by our listener")
	}
	return f.clientConn
}
