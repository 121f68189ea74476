package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

func TestRefuse_WhatCouldBeReadInTwoWays(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	g := start(t, testConfig(url))
	check := func(name, wire string, want int) {
		t.Helper()
		c := g.dial()
		if _, err := io.WriteString(c, wire); err != nil {
			t.Fatal(err)
		}
		resp, body := g.read(bufio.NewReader(c), "POST")
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d (%s)", name, resp.StatusCode, want, body)
		}
		var e struct {
			Error struct{ Message, Type string }
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Error.Message == "" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: body %q is not an error in the dialect's shape: %v", name, body, err)
		}
		_ = c.CloseWrite()
		if rest, _ := io.ReadAll(c); len(rest) > 0 {
			t.Errorf("%s: the connection went on with %q", name, rest)
		}
		select {
		case m := <-got:
			t.Errorf("%s: the provider got %q %q", name, m.line, m.headers)
		default:
		}
	}
	p := "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n"
	check("length and chunks", p+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
	check("chunks and length", p+"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400)
	check("two lengths", p+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400)
	check("the same length twice", p+"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("signed length", p+"Content-Length: +2\r\n\r\n{}", 400)
	check("negative length", p+"Content-Length: -2\r\n\r\n{}", 400)
	check("list of lengths", p+"Content-Length: 2, 2\r\n\r\n{}", 400)
	check("gzip, chunked", p+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400)
	check("identity", p+"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("obfuscated chunks", p+"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400)
	check("chunks twice", p+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
	check("space before the colon", p+"Content-Length : 2\r\n\r\n{}", 400)
	check("folded line", p+"X-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("folded first line", "POST /v1/x HTTP/1.1\r\n Host: g\r\n\r\n", 400)
	check("no colon", p+"Rubbish\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("control character", p+"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("bare return", p+"X-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("two hosts", p+"Host: h\r\nContent-Length: 2\r\n\r\n{}", 400)
	check("bad chunk size", p+"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400)
	check("chunk without its end", p+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}}}\r\n0\r\n\r\n", 400)
	check("huge chunk size", p+"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400)
	check("absolute target", "POST http://evil.example/v1/x HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n", 400)
	check("HTTP/2", "POST /v1/x HTTP/2.0\r\nHost: g\r\nContent-Length: 0\r\n\r\n", 505)
	check("HTTP/1.2", "POST /v1/x HTTP/1.2\r\nHost: g\r\nContent-Length: 0\r\n\r\n", 505)
	check("no version", "POST /v1/x\r\nHost: g\r\nContent-Length: 0\r\n\r\n", 400)
	check("asterisk", "OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n", 400)
	check("not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", 400)
	check("unknown path", "POST /nowhere HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 404)
	check("large headers", p+"X-A: "+strings.Repeat("a", 20<<10)+"\r\n\r\n", 431)
}

func TestRefuse_LargeBodiesInTheDialectsShape(t *testing.T) {
	t.Parallel()
	url, _ := mirror(t)
	c := testConfig(url)
	c.Server.MaxBody, c.Server.ReplayLimit = 100_000, 50_000
	g := start(t, c)
	check := func(name, path string, body io.Reader, wantType string) {
		t.Helper()
		resp, err := http.Post("http://"+g.addr+path, "application/json", body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 413 || !strings.Contains(string(text), wantType) {
			t.Errorf("%s: got %d %s, want 413 with %s", name, resp.StatusCode, text, wantType)
		}
	}
	big := strings.Repeat("x", 200_000)
	check("announced", "/v1/chat/completions", strings.NewReader(big), `"invalid_request_error"`)
	check("chunked", "/v1/chat/completions", struct{ io.Reader }{strings.NewReader(big)}, `"invalid_request_error"`)
	check("anthropic", "/v1/messages", strings.NewReader(big), `"request_too_large"`)
	check("gemini", "/v1beta/models/m:generateContent", strings.NewReader(big), `"INVALID_ARGUMENT"`)

	resp, _ := g.send("POST /v1/messages HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
	if resp.StatusCode != 413 {
		t.Errorf("announced with Expect: got %d, want 413 at once", resp.StatusCode)
	}
}

func TestRefuse_SlowSenders(t *testing.T) {
	t.Parallel()
	url, _ := mirror(t)
	c := testConfig(url)
	c.Server.HeaderTimeout, c.Server.BodyTimeout = 60*time.Millisecond, 60*time.Millisecond
	g := start(t, c)
	check := func(name, wire string, want string) {
		t.Helper()
		conn := g.dial()
		begin := time.Now()
		_, _ = io.WriteString(conn, wire)
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), want) || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: got %.60q after %v, want %q", name, answer, time.Since(begin), want)
		}
	}
	check("half a head", "POST /v1/chat/completions HTTP/1.1\r\nHos", "HTTP/1.1 408")
	check("half a small body", "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 408")
	check("half a large body", "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 50_000), "HTTP/1.1 408")
	check("half a chunk", "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 408")

	// Byte by byte, each well before the deadline: the rate over the whole ends it.
	conn := g.dial()
	_, _ = io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n")
	answered := make(chan string)
	go func() {
		b, _ := io.ReadAll(conn)
		answered <- string(b)
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		select {
		case a := <-answered:
			if !strings.HasPrefix(a, "HTTP/1.1 408") {
				t.Errorf("byte by byte: got %.60q, want 408", a)
			}
			return
		default:
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatal("byte by byte: not cut after 5 s")
		}
		_, _ = io.WriteString(conn, "1\r\nx\r\n")
	}
}

// A client that leaves while it still sends has sent nothing wrong.
func TestRefuse_LeavingIsNoBadRequest(t *testing.T) {
	t.Parallel()
	url, _ := mirror(t)
	g := start(t, testConfig(url))
	for i, wire := range []string{"POST /v1/x HTTP/1.1\r\nHo", "POST /v1/x HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\n{"} {
		c := g.dial()
		_, _ = io.WriteString(c, wire)
		c.Close()
		want := fmt.Sprintf(`llmopt_rejected_requests_total{reason="client_closed"} %d`, i+1)
		eventually(t, want, func() bool { return strings.Contains(g.metricsText(), want) })
	}
	if strings.Contains(g.metricsText(), `reason="bad_request"`) {
		t.Error("counted as a bad request")
	}
}

func TestFailure_StatusAndOutcome(t *testing.T) {
	t.Parallel()
	hang := func(c *net.TCPConn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }
	answer := func(text string) func(*net.TCPConn, *bufio.Reader) {
		return func(c *net.TCPConn, r *bufio.Reader) {
			_, _ = readMessage(r)
			_, _ = io.WriteString(c, text)
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, r)
		}
	}
	check := func(name string, provider func(*net.TCPConn, *bufio.Reader), wantStatus int, wantOutcome string) {
		t.Helper()
		c := testConfig(raw(t, provider))
		for n, p := range c.Providers {
			p.Timeouts = config.Timeouts{Connect: 5 * time.Second, FirstByte: 80 * time.Millisecond, Idle: 80 * time.Millisecond, Total: 5 * time.Second}
			c.Providers[n] = p
		}
		g := start(t, c)
		resp, body := g.send(post("/v1/messages", `{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[]}`, "x-api-key: secret-key"))
		line := g.lines(1)[0]
		if resp.StatusCode != wantStatus || line["outcome"] != wantOutcome {
			t.Errorf("%s: got %d, outcome %v; want %d, %s (%s)", name, resp.StatusCode, line["outcome"], wantStatus, wantOutcome, line["detail"])
		}
		if wantStatus >= 500 && resp.Header.Get("x-request-id") == "" {
			var e struct {
				Type  string
				Error struct{ Type, Message string }
			}
			if err := json.Unmarshal(body, &e); err != nil || e.Type != "error" || e.Error.Message == "" {
				t.Errorf("%s: body %q is not Anthropic's error shape", name, body)
			}
			if strings.Contains(string(body), "127.0.0.1") {
				t.Errorf("%s: the error shows an address: %s", name, body)
			}
		}
		if text := g.log.String(); strings.Contains(text, "secret-key") {
			t.Errorf("%s: the log shows a credential", name)
		}
	}
	check("no answer", hang, 504, "timeout_first_byte")
	check("closed at once", func(c *net.TCPConn, r *bufio.Reader) { _, _ = readMessage(r) }, 502, "broken")
	check("reset", func(c *net.TCPConn, r *bufio.Reader) { _, _ = readMessage(r); _ = c.SetLinger(0) }, 502, "broken")
	check("not HTTP", answer("hello\r\n\r\n"), 502, "broken")
	check("ambiguous length", answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), 502, "broken")
	check("body too short", answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), 502, "broken")
	check("body stalls", func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
		hang(c, r)
	}, 504, "timeout_idle")
	check("provider's own 500", answer("HTTP/1.1 500 Oh\r\nx-request-id: r\r\nContent-Length: 2\r\n\r\n{}"), 500, "upstream_error")
	check("provider's own 529", answer("HTTP/1.1 529 Overloaded\r\nx-request-id: r\r\nContent-Length: 2\r\n\r\n{}"), 529, "upstream_error")
	check("provider's own 429", answer("HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\n{}"), 429, "rate_limited")
	check("provider's own 401", answer("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}"), 401, "client_error")
	check("error body under 200", answer("HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n"+`{"type":"error","error":{"type":"overloaded_error","message":"busy!!!"}}`[:70]), 200, "upstream_error")
}

func TestFailure_ConnectAndTotal(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig("http://127.0.0.1:1")) // a port that nobody is given
	if resp, body := g.send(post("/v1/chat/completions", "{}")); resp.StatusCode != 502 || strings.Contains(string(body), "127.0.0.1") {
		t.Errorf("nobody listens: got %d %s, want 502 without an address", resp.StatusCode, body)
	}
	if line := g.lines(1)[0]; line["outcome"] != "connect" || line["cost_nanousd"] != 0.0 {
		t.Errorf("nobody listens: log %v", line)
	}

	drip := raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			if _, err := fmt.Fprintf(c, "f\r\ndata: {\"a\": 1}\n\r\n"); err != nil {
				return
			}
			wait()
		}
	})
	c := testConfig(drip)
	p := c.Providers["openai"]
	p.Timeouts.Total = 150 * time.Millisecond
	c.Providers["openai"] = p
	g = start(t, c)
	conn := g.dial()
	_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"stream":true}`))
	answer, _ := io.ReadAll(conn)
	if !strings.Contains(string(answer), "upstream_total_timeout") || strings.HasSuffix(string(answer), "0\r\n\r\n") {
		t.Errorf("endless stream: got an answer of %d bytes that ends with %.100q, want an error event and a cut", len(answer), answer[max(0, len(answer)-100):])
	}
	if line := g.lines(1)[0]; line["outcome"] != "timeout_total" {
		t.Errorf("endless stream: log %v", line)
	}
}
