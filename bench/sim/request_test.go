package sim

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// What the strict parser accepts, net/http must understand in the same way, as far as it accepts it, too.
func FuzzRequest_IsUnderstoodAsByNetHTTP(f *testing.F) {
	f.Add([]byte("POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX: y\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nExpect: 100-continue\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		end := bytes.Index(head, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		head = head[:end+4]
		var got request
		if got.parse(head) != nil {
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return
		}
		if string(got.method) != want.Method || string(got.target) != want.RequestURI {
			t.Errorf("%q: got %s %s, net/http has %s %s", head, got.method, got.target, want.Method, want.RequestURI)
		}
		if chunked := len(want.TransferEncoding) > 0; got.chunked != chunked || !chunked && max(got.length, 0) != want.ContentLength {
			t.Errorf("%q: length %d, chunked %v; net/http has %d, %v", head, got.length, got.chunked, want.ContentLength, want.TransferEncoding)
		}
		for name, values := range want.Header {
			lower := strings.ToLower(name)
			if v := got.header(lower); v == nil || string(v) != values[0] {
				t.Errorf("%q: header %s is %q, net/http has %q", head, name, v, values[0])
			}
		}
	})
}

// A size that is accepted is the number that its hexadecimal digits write.
func FuzzChunkSize_IsHexadecimal(f *testing.F) {
	f.Add([]byte("1f;ext"))
	f.Add([]byte("0x1"))
	f.Fuzz(func(t *testing.T, line []byte) {
		n, ok := parseChunkSize(line)
		if !ok {
			return
		}
		digits, _, _ := strings.Cut(string(line), ";")
		digits = strings.TrimLeft(strings.ToLower(strings.TrimRight(digits, " \t")), "0")
		if got := strings.TrimLeft(string(appendHex(nil, n)), "0"); got != digits {
			t.Errorf("%q: got %d", line, n)
		}
	})
}

func appendHex(dst []byte, n int64) []byte {
	if n >= 16 {
		dst = appendHex(dst, n/16)
	}
	return append(dst, hexadeci[n%16])
}
