package sim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// simulator is a running server and ways to reach it.
type simulator struct {
	*Server
	t    *testing.T
	addr string
	url  string
}

// start runs a simulator until the test ends, and then expects that nothing of it is left.
func start(t *testing.T, o Options) *simulator {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: got %v, want ErrServerClosed", err)
		}
		if st := s.Stats(); st.Open != 0 || st.InFlight != 0 {
			t.Errorf("after Close: %d connections open, %d requests in flight", st.Open, st.InFlight)
		}
	})
	scheme := "http://"
	if o.TLS != nil {
		scheme = "https://"
	}
	return &simulator{s, t, ln.Addr().String(), scheme + ln.Addr().String()}
}

// fixed is a clock that stands still.
func fixed() time.Time { return time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC) }

// dial opens a bare connection.
func (s *simulator) dial() net.Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc
}

// request composes a request; headers are whole lines.
func wire(method, target, body string, headers ...string) string {
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer key\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		b.WriteString("Content-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

// raw sends a request with Connection: close over a bare connection and returns all that comes back, and the error
// that the connection ended in.
func (s *simulator) raw(method, target, body string, headers ...string) (string, error) {
	s.t.Helper()
	nc := s.dial()
	send(s.t, nc, wire(method, target, body, append(headers, "Connection: close")...))
	b, err := io.ReadAll(nc)
	return string(b), err
}

// reply is a response that has been read to the end.
type reply struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64 // as stated
	Close         bool  // the connection is not to be used again
	Body          string
}

// receive reads a response. Of one whose body breaks off it returns what came, with the error.
func receive(r *bufio.Reader) (*reply, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &reply{resp.StatusCode, resp.Header, resp.ContentLength, resp.Close, string(b)}, err
}

// send writes a request; a client that cannot is a failed test.
func send(t testing.TB, w io.Writer, raw string) {
	t.Helper()
	if _, err := io.WriteString(w, raw); err != nil {
		t.Errorf("send: %v", err)
	}
}

// do sends a request on a connection of its own and returns the response and its body.
func (s *simulator) do(method, path, body string, headers ...string) (*reply, string) {
	s.t.Helper()
	nc := s.dial()
	send(s.t, nc, wire(method, path, body, headers...))
	resp, err := receive(bufio.NewReader(nc))
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, resp.Body
}

// await polls the counters until they are as expected.
func (s *simulator) await(what string, ok func(Stats) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok(s.Stats()) {
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s did not come about: %+v", what, s.Stats())
		case <-tick.C:
		}
	}
}
