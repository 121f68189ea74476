package proxy

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/upstream"
)

// Whatever a client sends, either it is refused or what goes to the provider is one request that can be read in one way only.
func FuzzBuildHead_IsUnambiguous(f *testing.F) {
	for _, seed := range []string{
		"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nX: y\r\n\r\n",
		"POST /openai/v1/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n",
		"GET /v1/models HTTP/1.1\r\nhost: g\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n",
		"POST /v1/x HTTP/1.1\r\nHost: g\r\nX: a\r\n b\r\nTransfer-Encoding:\tchunked\r\n\r\n",
		"POST /v1/x HTTP/1.0\nHost: g\nX: a\rTransfer-Encoding: chunked\n\r\n",
		"POST /v1/x HTTP/1.1\r\nHost: g\r\nConnection: content-length, host\r\nContent-Length: 5\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	state, err := newProviderState(&config.Provider{Name: "openai", Dialect: "openai", BaseURL: "http://provider.test/v1"}, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var h fasthttp.RequestHeader
		h.DisableNormalizing()
		if h.Read(bufio.NewReaderSize(bytes.NewReader(wire), 8<<10)) != nil {
			return
		}
		facts, err := inspect(&h)
		uri := h.RequestURI()
		if err != nil || len(uri) == 0 || uri[0] != '/' {
			return
		}
		x := &Exchange{provider: state, method: h.Method(), upgrade: facts.upgrade, body: []byte("{}")}
		x.path, x.query, _ = bytes.Cut(uri, []byte("?"))
		x.bodyless = h.ContentLength() < -1 || x.upgrade
		x.buildHead(&h)

		if n := bytes.Index(x.head, []byte("\r\n\r\n")); n != len(x.head)-4 {
			t.Fatalf("the head ends at %d of %d: %q", n, len(x.head), x.head)
		}
		lines := bytes.Split(x.head[:len(x.head)-4], []byte("\r\n"))
		if first := lines[0]; bytes.Count(first, []byte(" ")) != 2 || !bytes.HasSuffix(first, []byte(" HTTP/1.1")) {
			t.Errorf("request line %q", first)
		}
		hosts, lengths := 0, 0
		for _, line := range lines[1:] {
			name, value, ok := splitLine(line)
			if !ok || bytes.ContainsAny(value, "\r\n\x00") {
				t.Fatalf("header line %q", line)
			}
			switch {
			case upstream.EqualFold(name, "host"):
				hosts++
			case upstream.EqualFold(name, "content-length"):
				if lengths++; string(value) != "2" {
					t.Errorf("length %q, want 2", value)
				}
			case upstream.EqualFold(name, "transfer-encoding"):
				t.Errorf("a buffered body goes out with %q", line)
			}
		}
		if hosts != 1 || lengths > 1 || lengths == 0 && !x.bodyless {
			t.Errorf("%d hosts and %d lengths in %q", hosts, lengths, x.head)
		}
	})
}
