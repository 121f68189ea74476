package sim

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// echoed sends a raw request and returns what arrived.
func (s *simulator) echoed(raw string) Echo {
	s.t.Helper()
	nc := s.dial()
	send(s.t, nc, raw)
	resp, err := receive(bufio.NewReader(nc))
	if err != nil {
		s.t.Fatal(err)
	}
	var e Echo
	if err := json.Unmarshal([]byte(resp.Body), &e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

func TestConn_EchoTellsRequestsByteForByte(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	e := s.echoed("PROPFIND /echo/a%2Fb/../c?x=%zz&y HTTP/1.1\r\nhOST: h\r\nX-b: 1\r\nx-A:  two words \t\r\nX-b: 2\r\nContent-Length: 3\r\n\r\n\x00\xff!")
	if e.Method != "PROPFIND" || e.Target != "/echo/a%2Fb/../c?x=%zz&y" || e.Transfer != "length" || e.BodyBytes != 3 {
		t.Errorf("got %+v", e)
	}
	want := [][2]string{{"hOST", "h"}, {"X-b", "1"}, {"x-A", "two words"}, {"X-b", "2"}, {"Content-Length", "3"}}
	for i, h := range want {
		if e.Headers[i] != h {
			t.Errorf("header %d: got %q, want %q", i, e.Headers[i], h)
		}
	}
	if b, err := base64.StdEncoding.DecodeString(e.BodyBase64); err != nil || string(b) != "\x00\xff!" {
		t.Errorf("body %q, %v", b, err)
	}
	e = s.echoed("POST /any/where HTTP/1.1\r\nHost: h\r\nx-sim-echo: true\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-T: end\r\n\r\n")
	if e.Transfer != "chunked" || e.BodyBytes != 5 || len(e.Trailers) != 1 || e.Trailers[0] != [2]string{"X-T", "end"} {
		t.Errorf("chunked: %+v", e)
	}
}

func TestConn_RefusesWhatTwoServersCouldReadDifferently(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	const head = "POST /v1/echo HTTP/1.1\r\nHost: h\r\n"
	bad := []string{
		head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		head + "Content-Length: +1\r\n\r\nx",
		head + "Content-Length: 1, 1\r\n\r\nx",
		head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		head + "X: a\r\n folded\r\n\r\n",
		head + "X : a\r\n\r\n",
		head + "X: a\x00\r\n\r\n",
		head + "X: a\nY: b\r\n\r\n",
		head + "Host: other\r\n\r\n",
		"GET /v1/echo HTTP/1.1\r\n\r\n",
		"GET  /v1/echo HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /v1/echo HTTP/2.0\r\nHost: h\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
	}
	for _, raw := range bad {
		nc := s.dial()
		send(t, nc, raw)
		resp, err := receive(bufio.NewReader(nc))
		if err != nil || resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%q: %v, %v", raw, resp, err)
		}
	}
	if n := s.Stats().Malformed; n != int64(len(bad)) {
		t.Errorf("%d malformed requests counted, want %d", n, len(bad))
	}
}

func TestConn_PipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	nc := s.dial()
	var raw strings.Builder
	for i := range 20 {
		raw.WriteString("GET /echo/" + itoa(i) + " HTTP/1.1\r\nHost: h\r\nx-sim-ttft: 100us\r\n\r\n")
	}
	send(t, nc, raw.String())
	r := bufio.NewReader(nc)
	for i := range 20 {
		resp, err := receive(r)
		if err != nil {
			t.Fatal(err)
		}
		var e Echo
		if err := json.Unmarshal([]byte(resp.Body), &e); err != nil || e.Target != "/echo/"+itoa(i) || e.Earlier != i {
			t.Fatalf("answer %d: %+v, %v", i, e, err)
		}
	}
}

func TestConn_MethodsAndVersions(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	raw, err := s.raw("HEAD", "/v1/models", "")
	if err != nil || !strings.HasSuffix(raw, "\r\n\r\n") || strings.Contains(raw, "Content-Length: 0\r\n") {
		t.Errorf("HEAD: %q, %v", raw, err)
	}
	if resp, _ := s.do("OPTIONS", chatPath, ""); resp.StatusCode != 200 || resp.Header.Get("Allow") == "" {
		t.Errorf("OPTIONS: %+v", resp)
	}
	if resp, _ := s.do("GET", "/v1/nowhere", ""); resp.StatusCode != 404 {
		t.Errorf("unknown path: %d", resp.StatusCode)
	}
	nc := s.dial()
	send(t, nc, "POST "+chatPath+" HTTP/1.0\r\nAuthorization: Bearer k\r\nContent-Length: "+itoa(len(streamChat))+"\r\n\r\n"+streamChat)
	b, err := io.ReadAll(nc)
	if err != nil || strings.Contains(string(b), "chunked") || !strings.HasSuffix(string(b), "data: [DONE]\n\n") {
		t.Errorf("HTTP/1.0: %q, %v", b, err)
	}
}

func TestConn_AsksForTheBodyWhenTheClientWaits(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	nc := s.dial()
	send(t, nc, "POST /v1/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	r := bufio.NewReader(nc)
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	send(t, nc, "ok")
	if resp, err := receive(r); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestConn_RefusesBodiesBeyondTheLimit(t *testing.T) {
	t.Parallel()
	s := start(t, Options{MaxBody: 100})
	for _, framing := range []string{"Content-Length: 101\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n65\r\n"} {
		nc := s.dial()
		send(t, nc, "POST /v1/echo HTTP/1.1\r\nHost: h\r\n"+framing)
		resp, err := receive(bufio.NewReader(nc))
		if err != nil || resp.StatusCode != 413 {
			t.Errorf("%v, %v", resp, err)
		}
	}
}

func TestConn_SeesClientsLeave(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	leave := func(directives, request string, read bool) {
		t.Helper()
		before := s.Stats()
		nc := s.dial()
		send(t, nc, wire("POST", chatPath, request, "x-sim: "+directives))
		s.await("the call", func(st Stats) bool { return st.InFlight == 1 })
		if read {
			if _, err := nc.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		nc.Close()
		s.await("the cancel after "+directives, func(st Stats) bool { return st.InFlight == 0 })
		st := s.Stats()
		waiting := st.CanceledWaiting - before.CanceledWaiting
		if st.Canceled-before.Canceled != 1 || (waiting == 1) == read {
			t.Errorf("%s: %d canceled, %d of them waiting", directives, st.Canceled-before.Canceled, waiting)
		}
	}
	leave("ttft=1h", plainChat, false)
	leave("fault=stall-head", plainChat, false)
	leave("tpot=1h", plainChat, false)
	leave("tpot=1h", streamChat, true)
	leave("fault=stall-mid", streamChat, true)
	leave("fault=stall-mid", plainChat, true)
	leave("fault=drip,interval=1h", plainChat, true)

	nc := s.dial() // in the middle of its own body
	send(t, nc, "POST /v1/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
	s.await("the call", func(st Stats) bool { return st.InFlight == 1 })
	nc.Close()
	s.await("the cancel", func(st Stats) bool { return st.InFlight == 0 && st.Canceled == 8 })
}

func TestConn_TLS(t *testing.T) {
	t.Parallel()
	ca := httptest.NewUnstartedServer(nil) // only for its certificate
	ca.StartTLS()
	defer ca.Close()
	s := start(t, Options{TLS: ca.TLS})
	dial := func() *tls.Conn {
		nc, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, ServerName: "api.example.com", NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return nc
	}
	nc := dial()
	send(t, nc, "GET /v1/echo HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := receive(bufio.NewReader(nc))
	if err != nil {
		t.Fatal(err)
	}
	var e Echo
	if err := json.Unmarshal([]byte(resp.Body), &e); err != nil || e.ServerName != "api.example.com" {
		t.Errorf("%+v, %v", e, err)
	}
	if p := nc.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("protocol %q", p)
	}
	// Waiting in a read and being told by it that the client left must work below TLS, too.
	nc = dial()
	send(t, nc, wire("POST", chatPath, streamChat, "x-sim: tpot=100us,tokens=5"))
	resp, err = receive(bufio.NewReader(nc))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(resp.Body, "[DONE]\n\n") {
		t.Errorf("paced stream: %q", resp.Body)
	}
	send(t, nc, wire("POST", chatPath, plainChat, "x-sim: ttft=1h"))
	s.await("the call", func(st Stats) bool { return st.InFlight == 1 })
	nc.Close()
	s.await("the cancel", func(st Stats) bool { return st.Canceled == 1 })
}

func TestServer_ShutdownWaitsForAnswersButNotForIdleConnections(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	idle := s.dial()
	send(t, idle, "GET /v1/echo HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, err := receive(bufio.NewReader(idle)); err != nil {
		t.Fatal(err)
	}
	busy := s.dial()
	send(t, busy, wire("POST", chatPath, plainChat, "x-sim: ttft=2s")) // long enough to be seen on a busy machine
	s.await("the call", func(st Stats) bool { return st.InFlight == 1 && st.Completed == 1 })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	resp, err := receive(bufio.NewReader(busy))
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("answer in flight: %v, %v", resp, err)
	}
	if st := s.Stats(); st.Completed != 2 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}

func TestServer_ShutdownCutsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	for _, d := range []string{"fault=stall-head", "fault=idle-close,idle=1h", "fault=drip,interval=1h"} {
		nc := s.dial()
		send(t, nc, wire("POST", chatPath, plainChat, "x-sim: "+d))
	}
	s.await("the calls", func(st Stats) bool { return st.Total() == 3 && st.Completed == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if st := s.Stats(); st.InFlight != 0 || st.Open != 0 || st.Canceled != 2 {
		t.Errorf("%+v", st)
	}
}

// It is not parallel: it counts the goroutines of the process.
func TestServer_LeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	s := start(t, Options{})
	for range 50 {
		nc := s.dial()
		send(t, nc, wire("POST", chatPath, streamChat, "x-sim: tpot=1h"))
	}
	s.await("the calls", func(st Stats) bool { return st.InFlight == 50 })
	s.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 5000 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		<-tick.C
	}
}
