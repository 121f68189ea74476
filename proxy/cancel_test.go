package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stopped is a provider that writes an answer's beginning; it tells when a request has come and when its connection has
// ended.
func stopped(t *testing.T, answer string) (url string, came <-chan struct{}, ended <-chan time.Time) {
	ch, requests := make(chan time.Time, 64), make(chan struct{}, 64)
	return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := readMessage(r); err != nil {
			return
		}
		requests <- struct{}{}
		_, _ = io.WriteString(c, answer)
		_, _ = io.Copy(io.Discard, r)
		ch <- time.Now()
	}), requests, ch
}

func TestCancel_ProviderStopsWithinASecond(t *testing.T) {
	t.Parallel()
	check := func(name, answer string, leave func(c *net.TCPConn)) {
		t.Helper()
		url, came, ended := stopped(t, answer)
		g := start(t, testConfig(url))
		conn := g.dial()
		_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello"}]}`))
		if answer != "" {
			if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
				t.Fatal(err)
			}
		} else {
			<-came
		}
		left := time.Now()
		leave(conn)
		select {
		case at := <-ended:
			if d := at.Sub(left); d > time.Second {
				t.Errorf("%s: the provider was stopped after %v", name, d)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the provider was not stopped", name)
		}
		line := g.lines(1)[0]
		if line["outcome"] != "canceled" || line["estimated"] != true || line["cost_nanousd"] == 0.0 {
			t.Errorf("%s: log %v, want canceled with an estimated cost", name, line)
		}
		eventually(t, "all connections closed", func() bool {
			return g.p.settings.Load().providers["openai"].origin.Open() == 0 && g.p.clients.count() == 0
		})
	}
	closing := func(c *net.TCPConn) { c.Close() }
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }
	check("closed before the first byte", "", closing)
	check("reset before the first byte", "", reset)
	check("closed in mid-stream", chunkedHead+chunk(chatFrame("hi")), closing)
	check("reset in mid-stream", chunkedHead+chunk(chatFrame("hi")), reset)
}

// Exchanges are pooled with their meters. One that ends before its answer must not be charged what another has used.
func TestCancel_NoUsageOfAnotherExchange(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 16)
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			if strings.Contains(string(m.body), "house-model") {
				came <- struct{}{}
				_, _ = io.Copy(io.Discard, r)
				return
			}
			_, _ = io.WriteString(c, strings.Replace(chatAnswer("gpt-4o-mini"), `"prompt_tokens":10`, `"prompt_tokens":99`, 1))
		}
	})))
	for range 5 {
		g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","messages":[]}`))
		conn := g.dial()
		_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"house-model","messages":[]}`))
		<-came
		conn.Close()
	}
	eventually(t, "all recorded", func() bool { return len(g.lines(10)) == 10 })
	for _, line := range g.lines(10) {
		if line["target"] == "openai/house-model" && (line["estimated"] != true || line["unpriced"] != true || line["tokens_input"] == 99.0 || line["cost_nanousd"] != 0.0) {
			t.Errorf("log: %v, want an estimate of its own", line)
		}
	}
}

func TestCancel_OverTLS(t *testing.T) {
	t.Parallel()
	url, _, ended := stopped(t, chunkedHead+chunk(chatFrame("hi")))
	g, pool := startTLS(t, testConfig(url))
	conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the provider was not stopped")
	}
}

func TestCancel_SweepSeesClientsLeaveToo(t *testing.T) {
	t.Parallel()
	cs := &clients{}
	cs.watch = newSweepWatcher(cs)
	defer cs.watch.close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := &listener{Listener: ln, clients: cs, failed: func(error) {}}
	accept := func() (client net.Conn, server *clientConn) {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return client, clientOf(s)
	}
	stays, staying := accept()
	leaves, leaving := accept()
	leaves.Close()
	eventually(t, "the client's leaving is seen", leaving.tether.IsCut)
	if staying.tether.IsCut() {
		t.Error("a client that stays was taken for gone")
	}
	staying.Close()
	leaving.Close()
	stays.Close()
	if n := cs.count(); n != 0 {
		t.Errorf("connections left: %d", n)
	}
}

// Thousands of clients leave in the middle of streams whose every byte names its exchange; others read theirs to the end.
// The provider also closes connections while they are idle. No byte may turn up in another's answer, and at the end everything must be
// back where it was.
//
//nolint:paralleltest // it counts the goroutines of the whole process
func TestCancel_NoByteGoesToAnother(t *testing.T) {
	const clientsAtOnce, each = 16, 150
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			mark := string(m.body)
			line := strings.Repeat(mark+"\n", 40)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nX-Mark: "+mark+"\r\n\r\n"); err != nil {
				return
			}
			for range 20 {
				if _, err := io.WriteString(c, chunk(line)); err != nil {
					return
				}
				runtime.Gosched()
			}
			if _, err := io.WriteString(c, "0\r\n\r\n"); err != nil {
				return
			}
			if rand.IntN(20) == 0 {
				return // an idle connection goes away
			}
		}
	})))
	var whole, left atomic.Int64
	var wg sync.WaitGroup
	for w := range clientsAtOnce {
		wg.Go(func() {
			for i := range each {
				mark := fmt.Sprintf("w%dn%d.", w, i)
				quit := -1
				if rand.IntN(4) > 0 {
					quit = rand.IntN(20 * 40 * len(mark))
				}
				ok, err := oneStream(g.addr, mark, quit)
				switch {
				case err != nil:
					t.Errorf("%s: %v", mark, err)
				case ok:
					whole.Add(1)
				default:
					left.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if whole.Load() == 0 || left.Load() < clientsAtOnce*each/2 {
		t.Errorf("%d whole, %d left: the test has not tested", whole.Load(), left.Load())
	}
	o := g.p.settings.Load().providers["openai"].origin
	eventually(t, "client connections closed", func() bool { return g.p.clients.count() == 0 })
	eventually(t, "no exchange in flight", func() bool { return g.p.metrics.inFlight.Load() == 0 })
	eventually(t, "no connection in use", func() bool { return o.Open() == o.Idle() })
	o.CloseIdle(time.Now().Add(time.Hour))
	eventually(t, "no goroutine works on an exchange", func() bool {
		all := make([]byte, 4<<20)
		all = all[:runtime.Stack(all, true)]
		return !bytes.Contains(all, []byte("proxy.(*Exchange)")) && !bytes.Contains(all, []byte("proxy.(*upload)"))
	})
}

// oneStream reads a stream whose lines must all be its mark; it leaves after quit bytes unless that is negative.
func oneStream(addr, mark string, quit int) (whole bool, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	// Opaque to the meter, so that only HTTP's framing tells whether it is whole; safe to repeat, so that one which falls on a
	// connection that is closing is sent again.
	if _, err := io.WriteString(c, "PUT"+strings.TrimPrefix(post("/v1/echo", mark), "POST")); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false, err
	}
	if resp.StatusCode != 200 || resp.Header.Get("X-Mark") != mark {
		return false, fmt.Errorf("status %d, mark %q", resp.StatusCode, resp.Header.Get("X-Mark"))
	}
	lines := bufio.NewScanner(resp.Body)
	read, n := 0, 0
	for lines.Scan() {
		if quit >= 0 && read > quit {
			return false, nil
		}
		if lines.Text() != mark {
			return false, fmt.Errorf("foreign bytes %q", lines.Text())
		}
		read += len(mark) + 1
		n++
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	if n != 20*40 {
		return false, fmt.Errorf("a cut stream looked whole: %d lines", n)
	}
	return true, nil
}
