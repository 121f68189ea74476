//go:build !linux

package upstream

import "net"

// peerAcknowledged cannot be told here, so a request that was sent counts as possibly processed.
func peerAcknowledged(net.Conn, uint64) bool { return true }
