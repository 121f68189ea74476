package upstream

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// A provider may close a kept-alive connection, or write to it what nobody asked for: such a connection must not serve
// another request, whose answer would be somebody else's. One that only brings TLS session tickets is as good as ever.
func TestConn_StaleOnesAreNotAsked(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	check := func(name string, secure, rawIO, beside bool, afterwards func(c net.Conn), want bool) {
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
			_ = readRequest(r)
			_, _ = io.WriteString(c, ok)
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
		if c == nil || err != nil {
			t.Fatalf("%s: no connection: %v", name, err)
		}
		var got bool
		switch {
		case beside:
			if got = c.Usable(); got {
				err = c.WriteRequest([]byte("GET / HTTP/1.1\r\n\r\n"), nil)
			}
		default:
			_, err = c.Ask([]byte("GET / HTTP/1.1\r\n\r\n"), nil)
			got = !errors.Is(err, ErrStale)
		}
		if got != want || got && err != nil {
			t.Errorf("%s, TLS %v, raw %v: usable: got %v, %v; want %v", name, secure, rawIO, got, err, want)
		}
		if got {
			if err = c.ReadHead(false); err != nil || c.Head.Status != 200 {
				t.Errorf("%s, TLS %v, raw %v: %d, %v", name, secure, rawIO, c.Head.Status, err)
			}
		}
		c.Discard()
		if reuses, stale := o.Reuses.Load(), o.Stale.Load(); want && reuses != 1 || !want && stale != 1 || reuses+stale != 1 || o.Open() != 0 {
			t.Errorf("%s, TLS %v, raw %v: %d reuses, %d stale, %d open", name, secure, rawIO, reuses, stale, o.Open())
		}
	}
	for _, secure := range []bool{false, true} {
		for _, way := range []struct{ rawIO, beside bool }{{}, {rawIO: true}, {rawIO: true, beside: true}} {
			check("silent", secure, way.rawIO, way.beside, func(net.Conn) {}, true)
			check("closed", secure, way.rawIO, way.beside, func(c net.Conn) { c.Close() }, false)
			check("an answer too many", secure, way.rawIO, way.beside, func(c net.Conn) { _, _ = io.WriteString(c, ok) }, false)
			check("one byte", secure, way.rawIO, way.beside, func(c net.Conn) { _, _ = io.WriteString(c, "\n") }, false)
			check("408 and closed", secure, way.rawIO, way.beside, func(c net.Conn) {
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
		_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
		if sent, err := c.Ask([]byte("GET / HTTP/1.1\r\n\r\n"), nil); !sent || err != nil {
			t.Errorf("raw %v: got %v, %v; want it sent", rawIO, sent, err)
		}
		if err := c.ReadHead(false); !Timeout(err) {
			t.Errorf("raw %v: got %v; want the deadline that was set last", rawIO, err)
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
