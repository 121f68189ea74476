package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// serve runs handle for every connection to a new listener until the test ends.
func serve(t *testing.T, handle func(c *net.TCPConn)) *Origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
	}()
	return origin(t, "http://"+ln.Addr().String())
}

func origin(t *testing.T, base string) *Origin {
	t.Helper()
	o, err := NewOrigin(&config.Provider{BaseURL: base, MaxIdle: 8, IdleTimeout: time.Minute}, true)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// dial opens a connection with a generous deadline.
func dial(t *testing.T, o *Origin, tether *Tether) *Conn {
	t.Helper()
	c, err := o.Dial(tether, time.Now().Add(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer sends a request and reads the whole answer.
func answer(c *Conn, noBody bool) (body string, err error) {
	if err := c.WriteRequest([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), nil); err != nil {
		return "", err
	}
	if err := c.ReadHead(noBody); err != nil {
		return "", err
	}
	var b bytes.Buffer
	for {
		p, err := c.Next()
		b.Write(p)
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// readRequest waits for a request's head on the server's side.
func readRequest(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\r\n" {
			return err
		}
	}
}

func TestConn_Framing(t *testing.T) {
	t.Parallel()
	check := func(name, wire string, noBody bool, wantBody string, wantErr error, wantReuse bool) {
		t.Helper()
		for _, split := range []int{len(wire), 1, 3, 7} {
			o := serve(t, func(c *net.TCPConn) {
				if readRequest(bufio.NewReader(c)) != nil {
					return
				}
				for rest := wire; len(rest) > 0; {
					n := min(split, len(rest))
					if _, err := io.WriteString(c, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			})
			c := dial(t, o, &Tether{})
			body, err := answer(c, noBody)
			if body != wantBody || !errors.Is(err, wantErr) {
				t.Errorf("%s, in pieces of %d: got %q, %v; want %q, %v", name, split, body, err, wantBody, wantErr)
			}
			c.Release()
			if reuse := o.Idle() == 1; reuse != wantReuse && split == len(wire) {
				t.Errorf("%s: kept for another request: got %v, want %v", name, reuse, wantReuse)
			}
		}
	}
	check("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, "hello", nil, true)
	check("empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "", nil, true)
	check("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", false, "hello", nil, true)
	check("bare last line feed", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello", false, "hello", nil, true)
	check("bare line feeds, then not", "HTTP/1.1 200 OK\nContent-Length: 9\n\na\r\n\r\nbcd", false, "a\r\n\r\nbcd"[:8], io.ErrUnexpectedEOF, false)
	check("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", false, "hello!", nil, true)
	check("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", false, "hi", nil, true)
	check("until close", "HTTP/1.1 200 OK\r\n\r\nall of it", false, "all of it", nil, false)
	check("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "hi", nil, false)
	check("HTTP/1.0 kept alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", false, "hi", nil, true)
	check("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", false, "hi", nil, false)
	check("interim", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "hi", nil, true)
	check("no content", "HTTP/1.1 204 No Content\r\n\r\n", false, "", nil, true)
	check("not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, "", nil, true)
	check("head", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, "", nil, true)
	check("same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", false, "hi", nil, true)

	check("surplus", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", false, "hi", nil, false)
	check("cut length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", false, "hi", io.ErrUnexpectedEOF, false)
	check("cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", false, "hel", io.ErrUnexpectedEOF, false)
	check("no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", false, "hi", io.ErrUnexpectedEOF, false)
	check("bad chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n", false, "", errBadChunk, false)
	check("huge chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1234567890abcdef\r\nhi\r\n", false, "", errBadChunk, false)
	check("bare line feed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n", false, "", errBadChunk, false)
	check("length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false, "", errBadFraming, false)
	check("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", false, "", errBadFraming, false)
	check("signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", false, "", errBadFraming, false)
	check("gzip transfer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, "", errBadFraming, false)
	check("not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", false, "", errBadHead, false)
	check("bad name", "HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n", false, "", errBadHead, false)
	check("stray return", "HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n", false, "", errBadHead, false)
	check("stray return and bare line feed", "HTTP/1.1 200 OK\r\nX-A: a\rb\nX-B: c\r\n\r\n", false, "", errBadHead, false)
	check("NUL", "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\n\r\n", false, "", errBadHead, false)
	check("nothing", "", false, "", io.EOF, false)
	check("half a head", "HTTP/1.1 200 OK\r\nX-", false, "", io.ErrUnexpectedEOF, false)
}

func TestHead_FieldsLeaveOutWhatConcernsOneHop(t *testing.T) {
	t.Parallel()
	o := serve(t, func(c *net.TCPConn) {
		_ = readRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 Fine\r\nDate: today\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nx-request-id: abc\r\n"+
			"Keep-Alive: timeout=5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTE: x\r\nContent-Type:  text/plain \r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	c := dial(t, o, &Tether{})
	defer c.Discard()
	if _, err := answer(c, false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range c.Head.Fields() {
		got = append(got, string(f.Name)+"="+string(f.Value))
	}
	want := "Date=today x-request-id=abc Set-Cookie=a=1 Set-Cookie=b=2 Content-Type=text/plain"
	if strings.Join(got, " ") != want {
		t.Errorf("fields: got %q, want %q", got, want)
	}
	if c.Head.Status != 200 || string(c.Head.Reason) != "Fine" || string(c.Head.Get("x-request-id")) != "abc" {
		t.Errorf("head: got %d %q, id %q", c.Head.Status, c.Head.Reason, c.Head.Get("x-request-id"))
	}
}

func TestConn_LargeHeadAndItsLimit(t *testing.T) {
	t.Parallel()
	check := func(size int, want error) {
		t.Helper()
		o := serve(t, func(c *net.TCPConn) {
			_ = readRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Big: "+strings.Repeat("x", size)+"\r\nContent-Length: 2\r\n\r\nhi")
			_, _ = io.Copy(io.Discard, c)
		})
		c := dial(t, o, &Tether{})
		defer c.Discard()
		if _, err := answer(c, false); !errors.Is(err, want) {
			t.Errorf("head of %d bytes: got %v, want %v", size, err, want)
		}
	}
	check(100<<10, nil)
	check(300<<10, errHeadTooLarge)
}

func TestTether_CutEndsAWaitAndAStream(t *testing.T) {
	t.Parallel()
	check := func(name string, wire string) {
		t.Helper()
		gone := make(chan struct{})
		o := serve(t, func(c *net.TCPConn) {
			_ = readRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, wire)
			_, _ = io.Copy(io.Discard, c)
			close(gone)
		})
		var tether Tether
		c := dial(t, o, &tether)
		done := make(chan error)
		go func() {
			_, err := answer(c, false)
			c.Release()
			done <- err
		}()
		tether.Cut()
		if err := <-done; !errors.Is(err, ErrCut) {
			t.Errorf("%s: got %v, want ErrCut", name, err)
		}
		<-gone
		if o.Idle() != 0 || o.Open() != 0 {
			t.Errorf("%s: a cut connection was kept: %d idle, %d open", name, o.Idle(), o.Open())
		}
		if _, err := o.Dial(&tether, time.Time{}); !errors.Is(err, ErrCut) {
			t.Errorf("%s: dialling after the cut: got %v, want ErrCut", name, err)
		}
	}
	check("before the head", "")
	check("in the body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
}

func TestTether_CutEndsADial(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts at TCP level, but never speaks TLS
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o := origin(t, "https://"+ln.Addr().String())
	var tether Tether
	done := make(chan error)
	go func() {
		_, err := o.Dial(&tether, time.Time{})
		done <- err
	}()
	if c, err := ln.Accept(); err == nil {
		defer c.Close()
	}
	tether.Cut()
	if err := <-done; !errors.Is(err, ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
	if o.Open() != 0 {
		t.Errorf("open connections: got %d, want 0", o.Open())
	}
}

func TestConn_DeadlinesAreTold(t *testing.T) {
	t.Parallel()
	o := serve(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	c := dial(t, o, &Tether{})
	defer c.Discard()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := answer(c, false); !Timeout(err) {
		t.Errorf("got %v, want a timeout", err)
	}
}

// The provider closes a kept-alive connection; what is written to it then was certainly not processed. When it closes after it
// has taken a request, that is not certain.
func TestConn_MayRepeatOnlyWhatNobodySaw(t *testing.T) {
	t.Parallel()
	check := func(name string, closeFirst, safe, want bool) {
		t.Helper()
		taken, closed := make(chan struct{}), make(chan struct{})
		o := serve(t, func(c *net.TCPConn) {
			r := bufio.NewReader(c)
			_ = readRequest(r)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if closeFirst {
				<-taken
			} else {
				_ = readRequest(r)
			}
			c.Close()
			close(closed)
		})
		var tether Tether
		first := dial(t, o, &tether)
		if _, err := answer(first, false); err != nil {
			t.Fatal(err)
		}
		if first.MayRepeat(io.EOF, true) {
			t.Errorf("%s: an answered request was to be repeated", name)
		}
		first.Release()
		c, err := o.Get(&tether)
		if err != nil || c == nil {
			t.Fatalf("%s: no idle connection: %v", name, err)
		}
		close(taken)
		if closeFirst {
			<-closed
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = answer(c, false)
		if err == nil {
			t.Fatalf("%s: the answer came from a closed connection", name)
		}
		if got := c.MayRepeat(err, safe); got != want {
			t.Errorf("%s: may be repeated after %v: got %v, want %v", name, err, got, want)
		}
		c.Discard()
	}
	check("closed as it is taken", true, false, true)
	check("closed after the request", false, false, false)
	check("closed after a safe request", false, true, true)
}

func TestOrigin_PoolKeepsTheWarmestAndAgesTheRest(t *testing.T) {
	t.Parallel()
	o := serve(t, func(c *net.TCPConn) {
		for r := bufio.NewReader(c); readRequest(r) == nil; {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	o.maxIdle = 2
	conns := []*Conn{dial(t, o, &Tether{}), dial(t, o, &Tether{}), dial(t, o, &Tether{})}
	for _, c := range conns {
		if _, err := answer(c, false); err != nil {
			t.Fatal(err)
		}
		c.Release()
	}
	if o.Idle() != 2 || o.Open() != 2 {
		t.Fatalf("after three releases into a pool of two: %d idle, %d open", o.Idle(), o.Open())
	}
	c, err := o.Get(&Tether{})
	if err != nil || c != conns[1] {
		t.Errorf("get: got %p, %v; want the one released last, %p", c, err, conns[1])
	}
	c.Discard()
	o.CloseIdle(time.Now().Add(2 * time.Minute))
	if o.Idle() != 0 || o.Open() != 0 {
		t.Errorf("after the idle timeout: %d idle, %d open; want none", o.Idle(), o.Open())
	}
	if c, err := o.Get(&Tether{}); c != nil || err != nil {
		t.Errorf("get from an empty pool: got %v, %v", c, err)
	}
}

func TestConn_WritesBodiesOfEverySize(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln) //nolint:errcheck // ends with the test
	defer srv.Close()
	o := origin(t, "http://"+ln.Addr().String())
	c := dial(t, o, &Tether{})
	defer c.Discard()
	for _, size := range []int{0, 1, JoinLimit, JoinLimit + 1, 1 << 20} {
		body := strings.Repeat("b", size)
		if err := c.WriteRequest(fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size), []byte(body)); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadHead(false); err != nil {
			t.Fatalf("body of %d bytes: %v", size, err)
		}
		if g := <-got; g != body {
			t.Errorf("body of %d bytes: the provider got %d", size, len(g))
		}
		if _, err := c.Next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

func FuzzDechunk_EverySplitIsTheSame(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n"), uint8(3))
	f.Add([]byte("0\r\nA: b\r\n\r\nrest"), uint8(1))
	f.Add([]byte("fffffffffffffff\r\nx"), uint8(2))
	f.Fuzz(func(t *testing.T, wire []byte, step uint8) {
		if len(wire) == 0 || len(wire) > 4096 {
			return
		}
		whole, wholeRest, wholeErr := dechunkInPieces(wire, len(wire))
		split, splitRest, splitErr := dechunkInPieces(wire, int(step)+1)
		if wholeErr == nil && splitErr == nil && (whole != split || wholeRest != splitRest) {
			t.Errorf("whole: %q, %d left; in pieces of %d: %q, %d left", whole, wholeRest, step+1, split, splitRest)
		}
		if (wholeErr == nil) != (splitErr == nil) {
			t.Errorf("whole: %v; in pieces of %d: %v", wholeErr, step+1, splitErr)
		}
	})
}

// dechunkInPieces returns the data, the first error and how many bytes behind the body were left.
func dechunkInPieces(wire []byte, step int) (data string, rest int, err error) {
	c := &Conn{buf: make([]byte, 8192), body: body{mode: bodyChunked}}
	var out []byte
	for len(wire) > 0 && !c.body.done {
		n := min(step, len(wire))
		c.r, c.w = 0, copy(c.buf, wire[:n])
		wire = wire[n:]
		piece, err := c.dechunk()
		out = append(out, piece...)
		if err != nil {
			return string(out), 0, err
		}
	}
	return string(out), len(wire) + c.w - c.r, nil
}
