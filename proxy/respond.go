package proxy

import (
	"errors"
	"io"
	"net/http"
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
	if err := x.takeHead(&ctx.Response.Header); err != nil {
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
	}
	if x.format == provider.EventStream && !x.isHead {
		x.length = -1 // in chunks each piece goes out at once, some may be scrubbed away and an error added
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
	if x.conn.Head.Length > 0 && x.conn.Buffered() > 0 { // it came along with the last read: nothing to wait for
		return x.conn.Next()
	}
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
	now := time.Now()
	x.giveHead(&ctx.Response.Header, now)
	size := int(x.length)
	if x.http10 && size < 0 {
		p.respondUntilClose(ctx, x)
		return
	}
	if x.client.linger { // the client is still sending: what comes next on its connection is no request
		ctx.SetConnectionClose()
	}
	x.dropBody()
	x.client.armWrite(now, p.writeTimeout) // for the head, whose deadline may be an earlier answer's
	ctx.Response.ImmediateHeaderFlush = x.streamed && x.conn.Buffered() == 0
	ctx.Response.SetBodyStream(x, size)
}

// dropBody lets a large request body go while the answer streams: no repetition can need it any more.
func (x *Exchange) dropBody() {
	if x.upload == nil && cap(x.body) > maxPooledBuffer {
		x.body, x.request = nil, provider.Request{Stream: x.request.Stream}
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
