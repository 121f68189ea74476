//go:build unix

package socket

import (
	"io"
	"os"
	"syscall"
)

// trial reads without waiting. The descriptor is non-blocking, and Control neither waits for a reader nor looks at
// deadlines. The function is bound once, so that no trial allocates.
type trial struct {
	conn syscall.RawConn
	do   func(fd uintptr)
	p    []byte
	n    int
	err  error
}

func (t *trial) read(c Stream, p []byte) (int, error) {
	if t.do == nil {
		rc, err := c.SyscallConn()
		if err != nil {
			return 0, err
		}
		t.conn, t.do = rc, t.once
	}
	t.p = p
	err := t.conn.Control(t.do)
	t.p = nil
	switch {
	case err != nil:
		return 0, err
	case t.err == syscall.EAGAIN: //nolint:errorlint // a bare errno
		return 0, ErrWouldBlock
	case t.err != nil:
		return 0, opError("read", c, os.NewSyscallError("read", t.err))
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}

func (t *trial) once(fd uintptr) {
	for {
		if t.n, t.err = syscall.Read(int(fd), t.p); t.err != syscall.EINTR { //nolint:errorlint // a bare errno
			return
		}
	}
}
