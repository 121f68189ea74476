//go:build !unix

package socket

import (
	"errors"
	"os"
	"time"
)

// trial waits for the shortest time in which a read is tried at all. It leaves the connection without a read deadline.
type trial struct{}

func (trial) read(c Stream, p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	n, err := c.Read(p)
	_ = c.SetReadDeadline(time.Time{})
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, ErrWouldBlock
	}
	return n, err
}
