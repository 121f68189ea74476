package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// earlyAnswer is a provider that answers from the head alone and then takes as much of the body as it is told to.
func earlyAnswer(t *testing.T, answer string, after func(c *net.TCPConn, r *bufio.Reader)) string {
	return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(c, answer)
		after(c, r)
	})
}

func TestUpload_EarlyAnswerPasses(t *testing.T) {
	t.Parallel()
	refusal := "HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"error\":\"size\"}"
	check := func(name string, size int, chunked bool) {
		t.Helper()
		c := testConfig(earlyAnswer(t, refusal, func(*net.TCPConn, *bufio.Reader) {}))
		c.Server.ReplayLimit = 1 << 20
		g := start(t, c)
		var body io.Reader = strings.NewReader(strings.Repeat("x", size))
		if chunked {
			body = struct{ io.Reader }{body}
		}
		resp, err := http.Post("http://"+g.addr+"/v1/files", "application/octet-stream", body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 413 || string(got) != `{"error":"size"}` || err != nil {
			t.Errorf("%s: got %d %q, %v; want the provider's 413", name, resp.StatusCode, got, err)
		}
	}
	check("buffered", 900<<10, false)
	check("streaming", 30<<20, false)
	check("streaming in chunks", 30<<20, true)
}

func TestUpload_StreamThatStartsAtOnceRunsBesideTheBody(t *testing.T) {
	t.Parallel()
	got := make(chan int64, 1)
	c := testConfig(earlyAnswer(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk("first"), func(c *net.TCPConn, r *bufio.Reader) {
		n, _ := io.CopyN(io.Discard, r, 10<<20)
		got <- n
		_, _ = io.WriteString(c, chunk("last")+"0\r\n\r\n")
	}))
	c.Server.ReplayLimit = 1 << 20
	g := start(t, c)
	conn := g.dial()
	_, _ = fmt.Fprintf(conn, "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n", 10<<20)
	piece := strings.Repeat("x", 1<<20)
	for range 2 {
		_, _ = io.WriteString(conn, piece)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
		t.Fatalf("while the body is on its way: got %q, %v", first, err)
	}
	for range 8 {
		_, _ = io.WriteString(conn, piece)
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "last" {
		t.Errorf("got %q, %v", rest, err)
	}
	if n := <-got; n != 10<<20 {
		t.Errorf("the provider got %d bytes", n)
	}
	// The connection has survived.
	if _, err := io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 404 {
		t.Errorf("next request: %v, %v", resp, err)
	}
}

// fasthttp ends a body of known length quietly when its connection ends; what came of it must not pass for the whole.
func TestUpload_BodyEndedEarlyIsNotTheWhole(t *testing.T) {
	t.Parallel()
	b := clientBody{stream: strings.NewReader(strings.Repeat("x", 500)), length: 900, left: 1000}
	x := &Exchange{}
	if err := x.buffer(&b, 900, 1000); !errors.Is(err, io.ErrUnexpectedEOF) || b.ended {
		t.Errorf("500 of 900 bytes: got %v, ended %v", err, b.ended)
	}
	b, x = clientBody{stream: strings.NewReader(strings.Repeat("x", 900)), length: 900, left: 1000}, &Exchange{}
	if err := x.buffer(&b, 900, 1000); err != nil || !b.ended {
		t.Errorf("900 of 900 bytes: got %v, ended %v", err, b.ended)
	}
}

func TestUpload_BrokenBodyNeverLooksWhole(t *testing.T) {
	t.Parallel()
	var whole atomic.Int64
	c := testConfig(raw(t, func(_ *net.TCPConn, r *bufio.Reader) {
		if _, err := readMessage(r); err == nil {
			whole.Add(1)
		}
	}))
	c.Server.ReplayLimit = 1 << 10
	g := start(t, c)
	n := 0
	check := func(name, wire string, want string) {
		t.Helper()
		conn := g.dial()
		_, _ = io.WriteString(conn, wire)
		if want == "" {
			conn.Close()
		} else if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: got %.80q, want %q", name, got, want)
		}
		n++
		if want == "" && strings.Contains(wire, "Content-Length: 900\r\n") {
			return // ended before it became an exchange
		}
		if line := g.lines(n)[n-1]; line["outcome"] == "ok" || whole.Load() > 0 || want == "" && line["outcome"] != "canceled" {
			t.Errorf("%s: the provider got a whole request; log %v", name, line)
		}
	}
	head := "POST /v1/files HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
	check("bad chunk", head+chunk(strings.Repeat("x", 4000))+"nonsense\r\n", "HTTP/1.1 400")
	check("client leaves", head+chunk(strings.Repeat("x", 4000)), "")
	check("client leaves before the length", "POST /v1/files HTTP/1.1\r\nHost: g\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 90_000), "")
	check("client ends a buffered body early", "POST /v1/files HTTP/1.1\r\nHost: g\r\nContent-Length: 900\r\n\r\n"+strings.Repeat("x", 500), "")
	eventually(t, "connections ended", func() bool { return g.p.settings.Load().providers["openai"].origin.Open() == 0 })
	if whole.Load() > 0 {
		t.Error("the provider got a whole request")
	}
}
