package sim

import (
	"net/http"
	"strconv"
	"time"
)

// framing is how the end of a body is told to the client.
type framing uint8

const (
	framedLength framing = iota
	framedChunked
	framedByEnd // of the connection
	framedEmpty // no body, nothing said about it
)

// defaultInterval is the time between two bytes of a drip.
const defaultInterval = time.Millisecond

// transmit sends an answer, obeying pace and faults. It returns nil when the client was sent everything, errGone when
// it did not wait for it and errBroken when a fault ended it.
func (x *exchange) transmit(a *answer) error {
	f, c := x.d.faults, x.c
	var p pace
	if !a.instant {
		p = x.pace()
		if err := c.wait(p.first); err != nil {
			return err
		}
	}
	if f.has(faultResetHead | faultCloseHead | faultStallHead) {
		if err := x.failHead(f); err != nil {
			return err
		}
	}
	fr := x.framingOf(a)
	x.appendInterim(f)
	x.appendHead(a, fr)
	if err := x.sendBody(a, fr, p); err != nil {
		return err
	}
	if fr == framedChunked {
		c.out = append(c.out, "0\r\n\r\n"...)
	}
	if f.has(faultSurplus) {
		x.took(faultSurplus)
		c.out = append(c.out, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsurplus!\n"...)
	}
	if f.has(faultLengthLong) {
		x.took(faultLengthLong)
		if err := x.flush(); err != nil {
			return err
		}
		return errBroken
	}
	if fr == framedByEnd {
		x.keep = false
	}
	x.done()
	return x.flush()
}

// failHead lets the faults happen that come before the first byte of an answer.
func (x *exchange) failHead(f fault) error {
	switch {
	case f.has(faultResetHead):
		x.took(faultResetHead)
		x.c.reset()
		return errBroken
	case f.has(faultCloseHead):
		x.took(faultCloseHead)
		return errBroken
	default:
		x.took(faultStallHead)
		return x.stall()
	}
}

// stall waits as long as a stall lasts.
func (x *exchange) stall() error {
	if x.d.stall > 0 {
		return x.c.wait(x.d.stall)
	}
	return x.c.wait(-1)
}

// framingOf decides how the body is framed.
func (x *exchange) framingOf(a *answer) framing {
	f := x.d.faults
	switch {
	case a.status == 204 || a.status == 304:
		return framedEmpty
	case f.has(faultHTTP10):
		x.took(faultHTTP10)
		return framedByEnd
	case f.has(faultLengthLong | faultLengthShort):
		return framedLength
	case x.req.proto10 && a.stream:
		return framedByEnd
	case x.req.proto10:
		return framedLength
	case a.stream || f.has(faultTruncatedChunk|faultBadChunk):
		return framedChunked
	case f.has(faultChunked):
		x.took(faultChunked)
		return framedChunked
	}
	return framedLength
}

// appendHead puts the response head into the connection's buffer.
func (x *exchange) appendHead(a *answer, fr framing) {
	c := x.c
	start := len(c.out)
	proto := "HTTP/1.1 "
	if fr == framedByEnd && x.d.faults.has(faultHTTP10) {
		proto = "HTTP/1.0 "
	}
	b := append(c.out, proto...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, ' ')
	b = append(b, reason(a.status)...)
	b = append(b, "\r\nDate: "...)
	b = x.now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n"...)
	if a.ctype != "" {
		b = append(b, "Content-Type: "...)
		b = append(b, a.ctype...)
		b = append(b, "\r\n"...)
	}
	switch fr {
	case framedLength:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(x.statedLength(a)), 10)
		b = append(b, "\r\n"...)
	case framedChunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.keep && fr != framedByEnd {
		b = append(b, "Connection: keep-alive\r\n"...)
	} else {
		b = append(b, "Connection: close\r\n"...)
	}
	b = x.appendProviderHeaders(b)
	b = append(b, a.head...)
	b = x.appendOddHeaders(b)
	b = append(b, "\r\n"...)
	if x.d.faults.has(faultOddCase) {
		x.took(faultOddCase)
		oddCase(b[start:])
	}
	c.out = b
}

// statedLength is the Content-Length that the client is told.
func (x *exchange) statedLength(a *answer) int {
	const off = 32
	switch n := len(a.body); {
	case x.d.faults.has(faultLengthLong):
		return n + off
	case x.d.faults.has(faultLengthShort):
		x.took(faultLengthShort)
		return max(0, n-off)
	default:
		return n
	}
}

// sendBody sends frame by frame, or a plain body in one go; the head goes with the first of them.
func (x *exchange) sendBody(a *answer, fr framing, p pace) error {
	if string(x.req.method) == "HEAD" || fr == framedEmpty {
		a.body, a.frames = a.body[:0], a.frames[:0]
	}
	if !a.stream {
		if err := x.c.wait(p.tokens(a.tokens)); err != nil {
			return err
		}
		a.frames = append(a.frames[:0], frame{end: len(a.body)})
		if after := x.d.after.or(len(a.body) / 2); x.d.faults.has(faultsMid) && after < len(a.body) {
			a.frames = append(a.frames[:0], frame{end: after}, frame{end: len(a.body)})
		}
	}
	return x.sendFrames(a, fr, p)
}

func (x *exchange) sendFrames(a *answer, fr framing, p pace) error {
	at, start, breakAt := time.Now(), 0, x.breakAt(a)
	for i, frame := range a.frames {
		if i == breakAt {
			if err := x.failMid(a.body[start:frame.end]); err != nil {
				return err
			}
			at = time.Now()
		}
		if a.readBodyAt > 0 && i == a.readBodyAt {
			if err := x.flush(); err != nil {
				return err
			}
			if err := x.readBody(); err != nil {
				return errGone
			}
		}
		if frame.wait > 0 && p.perToken > 0 {
			if err := x.flush(); err != nil {
				return err
			}
			at = at.Add(p.tokens(frame.wait))
			if err := x.c.waitUntil(at); err != nil {
				return err
			}
		}
		x.c.appendChunk(a.body[start:frame.end], fr)
		start = frame.end
		if i == len(a.frames)-1 || (i+1)%x.batch() != 0 {
			continue // goes with the next, or with what ends the body
		}
		if err := x.flush(); err != nil {
			return err
		}
	}
	return nil
}

// batch is the number of frames in a write, as long as no time passes between them.
func (x *exchange) batch() int { return max(x.d.batch, 1) }

// appendChunk puts a piece of the body into the buffer.
func (c *conn) appendChunk(p []byte, fr framing) {
	if len(p) == 0 {
		return
	}
	if fr != framedChunked {
		c.out = append(c.out, p...)
		return
	}
	c.out = strconv.AppendInt(c.out, int64(len(p)), 16)
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, p...)
	c.out = append(c.out, "\r\n"...)
}

// breakAt is the number of the frame that a fault in the middle comes before; -1 if there is none.
func (x *exchange) breakAt(a *answer) int {
	if !x.d.faults.has(faultsMid &^ faultErrorEvent) {
		return -1
	}
	if !a.stream {
		return len(a.frames) - 1
	}
	return min(x.d.after.or(len(a.frames)/2), len(a.frames)-1)
}

// failMid lets the faults happen that come in the middle of a body, in front of the frame next.
func (x *exchange) failMid(next []byte) error {
	c, f := x.c, x.d.faults
	if f.has(faultTruncatedChunk) {
		x.took(faultTruncatedChunk)
		c.out = strconv.AppendInt(c.out, int64(len(next)), 16)
		c.out = append(append(c.out, "\r\n"...), next[:len(next)/2]...)
	}
	if f.has(faultBadChunk) {
		x.took(faultBadChunk)
		c.out = append(append(c.out, "zz\r\n"...), next...)
	}
	if err := x.flush(); err != nil {
		return err
	}
	switch {
	case f.has(faultResetMid):
		x.took(faultResetMid)
		c.reset()
	case f.has(faultCloseMid):
		x.took(faultCloseMid)
	case f.has(faultStallMid):
		x.took(faultStallMid)
		return x.stall()
	}
	return errBroken
}

// flush writes what waits, byte by byte if the answer drips.
func (x *exchange) flush() error {
	c := x.c
	if len(c.out) == 0 {
		return nil
	}
	x.sent = true
	if !x.d.faults.has(faultDrip) {
		return c.flush()
	}
	drops := c.out
	defer func() { c.out = drops[:0] }()
	for i := range drops {
		c.out = drops[i : i+1]
		if err := c.flush(); err != nil {
			return err
		}
		if err := c.wait(time.Duration(x.d.interval.or(int(defaultInterval)))); err != nil {
			return err
		}
	}
	return nil
}

// reason is the text behind a status code.
func reason(status int) string {
	if status == 529 {
		return "Overloaded"
	}
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Unknown"
}
