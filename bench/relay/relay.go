// Package relay is the least that a reverse proxy written with fasthttp does: it forwards requests and relays answers,
// parses nothing and keeps nothing. It is what the proxy's cost is measured against.
package relay

import (
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// Serve forwards what comes in at ln to the server at upstream (host:port). It returns when ln fails or is closed.
func Serve(ln net.Listener, upstream string) error {
	client := &fasthttp.HostClient{
		Addr:                          upstream,
		MaxConns:                      1 << 16,
		StreamResponseBody:            true,
		NoDefaultUserAgentHeader:      true,
		DisableHeaderNamesNormalizing: true,
		DisablePathNormalizing:        true,
	}
	server := &fasthttp.Server{
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		DisableHeaderNamesNormalizing: true,
		MaxRequestBodySize:            64 << 20,
		Handler: func(ctx *fasthttp.RequestCtx) {
			answer := fasthttp.AcquireResponse()
			ctx.Request.SetHost(upstream)
			if err := client.Do(&ctx.Request, answer); err != nil {
				fasthttp.ReleaseResponse(answer)
				ctx.Error(err.Error(), fasthttp.StatusBadGateway)
				return
			}
			answer.Header.CopyTo(&ctx.Response.Header)
			length := answer.Header.ContentLength()
			if length < 0 {
				length = -1
				ctx.Response.ImmediateHeaderFlush = true
			}
			ctx.Response.SetBodyStream(body{answer.BodyStream(), answer}, length)
		},
	}
	return server.Serve(ln)
}

// body is an answer's body that lets go of the answer when it has been relayed.
type body struct {
	io.Reader
	answer *fasthttp.Response
}

func (b body) Close() error {
	err := b.answer.CloseBodyStream()
	fasthttp.ReleaseResponse(b.answer)
	return err
}
