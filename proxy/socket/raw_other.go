//go:build !linux

package socket

import "net"

// raw has no form on this system.
type raw struct{ in, out struct{ deadline deadline } }

func newRaw(Stream) *raw { return nil }

func (*raw) read(c Stream, p []byte) (int, error)    { return c.Read(p) }
func (*raw) converse(func() bool) error              { panic("BUG: no raw connections here") }
func (*raw) tryRead(c Stream, p []byte) (int, error) { return c.Read(p) }
func (*raw) write(c Stream, p []byte) (int, error)   { return c.Write(p) }

func (*raw) writeBoth(c Stream, a, b []byte) (int, error) {
	vec := net.Buffers{a, b}
	n, err := vec.WriteTo(c)
	return int(n), err
}
