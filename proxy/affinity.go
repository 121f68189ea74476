package proxy

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// affinityBytes is how much of a prompt's begin tells which requests belong together: about 2,000 tokens.
const affinityBytes = 8000

// affinityKey is what requests have in common that a provider's prompt cache would know: who asks which model, and the session that the request names,
// or the begin of its body up to the end of the first user message. It is never 0.
func (x *Exchange) affinityKey() uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(binary.LittleEndian.Uint64(x.caller[:]))
	_, _ = d.Write(x.request.Model)
	if len(x.sessionName) > 0 {
		_, _ = d.Write(x.session[:])
	} else {
		_, _ = d.Write(x.body[:x.prefixLen()])
	}
	return d.Sum64() | 1
}

// prefixLen is the length of the part of the body that stays the same when the conversation goes on.
func (x *Exchange) prefixLen() int {
	n := min(len(x.body), affinityBytes)
	if first := x.request.FirstUser; len(first) > 0 {
		if end := cap(x.body) - cap(first) + len(first); end > 0 && end < n { // it is a part of the body
			n = end
		}
	}
	return n
}
