package proxy

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"llm-auto-optimizer/proxy/upstream"
)

// inlineUpload is the body size up to which a request is written before its answer is read. Above it the writing runs
// beside the reading, because a provider may answer (413, or a stream that starts at once) while it still takes the body.
const inlineUpload = 64 << 10

// uploadBuffer is the piece in which a body that streams through is passed on.
const uploadBuffer = 32 << 10

// upload is a request body on its way to the provider, on a goroutine of its own.
type upload struct {
	conn      *upstream.Conn
	firstByte time.Duration // time for the answer's head once the body is out; 0: no bound
	stall     time.Duration // time for the provider to take a piece; 0: no bound
	end       time.Time     // of the whole attempt; zero: none

	done      chan struct{}
	delivered bool  // the whole body went out; valid once done is closed, as is clientErr
	clientErr error // the client's body could not be read

	mu       sync.Mutex
	answered bool // the head has been read: its deadline is no longer of interest
}

// startUpload writes the request under the deadline for the answer's head. A small one is out when it returns, and its answer
// may have begun; errors of writing are left to the reading side, which may find that the provider has already answered. It
// returns upstream.ErrStale when the connection was not fit for use.
func (x *Exchange) startUpload() error {
	x.attempt.sent = time.Now()
	t := &x.limits.Timeouts
	body := x.upstreamBody()
	if x.rest == nil && len(body) <= inlineUpload {
		if err := x.conn.SetDeadline(x.deadline(x.attempt.sent, t.FirstByte)); err != nil {
			return err
		}
		if len(body) <= upstream.JoinLimit {
			x.head = slices.Grow(x.head, len(body)) // once: the room stays with the pooled buffer
		}
		var err error
		x.attempt.delivered, err = x.conn.Ask(x.head, body)
		return err
	}
	if !x.conn.Usable() {
		return upstream.ErrStale
	}
	// The time for the head counts from the request's last byte.
	end := x.deadline(x.attempt.sent, 0)
	if err := x.conn.SetDeadline(end); err != nil {
		return err
	}
	u := &upload{conn: x.conn, firstByte: t.FirstByte, stall: t.Idle, end: end, done: make(chan struct{})}
	x.upload = u
	head, rest, chunked := x.head, x.rest, x.restLen < 0
	go func() {
		defer close(u.done)
		defer x.p.contain(x, func(err error) {
			u.delivered, u.clientErr = false, err
			u.conn.Interrupt()
		})
		u.armStall()
		if rest == nil {
			u.delivered = u.conn.WriteRequest(head, body) == nil
		} else {
			u.send(head, body, rest, chunked)
		}
		u.armFirstByte()
	}()
	return nil
}

func (u *upload) armStall() {
	if u.stall > 0 {
		u.conn.SetWriteDeadline(time.Now().Add(u.stall))
	}
}

// armFirstByte starts the time for the answer's head, if that has not come yet.
func (u *upload) armFirstByte() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.delivered && !u.answered && u.firstByte > 0 {
		d := time.Now().Add(u.firstByte)
		if !u.end.IsZero() {
			d = earlier(d, u.end)
		}
		u.conn.HurryRead(d)
	}
}

// headRead tells the upload that the head has been read: from here on deadlines of reading are the reader's alone.
func (u *upload) headRead() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered = true
}

// send passes a streaming body on. When the provider stops taking it, the rest is read and dropped, so that a client
// which sends its whole request before it reads still gets the answer.
func (u *upload) send(head, prefix []byte, rest *clientBody, chunked bool) {
	w := bodyWriter{conn: u.conn, chunked: chunked}
	err := u.conn.WriteRequest(head, nil)
	if err == nil {
		err = w.write(prefix)
	}
	buf := make([]byte, uploadBuffer)
	for {
		n, readErr := rest.Read(buf)
		if n > 0 && err == nil {
			u.armStall()
			err = w.write(buf[:n])
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			u.clientErr = readErr
			u.conn.Interrupt() // the request can't become whole any more: nobody need wait for its answer
			return
		}
	}
	if err == nil {
		err = w.end()
	}
	u.delivered = err == nil
}

// bodyWriter frames what it is given.
type bodyWriter struct {
	conn    *upstream.Conn
	chunked bool
	scratch []byte
}

func (w *bodyWriter) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if w.chunked {
		w.scratch = strconv.AppendInt(w.scratch[:0], int64(len(p)), 16)
		w.scratch = append(append(append(w.scratch, "\r\n"...), p...), "\r\n"...)
		p = w.scratch
	}
	_, err := w.conn.Write(p)
	return err
}

func (w *bodyWriter) end() error {
	if !w.chunked {
		return nil
	}
	_, err := w.conn.Write([]byte("0\r\n\r\n"))
	return err
}

// endUpload waits for the upload to end, and makes it end where it still waits for its client or for the provider. It must
// run before the connection and the request's buffers are let go. It tells whether the request went out whole, without
// which the connection can't be used again.
func (x *Exchange) endUpload() (whole bool) {
	u := x.upload
	if u == nil {
		return x.attempt.delivered
	}
	select {
	case <-u.done:
	default:
		if x.rest != nil { // the client is still sending: its connection can't be used again
			x.client.linger = true
			_ = x.client.SetReadDeadline(time.Unix(1, 0))
		}
		x.conn.Interrupt()
		<-u.done
	}
	x.attempt.delivered, x.attempt.uploadErr = u.delivered, u.clientErr
	if u.delivered && x.rest != nil {
		x.rest.lift()
	}
	x.upload = nil
	return u.delivered
}
