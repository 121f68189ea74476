package proxy

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// firstBodyBuffer is what a body's announced length may allocate at once; beyond it memory follows the bytes that
	// really come.
	firstBodyBuffer = 256 << 10
	// streamedPrefix is what is read ahead of a body that streams through, so that its first fields can be seen.
	streamedPrefix = 64 << 10
	// minBodyRate is the speed in bytes per second that a body must keep up on the whole: it ends senders of one byte at a
	// time, each just before the deadline.
	minBodyRate = 1 << 10
)

// readBody takes the request's body into x.body, up to the replay limit. What is larger stays in x.rest. announced says
// that the request's head speaks of a body; fasthttp reads none as one of length 0.
func (p *Proxy) readBody(ctx *fasthttp.RequestCtx, x *Exchange, announced bool) error {
	length := ctx.Request.Header.ContentLength()
	if x.bodyless = !announced || length < -1 || x.upgrade; x.bodyless {
		return nil
	}
	if length > x.settings.maxBody {
		x.client.linger = true
		return fail(&tooLarge, nil)
	}
	stream := ctx.RequestBodyStream()
	if stream == nil || length == 0 {
		return nil
	}
	limit := x.settings.replayLimit
	if length > x.settings.replayLimit {
		limit = min(streamedPrefix, x.settings.replayLimit)
	}
	r := &x.source
	*r = clientBody{client: x.client, stream: stream, timeout: x.settings.bodyTimeout, length: length, left: x.settings.maxBody, started: x.start, timed: length < 0 || length > prefetched}
	if err := x.buffer(r, length, limit); err != nil {
		x.client.linger = true
		return x.bodyError(err)
	}
	if r.ended {
		if r.timed {
			r.lift()
		}
		return nil
	}
	x.rest, x.restLen = r, int64(length)
	return nil
}

// prefetched is what fasthttp has read of a body of known length before the handler runs.
const prefetched = 8 << 10

// buffer reads until the body's end or limit bytes. length is -1 when it is not known.
func (x *Exchange) buffer(r *clientBody, length, limit int) error {
	if want := min(length, limit, firstBodyBuffer); cap(x.body) < want {
		x.body = make([]byte, 0, want)
	}
	for len(x.body) < limit {
		if len(x.body) == cap(x.body) {
			x.body = append(x.body, 0)[:len(x.body)]
		}
		n, err := r.Read(x.body[len(x.body):min(cap(x.body), limit)])
		x.body = x.body[:len(x.body)+n]
		if r.ended {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bodyError says what it means that the client's body could not be read.
func (x *Exchange) bodyError(err error) error {
	switch {
	case x.client.tether.IsCut():
		return x.cutError()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fail(&clientLeft, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(&requestTimeout, err)
	case errors.Is(err, errBodyTooLarge):
		return fail(&tooLarge, nil)
	case errors.Is(err, errPanic):
		return fail(&internal, err)
	default:
		return fail(&badBody, err)
	}
}

var errBodyTooLarge = errors.New("request body over the limit")

// clientBody reads a request's body under the body deadlines and the size limit.
type clientBody struct {
	client  *clientConn
	stream  io.Reader
	timeout time.Duration
	length  int // as announced; -1 when it is not
	left    int // bytes until the body is too large
	total   int
	started time.Time
	timed   bool // the connection may have to be waited for
	ended   bool
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	if b.timed {
		now := time.Now()
		slowest := b.started.Add(b.timeout + time.Duration(b.total)*(time.Second/minBodyRate))
		if now.After(slowest) {
			return 0, os.ErrDeadlineExceeded
		}
		_ = b.client.SetReadDeadline(earlier(now.Add(b.timeout), slowest))
	}
	n, err := b.stream.Read(p)
	b.total += n
	if b.left -= n; b.left < 0 {
		return 0, errBodyTooLarge
	}
	if errors.Is(err, io.EOF) {
		if b.total < b.length { // fasthttp takes the end of the connection for the end of the body
			return n, io.ErrUnexpectedEOF
		}
		b.ended = true
	}
	return n, err
}

// lift takes the deadline off again.
func (b *clientBody) lift() { _ = b.client.SetReadDeadline(time.Time{}) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
