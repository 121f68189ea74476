package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// ownPrefix starts the headers that are meant for the gateway and go no further.
const ownPrefix = "x-llmopt-"

// buildHead writes the request line and headers for the provider into x.head: the client's own lines in their order and
// spelling, without those that concern one hop only, with the host, the framing and the configured headers of ours.
func (x *Exchange) buildHead(h *fasthttp.RequestHeader) {
	o := x.provider.origin
	b := append(x.head[:0], x.method...)
	b = append(b, ' ')
	b = provider.AppendPath(b, o.BasePath, x.path)
	if len(x.query) > 0 {
		mark := len(b)
		b = append(b, '?')
		if x.provider.hasKey {
			b = appendWithoutKey(b, x.query)
		} else {
			b = append(b, x.query...)
		}
		if len(b) == mark+1 {
			b = b[:mark]
		}
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, o.Host...)
	b = append(b, "\r\n"...)
	length, known := x.contentLength()
	b, placed := x.appendClientLines(b, h, length)
	b = append(b, x.provider.headerLine...)
	if x.trace != nil {
		b = x.appendTraceparent(b)
	}
	switch {
	case x.upgrade:
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(b, peekFold(h, "upgrade")...)
		b = append(b, "\r\n"...)
	case x.bodyless || placed:
	case !known:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		b = appendLength(b, "Content-Length", length)
	}
	x.head = append(b, "\r\n"...)
}

// contentLength is the length of the body as it goes to the provider; not known when it passes through in chunks.
func (x *Exchange) contentLength() (n int64, known bool) {
	if x.rest != nil {
		if x.restLen < 0 {
			return 0, false
		}
		return x.restLen + int64(len(x.upstreamBody())-len(x.body)), true // its begin may have been edited
	}
	return int64(len(x.upstreamBody())), true
}

// appendClientLines copies the header lines that go through. The client's Content-Length keeps its place and takes the
// length that the body has now; placed tells whether there was one.
func (x *Exchange) appendClientLines(b []byte, h *fasthttp.RequestHeader, length int64) (_ []byte, placed bool) {
	var named []byte
	if x.hasConnection {
		named = peekFold(h, "connection")
	}
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw = nextLine(raw)
		if len(line) == 0 {
			break
		}
		name := line[:bytes.IndexByte(line, ':')] // inspect has seen to it that there is one
		switch {
		case len(name) == len("content-length") && upstream.EqualFold(name, "content-length") && !x.bodyless:
			b, placed = appendLength(b, name, length), true
		case x.drops(name, named):
		case (x.askedUsage || x.cache.keep) && len(name) == len("accept-encoding") && upstream.EqualFold(name, "accept-encoding"):
			b = append(b, "Accept-Encoding: identity\r\n"...) // what was asked for has to be found and taken out again, or the answer kept
		case x.provider.hasKey && len(name) == len(webSocketProtocols) && upstream.EqualFold(name, webSocketProtocols):
			b = appendProtocols(b, name, line[len(name)+1:])
		default:
			b = append(append(b, line...), "\r\n"...)
		}
	}
	return b, placed
}

// drops tells whether a client's header stays here.
func (x *Exchange) drops(name, named []byte) bool {
	switch {
	case upstream.IsHopByHop(name), upstream.EqualFold(name, "host"), upstream.EqualFold(name, "expect"):
		return true
	case isOwnHeader(name):
		return true
	case len(x.provider.replaced) > 0 && x.provider.replaces(name):
		return true
	case x.trace != nil && upstream.EqualFold(name, traceparentHeader):
		return true // ours takes its place
	}
	return len(named) > 0 && upstream.HasTokenFold(named, name)
}

// peekFold is the value of a header by its name in any case; several lines of that name are joined.
func peekFold(h *fasthttp.RequestHeader, name string) (value []byte) {
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw = nextLine(raw)
		if len(line) == 0 {
			break
		}
		if n, v, _ := splitLine(line); upstream.EqualFold(n, name) {
			if value == nil {
				value = v
			} else {
				value = append(append(append([]byte(nil), value...), ", "...), v...)
			}
		}
	}
	return value
}

// upstreamBody is the buffered part of the body as it goes to the provider.
func (x *Exchange) upstreamBody() []byte {
	if len(x.edited) > 0 {
		return x.edited
	}
	return x.body
}
