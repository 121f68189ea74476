//go:build unix

package proxy

import (
	"syscall"
	"time"
)

// sweepInterval is how long a client may be gone before the sweep sees it.
const sweepInterval = 250 * time.Millisecond

// sweepWatcher looks at every connection's socket four times a second. It serves where there is no epoll. Bytes of a
// pipelined request that wait in the socket hide the end behind them.
type sweepWatcher struct {
	clients    *clients
	stop, done chan struct{}
}

func newSweepWatcher(cs *clients) *sweepWatcher {
	w := &sweepWatcher{clients: cs, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

func (*sweepWatcher) add(*clientConn) error { return nil }

func (w *sweepWatcher) run() {
	defer close(w.done)
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, c := range w.clients.all() {
				if peerClosed(c) {
					c.leave()
				}
			}
		case <-w.stop:
			return
		}
	}
}

func (w *sweepWatcher) close() {
	close(w.stop)
	<-w.done
}

// peerClosed looks into the socket without taking anything from it. It uses Control, which does not wait for
// a reader as RawConn.Read would.
func peerClosed(c *clientConn) (closed bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = (err == nil && n == 0) || err == syscall.ECONNRESET
	})
	return closed || err != nil
}
