package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/upstream"
)

// Domains keep the hashes of callers and of sessions apart.
const (
	callerDomain  = 'c'
	sessionDomain = 's'
)

// admit tells who sent the request and which conversation it belongs to.
func (p *Proxy) admit(ctx *fasthttp.RequestCtx, x *Exchange) {
	credential, session := identify(&ctx.Request.Header, x.query)
	if len(credential) > 0 {
		x.caller, x.head = p.hasher.hash(x.head, callerDomain, credential)
	}
	switch {
	case len(session) > 0:
		x.session, x.head = p.hasher.hash(x.head, sessionDomain, x.caller[:], session)
	case len(x.request.FirstUser) > 0:
		x.session, x.head = p.hasher.hash(x.head, sessionDomain, x.caller[:], x.request.FirstUser)
	}
}

// identify finds the credential and the session in the headers; the credential may also stand in the query.
func identify(h *fasthttp.RequestHeader, query []byte) (credential, session []byte) {
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw = nextLine(raw)
		if len(line) == 0 {
			break
		}
		name, value, _ := splitLine(line)
		switch len(name) {
		case 7, 9, 13, 14, 16:
			if upstream.EqualFold(name, "x-llmopt-session") {
				session = value
			} else if len(credential) == 0 && isCredential(name) {
				credential = bytes.TrimPrefix(value, []byte("Bearer "))
			}
		case len(webSocketProtocols):
			if len(credential) == 0 && upstream.EqualFold(name, webSocketProtocols) {
				credential = protocolKey(value)
			}
		}
	}
	if len(credential) == 0 {
		credential = queryKey(query)
	}
	return credential, session
}
