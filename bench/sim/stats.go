package sim

import (
	"encoding/json"
	"sync/atomic"
	"time"
)

// Stats is what the simulator has seen since it was made or last reset. Every request of an operation ends in exactly
// one of Completed, Broken, Canceled; until then it is InFlight.
type Stats struct {
	Calls           map[string]int64 `json:"calls"`            // requests by operation; those with none are left out
	Faults          map[string]int64 `json:"faults"`           // by name or status, as far as they took effect
	Connections     int64            `json:"connections"`      // accepted
	Open            int64            `json:"open"`             // open connections now, not reset
	InFlight        int64            `json:"in_flight"`        // requests whose answer is not finished now, not reset
	Completed       int64            `json:"completed"`        // answers sent to their end, errors included
	Broken          int64            `json:"broken"`           // answers that a fault of ours cut off
	Canceled        int64            `json:"canceled"`         // answers that the client did not wait for
	CanceledWaiting int64            `json:"canceled_waiting"` // of Canceled: before the first byte was sent
	Malformed       int64            `json:"malformed"`        // requests that are not HTTP or not safe to understand
	BytesIn         int64            `json:"bytes_in"`         // as they were on the wire, within TLS
	BytesOut        int64            `json:"bytes_out"`
	TokensInput     int64            `json:"tokens_input"` // sums of what usage in answers said, cached ones included
	TokensCached    int64            `json:"tokens_cached"`
	TokensOutput    int64            `json:"tokens_output"`
	Quota           *QuotaStats      `json:"quota,omitempty"` // nil: there was none
}

// Total is the number of calls of all operations.
func (s *Stats) Total() int64 {
	var n int64
	for _, c := range s.Calls {
		n += c
	}
	return n
}

type counters struct {
	calls           [operationsEnd]atomic.Int64
	faults          [len(faultNames)]atomic.Int64
	status          [600]atomic.Int64 // answers whose status a fault chose
	connections     atomic.Int64
	open            atomic.Int64
	inflight        atomic.Int64
	completed       atomic.Int64
	broken          atomic.Int64
	canceled        atomic.Int64
	canceledWaiting atomic.Int64
	malformed       atomic.Int64
	bytesIn         atomic.Int64
	bytesOut        atomic.Int64
	tokensInput     atomic.Int64
	tokensCached    atomic.Int64
	tokensOutput    atomic.Int64
}

// Stats returns the counters. They are read one after the other: sums are exact only while nothing is in flight.
func (s *Server) Stats() Stats {
	c := &s.stats
	st := Stats{
		Calls: map[string]int64{}, Faults: map[string]int64{},
		Connections: c.connections.Load(), Open: c.open.Load(), InFlight: c.inflight.Load(),
		Completed: c.completed.Load(), Broken: c.broken.Load(),
		Canceled: c.canceled.Load(), CanceledWaiting: c.canceledWaiting.Load(), Malformed: c.malformed.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		TokensInput: c.tokensInput.Load(), TokensCached: c.tokensCached.Load(), TokensOutput: c.tokensOutput.Load(),
		Quota: s.quota.report(time.Now()),
	}
	for op := range c.calls {
		if n := c.calls[op].Load(); n != 0 {
			st.Calls[operation(op).String()] = n
		}
	}
	for i := range c.faults {
		if n := c.faults[i].Load(); n != 0 {
			st.Faults[faultNames[i]] = n
		}
	}
	for code := range c.status {
		if n := c.status[code].Load(); n != 0 {
			st.Faults[itoa(code)] = n
		}
	}
	return st
}

// Reset sets the counters back, forgets cached prompts and stored objects, and starts script and quota anew. What is in
// flight goes on and is counted when it ends.
func (s *Server) Reset() {
	c := &s.stats
	for i := range c.calls {
		c.calls[i].Store(0)
	}
	for i := range c.faults {
		c.faults[i].Store(0)
	}
	for i := range c.status {
		c.status[i].Store(0)
	}
	for _, n := range []*atomic.Int64{
		&c.connections, &c.completed, &c.broken, &c.canceled, &c.canceledWaiting, &c.malformed, &c.bytesIn, &c.bytesOut,
		&c.tokensInput, &c.tokensCached, &c.tokensOutput,
	} {
		n.Store(0)
	}
	s.cache.reset()
	s.objects.reset()
	s.script.Store(newPlayer(s.opt.Script))
	s.quota.reset(&s.opt.Quota)
}

// SetScript replaces the script and starts it.
func (s *Server) SetScript(script Script) { s.script.Store(newPlayer(script)) }

// SetQuota replaces the quota while requests go on. What was used of a limit stays used where q has that limit in the same form.
func (s *Server) SetQuota(q Quota) { s.quota.set(&q, time.Now()) }

// control answers the simulator's own endpoints under /sim/.
func (x *exchange) control(a *answer) {
	switch path, method := string(x.req.path), string(x.req.method); {
	case path == "/sim/stats" && method == "GET":
		body, err := json.Marshal(x.srv.Stats())
		if err != nil {
			panic("BUG: stats: " + err.Error())
		}
		a.json(200, body)
	case path == "/sim/reset" && method == "POST":
		x.srv.Reset()
		a.status = 204
	case path == "/sim/script" && method == "POST":
		script, err := ParseScript(string(x.body))
		if err != nil {
			a.json(400, jsonObject("error", err.Error()))
			return
		}
		x.srv.SetScript(script)
		a.status = 204
	case path == "/sim/quota" && method == "POST":
		quota, err := ParseQuota(string(x.body))
		if err != nil {
			a.json(400, jsonObject("error", err.Error()))
			return
		}
		x.srv.SetQuota(quota)
		a.status = 204
	case path == "/sim/health":
		a.json(200, []byte(`{"status":"ok"}`))
	default:
		a.json(404, jsonObject("error", "no such endpoint of the simulator"))
	}
}
