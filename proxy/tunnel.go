package proxy

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// tunnel connects client and provider after a 101 answer, such as a WebSocket's, and passes bytes both ways until one
// side ends.
func (p *Proxy) tunnel(ctx *fasthttp.RequestCtx, x *Exchange) {
	to := &ctx.Response.Header
	if p.responseHeaders {
		x.appendOwnHeaders(to)
	}
	to.Set("Connection", "Upgrade")
	to.Set("Upgrade", string(x.conn.Head.Upgrade))
	head := append([]byte(nil), to.Header()...)
	p.hijack(ctx, x, func(client io.ReadWriter) {
		defer func() { _ = x.Close() }()
		x.ended = true
		if _, err := client.Write(head); err != nil {
			x.endWith(&clientLeft, err)
			return
		}
		x.pump(client)
	})
}

// pump copies both ways. When either side ends or falls silent for longer than a stalled write may take, both end.
func (x *Exchange) pump(client io.ReadWriter) {
	early, provider := x.conn.Tunnel()
	if err := x.conn.SetDeadline(time.Time{}); err != nil { // a conversation may be silent for as long as its ends like
		return
	}
	if len(early) > 0 {
		if _, err := client.Write(early); err != nil {
			return
		}
	}
	x.attempt.content = x.attempt.answered
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(provider, onlyReader{client})
		x.conn.Interrupt() // wakes the other direction
	})
	x.delivered, _ = io.Copy(clientWriter{x, client}, onlyReader{provider})
	x.client.leave()
	_ = x.client.SetReadDeadline(time.Unix(1, 0))
	wg.Wait()
}

// onlyReader keeps io.Copy from other ways of copying than Read.
type onlyReader struct{ io.Reader }

// clientWriter writes to the client within the time that a client may stall.
type clientWriter struct {
	x  *Exchange
	to io.Writer
}

func (w clientWriter) Write(p []byte) (int, error) {
	w.x.client.armWrite(time.Now(), w.x.p.writeTimeout)
	return w.to.Write(p)
}

// hijack takes the client's connection out of fasthttp's hands. The exchange's part must end with Close.
func (p *Proxy) hijack(ctx *fasthttp.RequestCtx, x *Exchange, serve func(client io.ReadWriter)) {
	p.hijacked.Add(1)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(conn net.Conn) {
		defer p.hijacked.Done()
		x.client.writeUntil = time.Time{} // fasthttp has lifted the deadline
		x.client.armWrite(time.Now(), p.writeTimeout)
		serve(conn)
	})
}
