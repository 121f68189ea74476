// Package proxy is the request path: it takes a client's request to a provider and the answer back, and leaves a
// record of what every attempt cost.
//
//	client ── decode ── admit ── route ── dispatch ── stream ── record
//	            │         │        │         │          │          │
//	        provider,  caller,  target:   attempts:  bytes to   usage, cost,
//	        operation, session, provider  deadlines, the client outcome, windows,
//	        model,     size     and       repeat on  as they    metrics, log
//	        class      limits   model     stale conn come
//
// Each stage is one file of that name; Proxy.Handle calls them in this order. An Exchange goes through them, obeys the one
// policy snapshot that it loaded at its start, and ends with exactly one call to record.
//
// fasthttp reads the requests; answers are written by the exchange itself, to the connection (front.go says how the two get
// along). When Handle returns, all is over, unless the connection became a tunnel.
//
// Words: an exchange is one client request and its answer; an attempt is one try of it at one target; a target is a
// provider with an upstream model; a caller is who sent it, known by a keyed hash of the credential; a session is a
// conversation. The other words stand in the project's design notes and mean the same here.
package proxy
