package proxy

import (
	"bytes"
	"encoding/binary"

	"llm-auto-optimizer/proxy/limit"
)

// sessionHeader names the conversation that a request belongs to.
const sessionHeader = "x-llmopt-session"

// Domains keep the hashes of callers and of sessions apart.
const (
	callerDomain  = 'c'
	sessionDomain = 's'
)

// admit tells who sent the request and which conversation it belongs to.
func (p *Proxy) admit(x *Exchange) {
	credential := x.credential
	if len(credential) == 0 {
		credential = queryKey(x.query)
	}
	if len(credential) > 0 {
		x.caller, x.head = x.client.callerOf(credential, &p.hasher, x.head)
		x.subject.Caller = binary.LittleEndian.Uint64(x.caller[:])
		x.who = limit.ID(x.subject.Caller)
	}
	x.nameCaller()
	switch {
	case len(x.sessionName) > 0:
		x.session, x.head = p.hasher.hash(x.head, sessionDomain, x.caller[:], x.sessionName)
	case len(x.request.FirstUser) > 0:
		first, last, size := ends(x.request.FirstUser)
		x.session, x.head = p.hasher.hash(x.head, sessionDomain, x.caller[:], first, last, size[:])
	}
}

// endsSize is how much of either end of a long message tells its conversation.
const endsSize = 256

// ends stands for a message in a hash: all of it when it is short; else its length and both ends, since hashing the whole of
// a long prompt would cost more than all else that the proxy does for it.
func ends(message []byte) (first, last []byte, size [8]byte) {
	if len(message) <= 2*endsSize {
		return message, nil, size
	}
	binary.LittleEndian.PutUint64(size[:], uint64(len(message)))
	return message[:endsSize], message[len(message)-endsSize:], size
}

// callerOf is the hash of a credential. A connection mostly brings the same one again.
func (c *clientConn) callerOf(credential []byte, h *hasher, scratch []byte) (hashID, []byte) {
	if !bytes.Equal(credential, c.credential) {
		c.caller, scratch = h.hash(scratch, callerDomain, credential)
		c.credential = append(c.credential[:0], credential...)
	}
	return c.caller, scratch
}
