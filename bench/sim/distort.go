package sim

import (
	"bytes"
	"strings"
)

const (
	defaultHuge      = 20 << 20
	defaultBigHeader = 16 << 10
)

// distort does the faults that change what an answer says, before it is put on the wire.
func (x *exchange) distort(a *answer) {
	f := x.d.faults
	if f == 0 && x.d.status == 0 {
		return
	}
	x.distortContent(a)
	if a.stream && f.has(faultComments) {
		x.took(faultComments)
		addComments(a)
	}
	if a.stream && f.has(faultCRLF) {
		x.took(faultCRLF)
		a.rewrite(func(dst, p []byte) []byte { return append(dst, bytes.ReplaceAll(p, []byte("\n"), crlf)...) })
	}
	if f.has(faultsEncoding) {
		x.encode(a)
	}
	if f.has(faultDrip) {
		x.took(faultDrip)
	}
}

// distortContent replaces or shortens the content.
func (x *exchange) distortContent(a *answer) {
	f, status := x.d.faults, x.d.status
	switch {
	case status == 204:
		x.srv.stats.status[status].Add(1)
		a.reset()
		a.status, a.instant = status, true
	case status != 0:
		x.srv.stats.status[status].Add(1)
		x.fail(a, status)
	case f.has(faultNoUsageOption) && x.in.streamOptions:
		x.took(faultNoUsageOption)
		a.reset()
		a.openAIError(400, "Unrecognized request argument supplied: stream_options.include_usage", "invalid_request_error",
			"stream_options.include_usage", "unknown_parameter")
	case f.has(faultNoCacheControl) && bytes.Contains(x.body, []byte(`"cache_control"`)):
		x.took(faultNoCacheControl)
		a.reset()
		a.failure(x, 400, "messages.0.content.0.text.cache_control: Extra inputs are not permitted")
	case f.has(faultErrorBody):
		x.took(faultErrorBody)
		x.fail(a, 500)
		a.status = 200
	case f.has(faultEmpty):
		x.took(faultEmpty)
		a.body, a.frames = a.body[:0], a.frames[:0]
	case f.has(faultErrorEvent) && a.stream:
		x.took(faultErrorEvent)
		x.endInError(a)
	case f.has(faultNoEnd) && a.stream:
		x.took(faultNoEnd)
		a.truncate(a.tail)
	}
}

// endInError lets a stream end in the provider's error event.
func (x *exchange) endInError(a *answer) {
	a.truncate(min(x.d.after.or(len(a.frames)/2), len(a.frames)))
	x.appendErrorEvent(a)
	a.cut(0)
}

// truncate leaves the first n frames of a stream.
func (a *answer) truncate(n int) {
	a.frames = a.frames[:n]
	end := 0
	if n > 0 {
		end = a.frames[n-1].end
	}
	a.body = a.body[:end]
}

// rewrite lets change append its version of every frame, or of a plain body.
func (a *answer) rewrite(change func(dst, p []byte) []byte) {
	if !a.stream {
		a.body = change(nil, a.body)
		return
	}
	body, start := make([]byte, 0, len(a.body)*2), 0
	for i := range a.frames {
		end := a.frames[i].end
		body = change(body, a.body[start:end])
		a.frames[i].end, start = len(body), end
	}
	a.body = body
}

// addComments puts what clients of event streams have to skip around every event.
func addComments(a *answer) {
	if !strings.HasPrefix(a.ctype, "text/event-stream") {
		return
	}
	a.rewrite(func(dst, p []byte) []byte {
		dst = append(dst, ": keep-alive\n\n"...)
		dst = append(dst, p...)
		return append(dst, "event: sim.unknown\nid: 7\nretry: 3000\n\n"...)
	})
}

// appendInterim puts 1xx responses in front of the answer's head.
func (x *exchange) appendInterim(f fault) {
	if f.has(faultInterim100) {
		x.took(faultInterim100)
		x.c.out = append(x.c.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
	}
	if f.has(faultInterim103) {
		x.took(faultInterim103)
		x.c.out = append(x.c.out, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"...)
	}
}

// appendOddHeaders adds header lines that faults ask for.
func (x *exchange) appendOddHeaders(b []byte) []byte {
	f := x.d.faults
	if f.has(faultDuplicateHeaders) {
		x.took(faultDuplicateHeaders)
		b = append(b, "Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT\r\n"+
			"X-Sim-Twice: one\r\nX-Sim-Twice: two\r\n"...)
	}
	if f.has(faultHopHeaders) {
		x.took(faultHopHeaders)
		b = append(b, "Connection: X-Sim-Hop\r\nX-Sim-Hop: 1\r\nKeep-Alive: timeout=5, max=1000\r\n"+
			"Proxy-Authenticate: Basic realm=\"sim\"\r\n"...)
	}
	if f.has(faultBigHeader) {
		x.took(faultBigHeader)
		b = append(b, "X-Sim-Filler: "...)
		for range x.d.size.or(defaultBigHeader) {
			b = append(b, 'x')
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// oddCase turns every second letter of the header names in head, status line excepted.
func oddCase(head []byte) {
	inName := false
	for i, letters := 0, 0; i < len(head); i++ {
		switch c := head[i]; {
		case c == '\n':
			inName, letters = true, 0
		case c == ':':
			inName = false
		case inName && ('a' <= c|0x20 && c|0x20 <= 'z'):
			head[i] = c | 0x20
			if letters%2 == 1 {
				head[i] &^= 0x20
			}
			letters++
		}
	}
}
