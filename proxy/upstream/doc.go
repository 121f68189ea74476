// Package upstream holds the connections to the providers: dialling, keeping them alive, reading answers off them,
// deadlines and cancellation.
//
// An Origin is where one provider lives. It hands out a Conn, on which one request at a time is written and its
// answer read: the head once, then the body piece by piece, each piece being what one read brought with the
// chunk framing taken out in place. A Conn belongs to one goroutine, which alone reads it, releases it or closes it.
//
// Somebody else may want the exchange to end: the client has left, the server shuts down. He calls Cut on the
// client's Tether, which only moves the connection's deadline into the past; the reading goroutine wakes up,
// sees that it was cut, and closes. A connection that was ever cut is never reused, so no byte of one exchange
// can reach another.
//
//	client connection ── Tether ──▶ Conn ──▶ Origin (idle connections, dialler, TLS)
//	      Cut: deadline in the past   └─ Detach, then Release or Close by the reader alone
package upstream
