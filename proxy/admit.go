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

// identify finds the credential and the session in the headers; Gemini's key may stand in the query.
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
		}
	}
	if len(credential) == 0 {
		credential = queryKey(query)
	}
	return credential, session
}

func isCredential(name []byte) bool {
	for _, c := range credentialHeaders {
		if upstream.EqualFold(name, c) {
			return true
		}
	}
	return false
}

// queryKey is the value of the query's parameter "key".
func queryKey(query []byte) []byte {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		if v, ok := bytes.CutPrefix(pair, []byte("key=")); ok {
			return v
		}
	}
	return nil
}

// appendWithoutKey appends the query without its parameter "key".
func appendWithoutKey(dst, query []byte) []byte {
	first := true
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		if bytes.HasPrefix(pair, []byte("key=")) {
			continue
		}
		if !first {
			dst = append(dst, '&')
		}
		dst = append(dst, pair...)
		first = false
	}
	return dst
}
