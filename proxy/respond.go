package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// holdLimit is the size up to which an answer that is no stream is taken whole before its head goes out: then its cost can
// stand in the head, and a break in the middle is still a clean error.
const holdLimit = 256 << 10

// receive takes over the head of the answer, and the body too where it is held.
func (x *Exchange) receive() error {
	head := &x.conn.Head
	x.status, x.attempt.status = head.Status, head.Status
	x.lastRead, x.armed, x.streamed = x.attempt.answered, time.Time{}, false
	x.takeHead(head)
	x.length = head.Length
	if x.cache.keep {
		x.cache.header = cache.AppendHeaders(x.cache.header[:0], head.Get)
		x.cache.types = appendTypes(x.cache.types[:0], head)
	}
	x.hearLimits(head)
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

// hasBody tells whether the answer may have a body (RFC 9112, section 6.3).
func (x *Exchange) hasBody() bool {
	return !x.isHead && x.status != http.StatusNoContent && x.status != http.StatusNotModified
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
		x.keepPasses(x.lastRead)
		switch {
		case errors.Is(err, io.EOF):
			x.meter.Close()
			x.length = int64(len(x.held))
			if !x.hasBody() {
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
	x.capture(x.held)
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

// respond writes the answer to the client.
func (p *Proxy) respond(ctx *fasthttp.RequestCtx, x *Exchange) {
	if !x.streamed {
		x.account()
		x.settleEarly()
	}
	x.tellFollowers()
	now := time.Now()
	x.beginAnswer(ctx, now, x.http10 && x.length < 0)
	var err error
	switch {
	case x.streamed && x.cache.reader != nil:
		x.giveBack()
		err = x.relayFlight()
	case x.streamed && !x.hasBody():
		err = x.flush(now)
		x.closeConn()
	case x.streamed:
		x.giveBack()
		err = x.relay()
		x.closeConn()
	case x.paced():
		err = x.replay(now)
	default:
		err = x.writeHeld(now)
	}
	x.endFlight(nil)
	if err != nil {
		ctx.SetConnectionClose() // a broken answer is never dressed as a whole one
	}
}

// refuse answers with an error of ours, in the shape of the client's dialect, so that its SDK raises its own typed error.
func (p *Proxy) refuse(ctx *fasthttp.RequestCtx, x *Exchange, err error) {
	kind := kindOfError(err)
	x.endWithError(err)
	x.endFlight(nil)
	x.closeConn()
	dialect := provider.OpenAI
	if x.provider != nil {
		dialect = x.provider.dialect
	}
	failure := kind.failure()
	if x.refusal.Refused() {
		x.explainRefusal(&failure)
	}
	x.held = provider.AppendError(x.held[:0], dialect, failure)
	x.status, x.length, x.streamed, x.cache.body = kind.status, int64(len(x.held)), false, nil
	x.startHead(kind.status, nil)
	x.out = appendLine(x.out, "Content-Type", []byte("application/json"))
	switch {
	case x.refusal.Refused():
		x.out = x.appendRetry(x.appendRefusal(x.out))
	case kind == &overloaded:
		x.out = appendLine(x.out, "Retry-After", []byte(retryAfter))
	case kind == &providerLimited:
		x.out = x.appendRetry(x.out)
	case x.retryAfter > 0:
		x.out = appendLength(x.out, "Retry-After", int64((x.retryAfter+time.Second-1)/time.Second))
	}
	now := time.Now()
	// What follows on the connection of a bad request can't be trusted.
	x.beginAnswer(ctx, now, kind == &badRequest || kind == &badVersion)
	if x.writeHeld(now) != nil {
		ctx.SetConnectionClose()
	}
}

// beginAnswer ends the answer's head. From here on the answer is the exchange's to write, and fasthttp's own is dropped. last
// says that the connection can't be used after this answer; there are more reasons for that.
func (x *Exchange) beginAnswer(ctx *fasthttp.RequestCtx, now time.Time, last bool) {
	last = last || ctx.Request.Header.ConnectionClose() || ctx.Response.Header.ConnectionClose() ||
		x.client.linger || // the client is still sending: what comes next is no request
		x.p.draining.Load()
	if last {
		ctx.SetConnectionClose()
	}
	x.endHead(now, last)
	x.begun, x.client.answered = true, true
}

// writeHeld writes an answer whose body is at hand.
func (x *Exchange) writeHeld(now time.Time) (err error) {
	body := x.answerBody()
	if !x.hasBody() {
		body = nil
	}
	if len(body) <= joinLimit {
		x.out = append(x.out, body...)
		err = x.flush(now)
	} else {
		x.client.armWrite(now, x.settings.writeTimeout)
		err = x.wrote(x.client.writeBoth(x.out, body))
	}
	if err == nil {
		x.delivered += int64(len(body))
	}
	return err
}

// joinLimit is the size up to which a body is copied behind its head to go out in one write: above it copying costs more
// than a vector.
const joinLimit = 16 << 10

// flush writes what is pending, within the time that a client may stall.
func (x *Exchange) flush(now time.Time) error {
	if len(x.out) == 0 {
		return nil
	}
	return x.wrote(x.send(now))
}

// send is flush, of which the caller takes the outcome.
func (x *Exchange) send(now time.Time) error {
	x.client.armWrite(now, x.settings.writeTimeout)
	_, err := x.client.write(x.out)
	x.out = x.out[:0]
	return err
}

// wrote takes the outcome of a write to the client.
func (x *Exchange) wrote(err error) error {
	if err != nil && !x.cache.left {
		x.endWith(&clientLeft, fmt.Errorf("write to client: %w", err))
	}
	return err
}
