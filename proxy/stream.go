package proxy

import (
	"errors"
	"io"
	"strconv"
	"time"

	"llm-auto-optimizer/proxy/provider"
)

// relay passes the answer's body on to the client, each piece as it comes. When it returns an error the client's connection
// has to end without the end of the body.
func (x *Exchange) relay() error {
	f := x.cache.flight
	if len(x.held) > 0 {
		x.add(x.held)
		f.Publish(x.held)
		x.held = x.held[:0]
	}
	if x.conn.Buffered() == 0 { // the head need not wait for the body
		if err := x.flush(x.lastRead); err != nil {
			return x.outlive(f, err)
		}
	}
	for {
		if f.Followed() {
			return x.relayShared(f, false)
		}
		piece, err := x.next()
		if err == nil && x.conn.Done() { // the end can go along with the last piece
			err = io.EOF
			x.observe(piece)
			x.pass(f, piece)
			piece = nil
		}
		if len(piece) > 0 {
			x.pass(f, piece)
			if err := x.flush(x.lastRead); err != nil {
				x.observe(piece)
				return x.outlive(f, err)
			}
			x.observe(piece)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return x.finish()
		default:
			return x.broken(x.bodyFailure(err), err)
		}
	}
}

// pass hands a piece to the client and to who follows.
func (x *Exchange) pass(f *answerFlight, piece []byte) {
	piece = x.scrubbed(piece)
	x.add(piece)
	f.Publish(piece)
}

// add appends a piece of the body to what is pending, framed as a chunk where the body goes in chunks.
func (x *Exchange) add(piece []byte) {
	if len(piece) == 0 {
		return
	}
	x.delivered += int64(len(piece))
	if x.length >= 0 || x.http10 {
		x.out = append(x.out, piece...)
		return
	}
	x.out = strconv.AppendInt(x.out, int64(len(piece)), 16)
	x.out = append(x.out, "\r\n"...)
	x.out = append(x.out, piece...)
	x.out = append(x.out, "\r\n"...)
}

// scrubbed is the piece without the traces of usage that the client had not asked for. What it returns is valid until
// the next call.
func (x *Exchange) scrubbed(piece []byte) []byte {
	if !x.scrub {
		return piece
	}
	x.held = x.scrubber.Append(x.held[:0], piece)
	return x.held
}

// observe looks at a piece, as a rule after it has gone to the client.
func (x *Exchange) observe(piece []byte) {
	x.meter.Write(piece)
	x.capture(piece)
	x.keepPasses(x.lastRead)
	if x.attempt.content.IsZero() && (x.meter.Content() || x.format == provider.Ignored || !x.identity) {
		x.attempt.content = x.lastRead
		x.lease.Answered()
	}
}

// finish ends a body that the provider has ended properly as far as HTTP goes. A stream that stops without its terminal
// mark is broken all the same.
func (x *Exchange) finish() error {
	x.meter.Close()
	if x.scrub {
		x.held = x.scrubber.Close(x.held[:0])
		x.add(x.held)
		x.cache.flight.Publish(x.held)
	}
	if x.truncated() {
		return x.broken(&answerIncomplete, errNoTerminalMark)
	}
	x.endShared()
	x.settleEarly()
	return x.endBody(x.lastRead)
}

// endBody ends a body that is whole.
func (x *Exchange) endBody(now time.Time) error {
	if x.length < 0 && !x.http10 {
		x.out = append(x.out, "0\r\n\r\n"...)
	}
	return x.flush(now)
}

var errNoTerminalMark = errors.New("stream ended without its terminal mark")

// truncated tells whether a stream lacks its terminal mark. One that announced its length and kept it is taken at its word.
func (x *Exchange) truncated() bool {
	if x.status >= 300 || !x.isStream() || x.conn.Head.Length >= 0 {
		return false
	}
	if _, failed := x.meter.Failed(); failed {
		return false // the provider has told the client itself
	}
	return !x.meter.Complete()
}

// broken ends a body that is not going to be whole. A streaming client is told why in its dialect.
func (x *Exchange) broken(kind *kindOfFailure, err error) error {
	x.endWith(kind, err)
	x.endFlight(nil) // before the client knows: its next try is not to join this one
	if x.isStream() && x.identity && x.length < 0 && x.kind != &clientLeft {
		array := x.format == provider.JSONArray
		if x.held = x.held[:0]; array && x.delivered == 0 { // nothing to continue
			x.held = append(provider.AppendError(append(x.held, '['), x.provider.dialect, x.kind.failure()), ']')
		} else {
			x.held = provider.AppendErrorEvent(x.held, x.provider.dialect, x.operation, array, x.kind.failure())
		}
		x.add(x.held)
	}
	_ = x.flush(time.Now())
	return err
}

// endWith notes why the exchange ended before its end. The first reason counts.
func (x *Exchange) endWith(k *kindOfFailure, err error) {
	if x.kind == nil {
		x.kind, x.failure = k, err
	}
}

// endWithError is endWith for an error that names its kind.
func (x *Exchange) endWithError(err error) {
	kind := kindOfError(err)
	var e *exchangeError
	if errors.As(err, &e) {
		err = e.cause
	}
	x.endWith(kind, err)
}

// closeConn lets go of the connection at whatever point of the answer.
func (x *Exchange) closeConn() {
	switch {
	case x.conn == nil:
	case x.kind == nil:
		x.releaseConn()
	default:
		x.dropConn()
	}
}
