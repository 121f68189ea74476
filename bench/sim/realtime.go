package sim

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// realtime answers GET …/realtime, a WebSocket: session.created first, then every message back as it came. Text and
// binary messages keep their kind. Of the subprotocols on offer "realtime" is taken.
func (x *exchange) realtime(a *answer) {
	if !x.req.upgrade {
		a.openAIError(400, "This endpoint expects a WebSocket upgrade", "invalid_request_error", "", "")
		return
	}
	a.takeOver = x.serveWebSocket
}

// maxMessage is the largest WebSocket message that is echoed.
const maxMessage = 16 << 20

func (x *exchange) serveWebSocket() error {
	w := &hijacker{x: x, header: http.Header{"X-Request-Id": {x.requestID()}, "Openai-Version": {"2020-10-01"}}}
	ws, err := websocket.Accept(w, x.httpRequest(), &websocket.AcceptOptions{
		Subprotocols:       []string{"realtime"},
		InsecureSkipVerify: true, // any origin: nothing here is worth protecting
	})
	if err != nil {
		return w.finish()
	}
	x.sent = true
	defer func() { _ = ws.CloseNow() }() // an error says that it is closed already
	ws.SetReadLimit(maxMessage)
	ctx := context.Background() // cutting closes the connection under it
	if x.d.faults.has(faultCloseMid | faultResetMid) {
		return x.breakWebSocket(ctx, ws)
	}
	hello := `{"type":"session.created","event_id":"` + x.id("event_", 21, alphabet) + `","session":{"type":"realtime","object":"realtime.session","id":"` +
		x.id("sess_", 21, alphabet) + `","model":` + string(appendQuoted(nil, x.req.queryValue("model"))) + `}}`
	if err := ws.Write(ctx, websocket.MessageText, []byte(hello)); err != nil {
		return errGone
	}
	for {
		kind, p, err := ws.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) >= 0 {
				return nil
			}
			return errGone
		}
		x.srv.stats.bytesIn.Add(int64(len(p)))
		if err := ws.Write(ctx, kind, p); err != nil {
			return errGone
		}
		x.srv.stats.bytesOut.Add(int64(len(p)))
	}
}

// breakWebSocket answers one message and cuts the connection without a close frame.
func (x *exchange) breakWebSocket(ctx context.Context, ws *websocket.Conn) error {
	if _, _, err := ws.Read(ctx); err != nil {
		return errGone
	}
	if x.d.faults.has(faultResetMid) {
		x.took(faultResetMid)
		x.c.reset()
	} else {
		x.took(faultCloseMid)
		x.c.close()
	}
	return errBroken
}

// httpRequest is the request as net/http would have parsed it, without a body.
func (x *exchange) httpRequest() *http.Request {
	r := &http.Request{
		Method: string(x.req.method), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Host: string(x.req.header("host")), RequestURI: string(x.req.target),
	}
	for _, h := range x.req.headers {
		r.Header.Add(string(h.name), string(h.value))
	}
	return r
}

// hijacker is an http.ResponseWriter whose connection can be taken.
type hijacker struct {
	x      *exchange
	header http.Header
	status int
	body   strings.Builder
}

func (w *hijacker) Header() http.Header         { return w.header }
func (w *hijacker) Write(p []byte) (int, error) { return w.body.Write(p) }

// WriteHeader sends the head of an accepted upgrade and keeps the status of a refused one for finish.
func (w *hijacker) WriteHeader(status int) {
	w.status = status
	if status != http.StatusSwitchingProtocols {
		return
	}
	c := w.x.c
	c.out = append(c.out, "HTTP/1.1 101 Switching Protocols\r\n"...)
	for name, values := range w.header {
		for _, v := range values {
			c.out = append(append(append(append(c.out, name...), ": "...), v...), "\r\n"...)
		}
	}
	c.out = append(c.out, "\r\n"...)
	_ = c.flush() // a client that left shows in the first read
}

// Hijack hands over the connection, and in the reader's buffer what has been read of it in advance.
func (w *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.x.c
	early := string(c.in[c.r:c.w])
	c.r, c.w = 0, 0
	br := bufio.NewReaderSize(strings.NewReader(early), len(early))
	if _, err := br.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return c.nc, bufio.NewReadWriter(br, bufio.NewWriter(c.nc)), nil
}

// finish answers an upgrade that was refused.
func (w *hijacker) finish() error {
	a := &w.x.ans
	a.reset()
	a.status, a.ctype, a.instant = w.status, "text/plain; charset=utf-8", true
	a.str(w.body.String())
	return w.x.transmit(a)
}
