package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// heldOrStream is a provider that answers as it is asked to.
func heldOrStream(c *net.TCPConn, r *bufio.Reader) {
	for {
		m, err := readMessage(r)
		switch {
		case err != nil:
			return
		case strings.Contains(string(m.body), "true"):
			_, _ = io.WriteString(c, chunkedHead+chunk(chatFrame("hi"))+chunk(chatStop+chatDone)+"0\r\n\r\n")
		default:
			_, _ = io.WriteString(c, chatAnswer("gpt-4o-mini"))
		}
	}
}

// Answers of exchanges, which write themselves, and those that fasthttp writes share a connection: each request gets its own,
// in order, and nothing else comes between.
func TestFront_EachRequestGetsItsAnswerInOrder(t *testing.T) {
	t.Parallel()
	c := testConfig(raw(t, heldOrStream))
	c.Server.MaxBody = 10_000
	g, pool := startTLS(t, c)
	plain := start(t, c)

	const malformed = "GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
	held, stream := post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`), post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`)
	unknown := "GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n"
	requests := []string{held, unknown, stream, held, stream, unknown, malformed}
	wants := []string{`"usage"`, "unknown_path", "[DONE]", `"usage"`, "[DONE]", "unknown_path", "bad_request"}

	over := map[string]func() net.Conn{
		"plain": func() net.Conn { return plain.dial() },
		"TLS": func() net.Conn {
			conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			return conn
		},
	}
	for name, dial := range over {
		for _, pipelined := range []bool{false, true} {
			conn := dial()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			r := bufio.NewReader(conn)
			if pipelined {
				if _, err := io.WriteString(conn, strings.Join(requests, "")); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range wants {
				if !pipelined {
					if _, err := io.WriteString(conn, requests[i]); err != nil {
						t.Fatal(err)
					}
				}
				resp, body := g.read(r, "POST")
				if !strings.Contains(string(body), want) || resp.Close != (i == len(wants)-1) {
					t.Errorf("%s, pipelined %v, answer %d: %s (close %v), want %s", name, pipelined, i, body, resp.Close, want)
				}
			}
			if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
				t.Errorf("%s, pipelined %v: behind the last answer: %q, %v", name, pipelined, rest, err)
			}
			conn.Close()
		}
	}
}

// A client of HTTP/1.0 keeps its connection where it asks for that and the body's end can be told.
func TestFront_OldClients(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(raw(t, heldOrStream)))
	c := g.dial()
	r := bufio.NewReader(c)
	ask := func(body string) string {
		return strings.Replace(post("/v1/chat/completions", body, "Connection: keep-alive"), "HTTP/1.1", "HTTP/1.0", 1)
	}
	for range 2 {
		_, _ = io.WriteString(c, ask(`{"model":"gpt-4o-mini"}`))
		if resp, body := g.read(r, "POST"); !strings.Contains(string(body), `"usage"`) || resp.Header.Get("Connection") != "keep-alive" {
			t.Errorf("got %v %s", resp.Header, body)
		}
	}
	_, _ = io.WriteString(c, ask(`{"model":"gpt-4o-mini","stream":true}`))
	text, err := io.ReadAll(r)
	if !strings.Contains(string(text), "Connection: close\r\n") || !strings.HasSuffix(string(text), "\r\n\r\n"+chatFrame("hi")+chatStop+chatDone) || err != nil {
		t.Errorf("stream: got %q, %v", text, err)
	}
}
