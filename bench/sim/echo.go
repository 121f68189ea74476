package sim

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
)

// maxEchoedBody is the largest body that an echo repeats.
const maxEchoedBody = 64 << 10

// Echo is the answer of the echo endpoint: a request exactly as it arrived.
type Echo struct {
	Method     string      `json:"method"`
	Target     string      `json:"target"` // raw
	Proto      string      `json:"proto"`
	Headers    [][2]string `json:"headers"` // in order, names as they were spelled
	Trailers   [][2]string `json:"trailers,omitempty"`
	Transfer   string      `json:"transfer"` // of the body: none, length or chunked
	BodyBytes  int         `json:"body_bytes"`
	BodySHA256 string      `json:"body_sha256"`
	BodyBase64 string      `json:"body_base64,omitempty"` // bodies up to 64 KiB
	Connection uint64      `json:"connection"`            // number of the connection, from 1
	Earlier    int         `json:"earlier"`               // requests before this one on the connection
	ServerName string      `json:"server_name,omitempty"` // TLS SNI
}

// echo answers with the request itself.
func (x *exchange) echo(a *answer) {
	sum := sha256.Sum256(x.body)
	e := Echo{
		Method: string(x.req.method), Target: string(x.req.target), Proto: "HTTP/1.1", Trailers: x.trailer,
		Transfer: "none", BodyBytes: len(x.body), BodySHA256: hex.EncodeToString(sum[:]),
		Connection: x.c.id, Earlier: x.c.served,
	}
	if x.req.proto10 {
		e.Proto = "HTTP/1.0"
	}
	switch {
	case x.req.chunked:
		e.Transfer = "chunked"
	case x.req.length >= 0:
		e.Transfer = "length"
	}
	for _, h := range x.req.headers {
		e.Headers = append(e.Headers, [2]string{string(h.name), string(h.value)})
	}
	if len(x.body) <= maxEchoedBody {
		e.BodyBase64 = base64.StdEncoding.EncodeToString(x.body)
	}
	if t, ok := x.c.nc.(*tls.Conn); ok {
		e.ServerName = t.ConnectionState().ServerName
	}
	body, err := json.Marshal(&e)
	if err != nil {
		panic("BUG: echo: " + err.Error())
	}
	a.json(200, body)
	a.instant = false // what takes time is what some tests need
}
