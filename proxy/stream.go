package proxy

import (
	"errors"
	"fmt"
	"io"
	"time"

	"llm-auto-optimizer/proxy/provider"
)

// SupportsBodyWriteTo tells fasthttp that WriteTo may stand for Read.
func (x *Exchange) SupportsBodyWriteTo() bool { return true }

// Read implements io.Reader for fasthttp, which does not call it.
func (x *Exchange) Read([]byte) (int, error) { panic("BUG: the exchange writes itself") }

// WriteTo relays the answer's body to the client, each piece as it comes. It runs on the client connection's goroutine
// after Handle has returned. An error cuts the client's connection without the end of the body: a broken answer is
// never dressed as a whole one.
func (x *Exchange) WriteTo(w io.Writer) (n int64, err error) {
	x.ended = false
	if len(x.held) > 0 {
		if n, err = x.write(w, x.held); err != nil {
			return n, err
		}
		x.held = x.held[:0]
	}
	if x.conn == nil {
		x.ended = true
		return n, nil
	}
	for {
		piece, readErr := x.next()
		if len(piece) > 0 {
			wrote, err := x.write(w, x.scrubbed(piece))
			n += wrote
			if err != nil {
				return n, err
			}
			x.observe(piece)
		}
		switch {
		case readErr == nil:
		case errors.Is(readErr, io.EOF):
			wrote, err := x.finish(w)
			return n + wrote, err
		default:
			x.endWith(x.bodyFailure(readErr), readErr)
			return n + x.writeErrorEvent(w), readErr
		}
	}
}

// write writes one piece to the client, within the time that a client may stall.
func (x *Exchange) write(w io.Writer, p []byte) (int64, error) {
	if len(p) == 0 {
		return 0, nil
	}
	x.client.armWrite(x.lastRead, x.p.writeTimeout)
	n, err := w.Write(p)
	x.delivered += int64(n)
	if err != nil {
		x.endWith(&clientLeft, fmt.Errorf("write to client: %w", err))
	}
	return int64(n), err
}

// scrubbed is the piece without the traces of usage that the client had not asked for. What it returns is valid until
// the next call.
func (x *Exchange) scrubbed(piece []byte) []byte {
	if !x.scrub {
		return piece
	}
	x.edited = x.scrubber.Append(x.edited[:0], piece)
	return x.edited
}

// observe looks at a piece after it has gone to the client.
func (x *Exchange) observe(piece []byte) {
	x.meter.Write(piece)
	if x.attempt.content.IsZero() && (x.meter.Content() || x.format == provider.Ignored || !x.identity) {
		x.attempt.content = x.lastRead
	}
}

// finish ends a body that the provider has ended properly as far as HTTP goes. A stream that stops without its terminal
// mark is broken all the same.
func (x *Exchange) finish(w io.Writer) (n int64, err error) {
	x.meter.Close()
	if x.scrub {
		x.edited = x.scrubber.Close(x.edited[:0])
		if n, err = x.write(w, x.edited); err != nil {
			return n, err
		}
	}
	if x.truncated() {
		x.endWith(&answerIncomplete, errNoTerminalMark)
		return n + x.writeErrorEvent(w), errNoTerminalMark
	}
	x.client.armWrite(x.lastRead, x.p.writeTimeout) // for the last chunk, which fasthttp writes
	x.ended = true
	return n, nil
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

// writeErrorEvent tells a streaming client in its dialect that the stream is broken.
func (x *Exchange) writeErrorEvent(w io.Writer) int64 {
	if !x.isStream() || !x.identity || x.length >= 0 || x.kind == nil || x.kind == &clientLeft {
		return 0
	}
	array := x.format == provider.JSONArray
	if x.edited = x.edited[:0]; array && x.delivered == 0 {
		x.edited = append(provider.AppendError(append(x.edited, '['), x.provider.dialect, x.kind.failure()), ']') // nothing to continue
	} else {
		x.edited = provider.AppendErrorEvent(x.edited, x.provider.dialect, x.operation, array, x.kind.failure())
	}
	x.client.armWrite(time.Now(), x.p.writeTimeout)
	n, _ := w.Write(x.edited)
	x.delivered += int64(n)
	return int64(n)
}

// endWith notes why the exchange ended before its end. The first reason counts.
func (x *Exchange) endWith(k *kindOfFailure, err error) {
	if x.kind == nil {
		x.kind, x.failure = k, err
	}
}

// Close ends the exchange. fasthttp calls it exactly once, after the last byte went out or the write failed.
func (x *Exchange) Close() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = x.p.recovered(x, r)
		}
	}()
	if x.isHead || x.delivered == 0 && len(x.held) == 0 && (x.conn == nil || x.conn.Done()) {
		x.ended = true // nothing was to be written, so WriteTo may not have been called
	}
	if !x.ended {
		x.endWith(&internal, errUnfinished) // WriteTo has panicked, unless it has said why it stopped
	}
	x.closeConn()
	x.p.record(x)
	return nil
}

var errUnfinished = errors.New("answer was not written to its end")

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
