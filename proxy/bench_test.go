package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"llm-auto-optimizer/config"
)

// prepared is a provider that answers each whole request with the same bytes, without allocating.
func prepared(tb testing.TB, answer []byte) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerAll(c, answer)
		}
	}()
	return "http://" + ln.Addr().String()
}

func answerAll(c net.Conn, answer []byte) {
	defer c.Close()
	buf, n := make([]byte, 128<<10), 0
	for {
		k, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += k
		end := bytes.Index(buf[:n], []byte("\r\n\r\n"))
		if end < 0 || n < end+4+number(buf[:end], "Content-Length: ", 10) {
			continue
		}
		n = 0
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// number reads the digits behind a mark.
func number(p []byte, mark string, base int) (n int) {
	_, rest, _ := bytes.Cut(p, []byte(mark))
	for _, d := range rest {
		switch {
		case '0' <= d && d <= '9':
			n = n*base + int(d-'0')
		case base == 16 && 'a' <= d|0x20 && d|0x20 <= 'f':
			n = n*base + int(d|0x20-'a') + 10
		default:
			return n
		}
	}
	return n
}

// chatBody is a request of about that size.
func chatBody(size int, stream bool) string {
	const frame = `{"model":"gpt-4o-mini","stream":%t,"messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"%s"}]}`
	return fmt.Sprintf(frame, stream, strings.Repeat("lorem ipsum ", max(1, (size-120)/12)))
}

const plainAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there, how can I help you today?"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":10,"total_tokens":210,"prompt_tokens_details":{"cached_tokens":128}}}`

// benchCase is one request with its answer, as bytes.
type benchCase struct{ name, request, answer string }

func benchCases() []benchCase {
	plain := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/json\r\nx-request-id: req_1\r\n"+
		"x-ratelimit-remaining-requests: 99\r\nContent-Length: %d\r\n\r\n%s", len(plainAnswer), plainAnswer)
	stream := chunkedHead
	for range 62 {
		stream += chunk(chatFrame("some words"))
	}
	stream += chunk(chatStop) + chunk(chatDone) + "0\r\n\r\n"
	headers := []string{"Authorization: Bearer sk-bench", "Content-Type: application/json", "User-Agent: bench/1", "Accept: application/json"}
	return []benchCase{
		{"op=chat/body=1KB", post("/v1/chat/completions", chatBody(1<<10, false), headers...), plain},
		{"op=chat/body=32KB", post("/v1/chat/completions", chatBody(32<<10, false), headers...), plain},
		{"op=stream/chunks=64", post("/v1/chat/completions", chatBody(1<<10, true), headers...), stream},
	}
}

// benchClient sends one request again and again on one connection, without allocating.
type benchClient struct {
	tb      testing.TB
	c       net.Conn
	r       *bufio.Reader
	request []byte
}

func newBenchClient(tb testing.TB, bc benchCase) *benchClient {
	return newBenchClientOf(tb, bc, testConfig(prepared(tb, []byte(bc.answer))), nil)
}

func newBenchClientOf(tb testing.TB, bc benchCase, c *config.Config, cache Cache) *benchClient {
	g := startCached(tb, c, cache, nil, io.Discard)
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &benchClient{tb, conn, bufio.NewReaderSize(conn, 64<<10), []byte(bc.request)}
}

func (b *benchClient) line() []byte {
	line, err := b.r.ReadSlice('\n')
	if err != nil {
		b.tb.Fatal(err)
	}
	return line
}

func (b *benchClient) discard(n int) {
	if _, err := b.r.Discard(n); err != nil {
		b.tb.Fatal(err)
	}
}

// exchange sends the request and reads the whole answer.
func (b *benchClient) exchange() {
	if _, err := b.c.Write(b.request); err != nil {
		b.tb.Fatal(err)
	}
	length, chunked := 0, false
	for line := b.line(); len(line) > 2; line = b.line() {
		if bytes.HasPrefix(line, []byte("Content-Length: ")) {
			length = number(line, "Content-Length: ", 10)
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
	if !chunked {
		b.discard(length)
		return
	}
	for n := -1; n != 0; {
		n = number(b.line(), "", 16)
		b.discard(n + 2)
	}
}

// BenchmarkExchange takes whole exchanges over loopback sockets through the proxy with everything on. The time is that of
// client, proxy and provider together; the allocations are the proxy's alone, for the others make none.
func BenchmarkExchange(b *testing.B) {
	for _, bc := range benchCases() {
		b.Run(bc.name, func(b *testing.B) {
			client := newBenchClient(b, bc)
			client.exchange()
			b.ReportAllocs()
			for b.Loop() {
				client.exchange()
			}
		})
	}
}

// TestExchange_Allocations holds the steady state of the request path to what it allocates today.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestExchange_Allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	for _, bc := range benchCases() {
		client := newBenchClient(t, bc)
		for range 100 {
			client.exchange()
		}
		if got := testing.AllocsPerRun(300, client.exchange); got > maxAllocs {
			t.Errorf("%s: %.1f allocations per exchange, want at most %d", bc.name, got, maxAllocs)
		}
	}
}

// maxAllocs is how many allocations an exchange may make in steady state.
const maxAllocs = 1
