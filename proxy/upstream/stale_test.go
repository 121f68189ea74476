package upstream

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// A provider may close a kept-alive connection, or write to it what nobody asked for: such a connection must not serve
// another request, whose answer would be somebody else's. One that only brings TLS session tickets is as good as ever.
func TestOrigin_GetPassesOverStaleConnections(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	check := func(name string, secure, rawIO bool, afterwards func(c net.Conn), want bool) {
		t.Helper()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := "http://" + ln.Addr().String()
		if secure {
			ln, base = tls.NewListener(ln, serverTLS(t)), "https://"+ln.Addr().String()
		}
		t.Cleanup(func() { ln.Close() })
		read, done := make(chan struct{}), make(chan struct{})
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			_ = readRequest(r)
			_, _ = io.WriteString(c, ok)
			<-read
			afterwards(c)
			close(done)
			_, _ = io.Copy(io.Discard, c)
		}()
		p := config.Provider{BaseURL: base, MaxIdle: 8, IdleTimeout: time.Minute, TLS: config.TLS{Insecure: true}}
		o, err := NewOrigin(&p, rawIO)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, o, &Tether{})
		if _, err := answer(c, false); err != nil {
			t.Fatal(err)
		}
		c.Release()
		close(read)
		<-done
		time.Sleep(10 * time.Millisecond) // loopback delivers within microseconds
		c, err = o.Get(&Tether{})
		if got := c != nil; got != want || err != nil {
			t.Errorf("%s, TLS %v, raw %v: usable: got %v, %v; want %v", name, secure, rawIO, got, err, want)
		}
		if !want && (o.Open() != 0 || o.Stale.Load() != 1) {
			t.Errorf("%s, TLS %v, raw %v: %d open, %d counted as stale", name, secure, rawIO, o.Open(), o.Stale.Load())
		}
		if c != nil {
			c.Discard()
		}
	}
	for _, secure := range []bool{false, true} {
		for _, rawIO := range []bool{false, true} {
			check("silent", secure, rawIO, func(net.Conn) {}, true)
			check("closed", secure, rawIO, func(c net.Conn) { c.Close() }, false)
			check("an answer too many", secure, rawIO, func(c net.Conn) { _, _ = io.WriteString(c, ok) }, false)
			check("one byte", secure, rawIO, func(c net.Conn) { _, _ = io.WriteString(c, "\n") }, false)
			check("408 and closed", secure, rawIO, func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				c.Close()
			}, false)
		}
	}
}

// A deadline of the last exchange may pass while the connection waits: that makes it no worse.
func TestOrigin_GetLooksPastOldDeadlines(t *testing.T) {
	t.Parallel()
	for _, rawIO := range []bool{false, true} {
		o := serve(t, func(c *net.TCPConn) {
			_ = readRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		o.rawIO = rawIO
		c := dial(t, o, &Tether{})
		if _, err := answer(c, false); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(longAgo)
		c.Release()
		c, err := o.Get(&Tether{})
		if c == nil || err != nil {
			t.Fatalf("raw %v: got %v, %v; want the connection", rawIO, c, err)
		}
		c.Discard()
	}
}

// serverTLS borrows the certificate of net/http's test server.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	srv.Close()
	return &tls.Config{Certificates: srv.TLS.Certificates}
}
