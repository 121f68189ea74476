package compare

import (
	"io"
	"net"
	"strings"
	"testing"
)

// answering is a server that gives every request the same bytes and then closes.
func answering(t *testing.T, answer string) string {
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
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answer)
			c.Close()
		}
	}()
	return ln.Addr().String()
}

func TestClient_ChecksAnswers(t *testing.T) {
	t.Parallel()
	check := func(name, wire string, want answer, wantErr string) {
		t.Helper()
		c, err := dial(answering(t, wire), []byte("GET / HTTP/1.1\r\n\r\n"), want.length)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		seen := 0
		got, err := c.exchange(func(events int) { seen += events })
		if text := errorText(err); !strings.Contains(text, wantErr) || (wantErr == "") != (err == nil) {
			t.Errorf("%s: got error %q, want %q", name, text, wantErr)
		}
		if err == nil && (got.length != want.length || got.events != want.events || seen != want.events || got.first <= 0 && want.length > 0) {
			t.Errorf("%s: got %+v, %d events told; want %+v", name, got, seen, want)
		}
	}
	const head = "HTTP/1.1 200 OK\r\n"
	check("length", head+"content-LENGTH: 5\r\nX: y\r\n\r\nhello", answer{length: 5}, "")
	check("empty", head+"Content-Length: 0\r\n\r\n", answer{}, "")
	check("chunks", head+"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n8\r\ndata: y\n\r\n1\r\n\n\r\n0\r\n\r\n", answer{length: 18, events: 2}, "")
	check("large chunk", head+"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"+strings.Repeat("z", 100_000)+"\r\n0\r\n\r\n", answer{length: 100_000}, "")
	check("other length", head+"Content-Length: 5\r\n\r\nhello", answer{length: 6}, "answer of 5 bytes, want 6")
	check("status", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", answer{}, "502")
	check("cut body", head+"Content-Length: 9\r\n\r\nhello", answer{}, errCut.Error())
	check("cut chunk", head+"Transfer-Encoding: chunked\r\n\r\n9\r\nhel", answer{}, errCut.Error())
	check("no last chunk", head+"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", answer{}, errCut.Error())
	check("cut head", head, answer{}, errCut.Error())
	check("no length", head+"\r\nhello", answer{}, "without a length")
	check("bad length", head+"Content-Length: x\r\n\r\n", answer{}, "content length")
	check("bad chunk", head+"Transfer-Encoding: chunked\r\n\r\nzz\r\n", answer{}, "chunk size")
	check("chunk that is too long", head+"Transfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n", answer{}, "chunk without its end")
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
