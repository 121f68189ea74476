package proxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// chunkedHead starts a streamed answer.
const chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// chatFrame is one event of an OpenAI stream.
func chatFrame(text string) string {
	return fmt.Sprintf(`data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`+"\n\n", text)
}

const (
	chatStop = `data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	chatDone = "data: [DONE]\n\n"
)

// script is a provider that answers each request with pieces, each written when the test lets it go on.
func script(t *testing.T, pieces ...string) (url string, next chan<- struct{}) {
	step := make(chan struct{})
	return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readMessage(r); err != nil {
				return
			}
			for i, piece := range pieces {
				if i > 0 {
					<-step
				}
				if _, err := io.WriteString(c, piece); err != nil {
					return
				}
			}
		}
	}), step
}

func TestStream_EachPieceIsThereBeforeTheNextIsMade(t *testing.T) {
	t.Parallel()
	frames := []string{chatFrame("one"), ": a comment\n\n", chatFrame("zwei ü")[:40], chatFrame("zwei ü")[40:], "event: unknown\ndata: x\n\n", chatStop, chatDone}
	pieces := []string{chunkedHead}
	for _, f := range frames {
		pieces = append(pieces, chunk(f))
	}
	pieces = append(pieces, "0\r\n\r\n")
	url, next := script(t, pieces...)
	c := testConfig(url)
	p := c.Providers["openai"]
	p.RequestUsage = false
	c.Providers["openai"] = p
	g := start(t, c)
	conn := g.dial()
	_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil) // the head comes before any event
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range frames {
		next <- struct{}{}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("piece %d: got %q, %v; want %q", i, got, err, want)
		}
	}
	next <- struct{}{}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("end: got %q, %v", rest, err)
	}
	line := g.lines(1)[0]
	if line["outcome"] != "ok" || line["estimated"] != true || line["ttft_s"] == nil {
		t.Errorf("log: %v; want ok, estimated for want of usage, with a ttft", line)
	}
}

func TestStream_BrokenOnesEndWithAnErrorAndACut(t *testing.T) {
	t.Parallel()
	check := func(name, path, body, answer, wantEvent, wantOutcome string) {
		t.Helper()
		g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
			_, _ = readMessage(r)
			_, _ = io.WriteString(c, answer)
		})))
		conn := g.dial()
		_, _ = io.WriteString(conn, post(path, body))
		got, _ := io.ReadAll(conn)
		if !strings.Contains(string(got), wantEvent) || strings.HasSuffix(string(got), "\r\n0\r\n\r\n") {
			t.Errorf("%s: got %q, want %q at its end and no last chunk", name, got[max(0, len(got)-300):], wantEvent)
		}
		if line := g.lines(1)[0]; line["outcome"] != wantOutcome || line["estimated"] != true || line["cost_nanousd"] == 0.0 {
			t.Errorf("%s: log %v, want %s with an estimated cost", name, line, wantOutcome)
		}
	}
	chat := `{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"tell me something"}]}`
	claude := `{"model":"claude-sonnet-4-5","stream":true,"max_tokens":5,"messages":[{"role":"user","content":"tell me something"}]}`
	check("cut chunk", "/v1/chat/completions", chat, chunkedHead+chunk(chatFrame("hi"))+"50\r\ndata: {", "data: {\"error\":", "broken")
	check("no last chunk", "/v1/chat/completions", chat, chunkedHead+chunk(chatFrame("hi")), "data: {\"error\":", "broken")
	check("ended without a mark", "/v1/chat/completions", chat, chunkedHead+chunk(chatFrame("hi"))+"0\r\n\r\n", "upstream_incomplete", "broken")
	check("ended by the connection", "/v1/chat/completions", chat, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+chatFrame("hi"), "upstream_incomplete", "broken")
	check("anthropic", "/v1/messages", claude, chunkedHead+chunk("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"),
		"event: error\ndata: {\"type\":\"error\"", "broken")
	check("gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", `{"contents":[{"parts":[{"text":"hello there"}]}]}`,
		chunkedHead+chunk(`data: {"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}`+"\n\n"), `"error":`, "broken")
}

func TestStream_ProvidersOwnErrorEventPasses(t *testing.T) {
	t.Parallel()
	event := "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
	g := start(t, testConfig(fixed(t, chunkedHead+chunk(event)+"0\r\n\r\n")))
	_, body := g.send(post("/v1/messages", `{"model":"claude-sonnet-4-5","stream":true,"messages":[]}`))
	if string(body) != event {
		t.Errorf("got %q, want the provider's own event alone", body)
	}
	if line := g.lines(1)[0]; line["outcome"] != "stream_error" {
		t.Errorf("log: %v", line)
	}
}

func TestUsage_IsAskedForAndItsTracesTakenOut(t *testing.T) {
	t.Parallel()
	usage := `,"usage":null}`
	frames := strings.Replace(chatFrame("hi"), "}\n\n", usage+"\n\n", 1) + strings.Replace(chatStop, "}\n\n", usage+"\n\n", 1) +
		`data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"prompt_tokens_details":{"cached_tokens":400}}}` + "\n\n" + chatDone
	asked := make(chan *message, 4)
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			asked <- m
			_, _ = io.WriteString(c, chunkedHead)
			for rest := frames; len(rest) > 0; { // in pieces that fall everywhere
				n := min(7, len(rest))
				_, _ = io.WriteString(c, chunk(rest[:n]))
				rest = rest[n:]
			}
			_, _ = io.WriteString(c, "0\r\n\r\n")
		}
	})))
	_, body := g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`, "accept-encoding: gzip, br"))
	if want := chatFrame("hi") + chatStop + chatDone; string(body) != want {
		t.Errorf("the client got\n%q, want\n%q", body, want)
	}
	// A compressed stream could not be cleaned.
	if m := <-asked; !strings.Contains(string(m.body), `"stream_options":{"include_usage":true}`) || !m.has("Accept-Encoding: identity") {
		t.Errorf("the provider got %q %s", m.headers, m.body)
	}
	_, body = g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true}}`, "accept-encoding: gzip, br"))
	if m := <-asked; !m.has("accept-encoding: gzip, br") {
		t.Errorf("the provider got %q", m.headers)
	}
	if string(body) != frames {
		t.Errorf("a client that asks itself got\n%q, want\n%q", body, frames)
	}
	for _, line := range g.lines(2) {
		// gpt-4o-mini: 0.15, cached 0.075, output 0.60 dollars per million: 600·150 + 400·75 + 100·600 nano.
		if line["cost_nanousd"] != 180_000.0 || line["tokens_input"] != 600.0 || line["tokens_cache_read"] != 400.0 || line["tokens_output"] != 100.0 || line["estimated"] != false {
			t.Errorf("log: %v, want 600 + 400 cached + 100 tokens for 180,000 nano-dollars", line)
		}
	}
}

func TestUsage_ProviderThatRefusesIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 8)
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			asked <- string(m.body)
			if strings.Contains(string(m.body), "stream_options") {
				e := `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}`
				_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(e), e)
				continue
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"+chunkedHead[len("HTTP/1.1 200 OK\r\n"):]+chunk(chatFrame("hi")+chatStop+chatDone)+"0\r\n\r\n")
		}
	})))
	body := `{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hello you"}]}`
	for i := range 2 {
		resp, got := g.send(post("/v1/chat/completions", body))
		if resp.StatusCode != 200 || string(got) != chatFrame("hi")+chatStop+chatDone {
			t.Errorf("got %d %q", resp.StatusCode, got)
		}
		if date := resp.Header.Values("Date"); len(date) != 1 || date[0] != "Mon, 01 Jan 2024 00:00:00 GMT" {
			t.Errorf("Date: got %q, want the provider's", date)
		}
		g.lines(i + 1) // recorded
	}
	if len(asked) != 3 {
		t.Errorf("calls: got %d, want 3: asked, repeated as it was, not asked again", len(asked))
	}
	<-asked
	for range 2 {
		if got := <-asked; got != body {
			t.Errorf("repeated body: got %s", got)
		}
	}
	lines := g.lines(2)
	if lines[0]["attempts"] != 2.0 || lines[1]["attempts"] != 1.0 || lines[0]["estimated"] != true {
		t.Errorf("log: %v", lines)
	}
}

func TestUsage_CompressedAnswersAreReadToo(t *testing.T) {
	t.Parallel()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = io.WriteString(w, `{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}`)
	_ = w.Close()
	g := start(t, testConfig(fixed(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", z.Len(), z.String()))))
	resp, body := g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`, "Accept-Encoding: gzip"))
	if !bytes.Equal(body, z.Bytes()) || resp.Header.Get("x-llmopt-cost-usd") != "0.0000135" {
		t.Errorf("got %d bytes, cost %q; want the same %d bytes for 0.0000135", len(body), resp.Header.Get("x-llmopt-cost-usd"), z.Len())
	}
}

func TestStream_ClientThatDoesNotReadStopsTheReading(t *testing.T) {
	t.Parallel()
	written := make(chan int64, 1)
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readMessage(r)
		_, _ = io.WriteString(c, chunkedHead)
		frame := chunk(chatFrame(strings.Repeat("x", 8000)))
		var n int64
		for {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			k, err := io.WriteString(c, frame)
			n += int64(k)
			if err != nil {
				written <- n
				return
			}
		}
	})))
	conn := g.dial()
	_ = conn.SetReadBuffer(64 << 10)
	_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
	if n := <-written; n > 20<<20 {
		t.Errorf("the provider could write %d bytes to a client that reads none", n)
	}
}

func TestStream_StalledClientIsGivenUp(t *testing.T) {
	t.Parallel()
	c := testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readMessage(r)
		_, _ = io.WriteString(c, chunkedHead)
		frame := chunk(chatFrame(strings.Repeat("x", 8000)))
		for {
			if _, err := io.WriteString(c, frame); err != nil {
				return
			}
		}
	}))
	c.Server.WriteTimeout = 100 * time.Millisecond
	g := start(t, c)
	conn := g.dial()
	_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
	if line := g.lines(1)[0]; line["outcome"] != "canceled" {
		t.Errorf("log: %v, want canceled", line)
	}
}

// The time that a client may stall counts from each write, not from an earlier answer on the same connection.
func TestStream_OldWriteDeadlinesCutNothing(t *testing.T) {
	t.Parallel()
	check := func(name, answer, want string) {
		t.Helper()
		head, tail, _ := strings.Cut(answer, "|")
		c := testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
			for {
				if _, err := readMessage(r); err != nil {
					return
				}
				<-time.After(150 * time.Millisecond)
				_, _ = io.WriteString(c, head)
				if tail != "" {
					<-time.After(150 * time.Millisecond)
					_, _ = io.WriteString(c, tail)
				}
			}
		}))
		c.Server.WriteTimeout = 100 * time.Millisecond
		g := start(t, c)
		conn := g.dial()
		r := bufio.NewReader(conn)
		for range 2 {
			_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
			if _, body := g.read(r, "POST"); string(body) != want {
				t.Errorf("%s: got %q, want %q", name, body, want)
			}
		}
	}
	check("late head", chunkedHead+"|"+chunk(chatStop+chatDone)+"0\r\n\r\n", chatStop+chatDone)
	check("late end", chunkedHead+chunk(chatStop+chatDone)+"|0\r\n\r\n", chatStop+chatDone)
	check("no body", "HTTP/1.1 204 No Content\r\n\r\n", "")
}

// A stream that breaks before its first byte, and one whose announced length it does not keep, still tell the client.
func TestStream_BreaksAreToldWhateverTheFraming(t *testing.T) {
	t.Parallel()
	check := func(name, path, answer, wantBody string) {
		t.Helper()
		g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
			_, _ = readMessage(r)
			_, _ = io.WriteString(c, answer)
		})))
		c := g.dial()
		_, _ = io.WriteString(c, post(path, `{"model":"gpt-4o-mini","stream":true}`))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(resp.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(body), wantBody) || !strings.Contains(strings.ToLower(string(body)), "upstream_broken") {
			t.Errorf("%s: got %q, %v; want %q, an error and a cut", name, body, err, wantBody)
		}
		if wantBody == "[" && !json.Valid(body) {
			t.Errorf("%s: %q is no JSON", name, body)
		}
	}
	const array = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
	check("array, at once", array, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", "[")
	check("length not kept", "/v1/chat/completions", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10000\r\n\r\n"+chatFrame("hi"), chatFrame("hi"))
}
