package proxy

import (
	"net/http"
	"strconv"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/upstream"
)

// takeHead takes the provider's status and header lines over from the connection, whose buffer is about to be reused.
func (x *Exchange) takeHead(head *upstream.Head) {
	x.startHead(head.Status, head.Reason)
	x.out = head.AppendLines(x.out, -1)
}

// startHead begins the head of an answer anew.
func (x *Exchange) startHead(status int, reason []byte) {
	b := append(x.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if len(reason) > 0 {
		b = append(b, reason...)
	} else {
		b = append(b, http.StatusText(status)...)
	}
	x.out = append(b, "\r\n"...)
}

// endHead appends our own headers and those that concern this hop: the body's framing, and whether the connection stays.
func (x *Exchange) endHead(now time.Time, last bool) {
	b := x.out
	if x.showsHeaders() {
		b = x.appendOwnLines(b, now)
	}
	switch {
	case x.status == http.StatusNoContent:
	case x.length >= 0:
		b = appendLength(b, "Content-Length", x.length)
	case x.http10 || !x.hasBody(): // a body that ends with the connection, or none
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case last:
		b = append(b, "Connection: close\r\n"...)
	case x.http10:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	x.out = append(b, "\r\n"...)
}

// showsHeaders tells whether the client gets our own headers.
func (x *Exchange) showsHeaders() bool {
	return x.settings.responseHeaders && x.on(config.FlagResponseHeaders)
}

// appendOwnLines says what the gateway knows by now.
func (x *Exchange) appendOwnLines(b []byte, now time.Time) []byte {
	b = appendLine(b, "x-llmopt-id", x.id[:])
	if x.target != nil {
		b = append(append(appendName(b, "x-llmopt-target"), x.target.name...), "\r\n"...)
	}
	b = appendLength(b, "x-llmopt-attempts", int64(x.attempts))
	if x.tried.n > 1 {
		b = appendName(b, "x-llmopt-tried")
		for i, t := range x.tried.list[:x.tried.n] {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, t.name...)
		}
		b = append(b, "\r\n"...)
	}
	if x.cache.result != cacheOff {
		b = append(append(appendName(b, "x-llmopt-cache"), x.cache.result.String()...), "\r\n"...)
	}
	b = appendLength(b, "x-llmopt-overhead-us", x.overheadUntil(now).Microseconds())
	b = x.appendLimits(b, now)
	if x.kind == nil && !x.streamed && x.metered() && !x.unpriced {
		b = append(appendUSD(appendName(b, "x-llmopt-cost-usd"), addNano(x.total, x.cost)), "\r\n"...)
	}
	return b
}

func appendName(b []byte, name string) []byte { return append(append(b, name...), ": "...) }

func appendLine(b []byte, name string, value []byte) []byte {
	return append(append(appendName(b, name), value...), "\r\n"...)
}

func appendLength[T ~string | ~[]byte](b []byte, name T, n int64) []byte {
	b = append(append(b, name...), ": "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}
