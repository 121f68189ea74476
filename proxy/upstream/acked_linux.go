package upstream

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerAcknowledged tells whether the peer's kernel has acknowledged any byte beyond the first `before` ones that were
// written to the connection. The FIN that ended the connection carries the peer's last acknowledgement (that of a reset is not taken), so
// once a read has reported the end, "not acknowledged" means that the peer closed before the bytes arrived and no
// program there can have seen them. Where it cannot be told the answer is true.
func peerAcknowledged(nc net.Conn, before uint64) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	acked := ^uint64(0)
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			acked = info.Bytes_acked
		}
	})
	// tcpi_bytes_acked counts the SYN as one byte.
	return err != nil || acked > before+1
}
