package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// holdLimit is the size up to which an answer that is no stream is taken whole before its head goes out: then its cost can
// stand in the head, and a break in the middle is still a clean error.
const holdLimit = 256 << 10

// receive takes over the head of the answer, and the body too where it is held.
func (p *Proxy) receive(ctx *fasthttp.RequestCtx, x *Exchange) error {
	head := &x.conn.Head
	x.status, x.attempt.status = head.Status, head.Status
	x.lastRead, x.armed, x.streamed = x.attempt.answered, time.Time{}, false
	if err := x.copyHead(&ctx.Response.Header); err != nil {
		return fail(&brokenAnswer, err)
	}
	x.length = head.Length
	x.format = provider.FormatOf(x.operation, x.request.Stream, head.ContentType)
	x.meter.Reset(x.operation, x.format)
	x.meter.SetEncoding(head.ContentEncoding)
	x.identity = len(head.ContentEncoding) == 0 || upstream.EqualFold(head.ContentEncoding, "identity")
	stream := x.isStream()
	x.scrub = x.askedUsage && stream && x.identity
	if x.scrub {
		x.scrubber.Reset()
		x.length = -1 // what is scrubbed away makes the body shorter than announced
	}
	if stream || x.operation == provider.Opaque && x.status < 400 || x.length > holdLimit {
		x.streamed = true
		return nil
	}
	return x.hold()
}

// isStream tells whether the answer is a stream of events.
func (x *Exchange) isStream() bool {
	return x.format == provider.EventStream || x.format == provider.JSONArray
}

// copyHead gives the provider's status and header lines to the client's answer, the lines as they came.
//
// fasthttp writes headers from parsed pairs. Taking twenty lines apart and putting them together again costs more than all
// the rest of the head, and loses their order and spelling. So all lines go as the value of one of them, written over a
// blank value of the same length; upstream has made sure that they are proper lines.
func (x *Exchange) copyHead(to *fasthttp.ResponseHeader) error {
	head := &x.conn.Head
	if x.attempts > 1 {
		x.clearHead(to, head.Status)
	}
	to.SetStatusCode(head.Status)
	if len(head.Reason) > 0 && string(head.Reason) != fasthttp.StatusMessage(head.Status) {
		to.SetStatusMessage(head.Reason)
	}
	carrier := slices.IndexFunc(head.Fields(), carries)
	if carrier < 0 {
		if head.Get("date") != nil {
			return x.startHead(to, head)
		}
		for _, f := range head.Fields() {
			to.AddBytesKV(f.Name, f.Value)
		}
		return nil
	}
	f := &head.Fields()[carrier]
	lines := append(append(x.lines[:0], f.Value...), "\r\n"...)
	lines = head.AppendLines(lines, carrier)
	lines = lines[:len(lines)-len("\r\n")]
	x.lines = lines
	if len(blank) < len(lines) {
		to.SetBytesKV(f.Name, make([]byte, len(lines)))
	} else {
		to.SetBytesKV(f.Name, blank[:len(lines)])
	}
	if copy(to.PeekBytes(f.Name), lines) != len(lines) {
		return errCarrier
	}
	return nil
}

// blank is a value that fasthttp has nothing against.
var blank = bytes.Repeat([]byte{'-'}, 8<<10)

var errCarrier = errors.New("BUG: header value is not kept as it was given")

// carries tells whether fasthttp keeps a header as a plain pair, whose value it writes as it is.
func carries(f upstream.Field) bool {
	switch len(f.Name) {
	case len("date"), len("server"), len("trailer"), len("set-cookie"), len("content-type"), len("content-encoding"):
		return !upstream.EqualFold(f.Name, "date") && !upstream.EqualFold(f.Name, "server") && !upstream.EqualFold(f.Name, "trailer") &&
			!upstream.EqualFold(f.Name, "set-cookie") && !upstream.EqualFold(f.Name, "content-type") && !upstream.EqualFold(f.Name, "content-encoding")
	}
	return true
}

// startHead has fasthttp parse a head, which is the only way in which it takes over a Date.
func (x *Exchange) startHead(to *fasthttp.ResponseHeader, head *upstream.Head) error {
	b := append(x.lines[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(head.Status), 10)
	b = append(b, ' ')
	if len(head.Reason) > 0 {
		b = append(b, head.Reason...)
	} else {
		b = append(b, http.StatusText(head.Status)...)
	}
	b = append(b, "\r\n"...)
	b = head.AppendLines(b, -1)
	x.lines = append(b, "\r\n"...)
	if err := to.Read(bufio.NewReaderSize(bytes.NewReader(x.lines), len(x.lines))); err != nil {
		return err
	}
	to.ResetConnectionClose() // a head without a length looked like one whose body ends the connection
	return nil
}

// clearHead forgets the head of an answer that is not going to be given. fasthttp's own Reset would also bring back its
// default headers.
func (x *Exchange) clearHead(to *fasthttp.ResponseHeader, status int) {
	if err := x.startHead(to, &upstream.Head{Status: status}); err != nil {
		panic("BUG: empty head: " + err.Error())
	}
}

// hold reads the body up to the hold limit. If there is more, the answer is relayed piece by piece after all.
func (x *Exchange) hold() error {
	for len(x.held) <= holdLimit {
		piece, err := x.next()
		x.held = append(x.held, piece...)
		x.meter.Write(piece)
		switch {
		case errors.Is(err, io.EOF):
			x.meter.Close()
			x.length = int64(len(x.held))
			if x.isHead || x.status == 304 {
				x.length = x.conn.Head.Length
			}
			x.releaseConn()
			return nil
		case err != nil:
			x.endUpload()
			return fail(x.bodyFailure(err), err)
		}
	}
	x.streamed = true
	return nil
}

// next reads the next piece of the answer's body under the idle and total deadlines. The idle deadline is moved only
// when a sixteenth of it has passed, so a stall is seen between 15/16 and the whole of it.
func (x *Exchange) next() ([]byte, error) {
	idle := x.limits.Timeouts.Idle
	if !x.armed.IsZero() && (idle == 0 || x.lastRead.Sub(x.armed) < idle/16) {
		piece, err := x.conn.Next()
		x.lastRead = time.Now()
		return piece, err
	}
	x.armed = x.lastRead
	if err := x.conn.SetReadDeadline(x.deadline(x.lastRead, idle)); err != nil {
		return nil, err
	}
	piece, err := x.conn.Next()
	x.lastRead = time.Now()
	return piece, err
}

// bodyFailure says what an error in the middle of the answer's body means.
func (x *Exchange) bodyFailure(err error) *kindOfFailure {
	switch {
	case errors.Is(err, upstream.ErrCut) || x.client.tether.IsCut():
		if x.p.stopping.Load() {
			return &shuttingDown
		}
		return &clientLeft
	case upstream.Timeout(err):
		if x.totalPassed() {
			return &totalTooLong
		}
		return &idleTooLong
	default:
		return &brokenAnswer
	}
}

// releaseConn lets go of the connection after the answer was read to its end.
func (x *Exchange) releaseConn() {
	if x.endUpload() {
		x.conn.Release()
	} else {
		x.conn.Discard()
	}
	x.conn = nil
}

// respond hands the answer to fasthttp, which will ask the exchange to write it once Handle has returned.
func (p *Proxy) respond(ctx *fasthttp.RequestCtx, x *Exchange) {
	if x.status == http.StatusSwitchingProtocols {
		p.tunnel(ctx, x)
		return
	}
	if !x.streamed {
		x.account()
	}
	if p.responseHeaders {
		x.appendOwnHeaders(&ctx.Response.Header)
	}
	size := int(x.length)
	if x.http10 && size < 0 {
		p.respondUntilClose(ctx, x)
		return
	}
	x.dropBody()
	x.client.armWrite(time.Now(), p.writeTimeout) // for the head, whose deadline may be an earlier answer's
	ctx.Response.ImmediateHeaderFlush = x.streamed && x.conn.Buffered() == 0
	ctx.Response.SetBodyStream(x, size)
}

// dropBody lets a large request body go while the answer streams: no repetition can need it any more.
func (x *Exchange) dropBody() {
	if x.upload == nil && cap(x.body) > maxPooledBuffer {
		x.body, x.request = nil, provider.Request{Stream: x.request.Stream}
	}
}

// appendOwnHeaders says what the gateway knows by now.
func (x *Exchange) appendOwnHeaders(h *fasthttp.ResponseHeader) {
	h.SetBytesV("x-llmopt-id", x.id[:])
	if x.target != nil {
		h.Set("x-llmopt-target", x.target.name)
	}
	h.SetBytesV("x-llmopt-attempts", strconv.AppendInt(x.scratch[:0], int64(x.attempts), 10))
	h.SetBytesV("x-llmopt-overhead-us", strconv.AppendInt(x.scratch[:0], x.overheadUntil(time.Now()).Microseconds(), 10))
	if !x.streamed && x.metered() && !x.unpriced {
		h.SetBytesV("x-llmopt-cost-usd", appendUSD(x.scratch[:0], x.cost))
	}
}

// respondUntilClose serves a body of unknown length to an HTTP/1.0 client, which knows no chunks: the end of the connection
// is the end of the body.
func (p *Proxy) respondUntilClose(ctx *fasthttp.RequestCtx, x *Exchange) {
	ctx.Response.Header.SetContentLength(-2)
	ctx.Response.Header.SetConnectionClose()
	head := append([]byte(nil), ctx.Response.Header.Header()...)
	p.hijack(ctx, x, func(conn io.ReadWriter) {
		if _, err := conn.Write(head); err == nil && !x.isHead {
			_, _ = x.WriteTo(conn)
		}
	})
}
