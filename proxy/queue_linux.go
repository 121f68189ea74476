package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

// queued is how many connections the system has taken for a listener that nobody has accepted yet. Closing the listener resets them.
func queued(ln net.Listener) (n int) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Unacked) // of a listening socket: the length of its queue
		}
	})
	return n
}
