package proxy

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newWatcher watches through one epoll set, which every connection joins once, when it is accepted; closing the
// connection removes it. Go's own poller waits for the set to become readable, so the watch costs no thread, and
// nothing at all per request.
func newWatcher(cs *clients) (watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch clients: %w", os.NewSyscallError("epoll_create1", err))
	}
	if err := unix.SetNonblock(fd, true); err != nil { // makes os.NewFile hand it to the poller
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch clients: %w", err)
	}
	w := &epollWatcher{clients: cs, set: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{})}
	go w.run()
	return w, nil
}

type epollWatcher struct {
	clients *clients
	set     *os.File
	fd      int
	done    chan struct{}
}

func (w *epollWatcher) add(c *clientConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	ev := unix.EpollEvent{
		Events: unix.EPOLLRDHUP | unix.EPOLLET, // EPOLLHUP and EPOLLERR come unasked
		Fd:     int32(c.slot),                  //nolint:gosec // bounded by the number of descriptors
		Pad:    int32(c.gen),                   //nolint:gosec // only compared
	}
	var ctlErr error
	if err := raw.Control(func(fd uintptr) {
		ctlErr = unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, int(fd), &ev)
	}); err != nil {
		return err
	}
	return ctlErr
}

func (w *epollWatcher) run() {
	defer close(w.done)
	raw, err := w.set.SyscallConn()
	if err != nil {
		panic("BUG: epoll set: " + err.Error())
	}
	events := make([]unix.EpollEvent, 256)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			if errors.Is(err, syscall.EINTR) {
				n = 0
			}
			return n != 0
		})
		if err != nil || n < 0 {
			return // closed
		}
		for _, ev := range events[:n] {
			if c := w.clients.at(int(ev.Fd), uint32(ev.Pad)); c != nil { //nolint:gosec // as stored
				c.leave()
			}
		}
	}
}

func (w *epollWatcher) close() {
	_ = w.set.Close()
	<-w.done
}
