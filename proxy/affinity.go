package proxy

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"llm-auto-optimizer/proxy/pick"
)

// affinityStep is about 512 tokens: the parts of a prompt that are told apart. Of pick.MaxPrefix parts on nothing more is looked at.
const affinityStep = 2048

// affinity is what requests have in common that a provider's prompt cache would know: who asks which model, and the session that the request names, or the
// begin of its body up to the end of the first user message, which stays the same when the conversation goes on.
func (x *Exchange) affinity() (p pick.Prefix) {
	var d xxhash.Digest
	d.ResetWithSeed(binary.LittleEndian.Uint64(x.caller[:]))
	_, _ = d.Write(x.request.Model)
	if len(x.sessionName) > 0 {
		_, _ = d.Write(x.session[:])
		p.Add(d.Sum64())
		return p
	}
	rest := x.body[:x.prefixLen()]
	for len(rest) > affinityStep {
		_, _ = d.Write(rest[:affinityStep])
		rest = rest[affinityStep:]
		p.Add(d.Sum64())
	}
	_, _ = d.Write(rest)
	p.Add(d.Sum64())
	return p
}

// prefixLen is the length of the part of the body that is looked at.
func (x *Exchange) prefixLen() int {
	n := min(len(x.body), affinityStep*pick.MaxPrefix)
	if first := x.request.FirstUser; len(first) > 0 {
		if end := cap(x.body) - cap(first) + len(first); end > 0 && end < n { // it is a part of the body
			n = end
		}
	}
	return n
}
