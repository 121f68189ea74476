package proxy

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/upstream"
)

// tunnel connects client and provider after a 101 answer, such as a WebSocket's, and passes bytes both ways until one
// side ends.
func (p *Proxy) tunnel(ctx *fasthttp.RequestCtx, x *Exchange) {
	if x.showsHeaders() {
		x.out = x.appendOwnLines(x.out, time.Now())
	}
	x.out = appendLine(append(x.out, "Connection: Upgrade\r\n"...), "Upgrade", x.conn.Head.Upgrade)
	x.out = append(x.out, "\r\n"...)
	p.hijack(ctx, x, func(client io.ReadWriter) {
		// From here on reading tells when the client ends, after its last bytes; the watch would tell before them. A fast client
		// may be through as soon as it has the head.
		x.client.tunnelling.Store(true)
		_, err := client.Write(x.out)
		if x.wrote(err) != nil {
			return
		}
		x.pump(client)
	})
}

// pump copies both ways until either side ends. What a side has sent before it ended still reaches the other.
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
	var panicked error
	defer func() {
		_ = x.client.SetReadDeadline(time.Unix(1, 0))
		wg.Wait()
		if panicked != nil {
			x.endWith(&internal, panicked)
		}
	}()
	wg.Go(func() {
		defer x.p.contain(x, func(err error) {
			panicked = err
			x.conn.Interrupt()
		})
		_, _ = io.Copy(providerWriter{x, provider}, onlyReader{client})
		_ = x.conn.CloseWrite()
		x.conn.HurryRead(time.Now().Add(lingerTimeout)) // for the provider's last words
	})
	var err error
	if x.delivered, err = io.Copy(clientWriter{x, client}, onlyReader{provider}); err != nil {
		_, _ = io.Copy(io.Discard, onlyReader{provider}) // the client is gone: closing over unread bytes would take back its own last ones
	}
}

// onlyReader keeps io.Copy from other ways of copying than Read.
type onlyReader struct{ io.Reader }

// clientWriter writes to the client within the time that a client may stall.
type clientWriter struct {
	x  *Exchange
	to io.Writer
}

func (w clientWriter) Write(p []byte) (int, error) {
	now := time.Now()
	w.x.keepPasses(now)
	w.x.client.armWrite(now, w.x.settings.writeTimeout)
	return w.to.Write(p)
}

// providerWriter writes to the provider within the same time.
type providerWriter struct {
	x  *Exchange
	to io.Writer
}

func (w providerWriter) Write(p []byte) (int, error) {
	w.x.conn.SetWriteDeadline(time.Now().Add(w.x.settings.writeTimeout))
	if w.x.client.tether.IsCut() { // who cuts sets his deadline after he has marked the tether: ours must not outlive it
		return 0, upstream.ErrCut
	}
	return w.to.Write(p)
}

// hijack takes the client's connection out of fasthttp's hands, serves it and ends the exchange.
func (p *Proxy) hijack(ctx *fasthttp.RequestCtx, x *Exchange, serve func(client io.ReadWriter)) {
	p.hijacked.Add(1)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(conn net.Conn) {
		defer p.hijacked.Done()
		defer func() {
			x.closeConn()
			p.record(x)
		}()
		defer p.contain(x, func(err error) { x.endWith(&internal, err) })
		x.client.writeUntil = time.Time{} // fasthttp has lifted the deadline
		x.client.armWrite(time.Now(), x.settings.writeTimeout)
		serve(conn)
	})
}
