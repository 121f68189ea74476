package sim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const (
	plainChat  = `{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}`
	streamChat = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	chatPath   = "/v1/chat/completions"
)

// body parses a raw response and reads its body.
func body(t *testing.T, raw string) (*reply, string, error) {
	t.Helper()
	resp, err := receive(bufio.NewReader(strings.NewReader(raw)))
	if resp == nil {
		t.Fatalf("%v in %q", err, raw)
	}
	return resp, resp.Body, err
}

func TestFaults_ThatEndTheConnection(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Directives: MustDirectives("tokens=32")})
	check := func(fault, request string, reset, headed, bodyFails bool) {
		t.Helper()
		raw, err := s.raw("POST", chatPath, request, "x-sim-fault: "+fault)
		if got := errors.Is(err, syscall.ECONNRESET); got != reset {
			t.Errorf("%s: connection ended in %v", fault, err)
		}
		if reset {
			return // what was sent before a reset may be lost
		}
		if !headed {
			if raw != "" {
				t.Errorf("%s: got %q", fault, raw)
			}
			return
		}
		_, got, err := body(t, raw)
		if (err != nil) != bodyFails || got == "" {
			t.Errorf("%s: body %q, %v", fault, got, err)
		}
	}
	for _, request := range []string{plainChat, streamChat} {
		check("reset-head", request, true, false, false)
		check("close-head", request, false, false, false)
		check("reset-mid", request, true, true, true)
		check("close-mid", request, false, true, true)
		check("truncated-chunk", request, false, true, true)
		check("bad-chunk", request, false, true, true)
		check("length-long", request, false, true, true)
		check("http10", request, false, true, false)
	}
	s.await("the end of all", func(st Stats) bool { return st.InFlight == 0 })
	st := s.Stats()
	if st.Broken != 14 || st.Completed != 2 || st.Canceled != 0 {
		t.Errorf("%d broken, %d completed, %d canceled: %+v", st.Broken, st.Completed, st.Canceled, st)
	}
	for _, name := range []string{"reset-head", "close-head", "reset-mid", "close-mid", "truncated-chunk", "bad-chunk", "length-long", "http10"} {
		if st.Faults[name] != 2 {
			t.Errorf("%s counted %d times", name, st.Faults[name])
		}
	}
}

func TestFaults_AfterSaysWhereTheMiddleIs(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Directives: MustDirectives("tokens=32,ids=stable"), Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	whole, _ := s.raw("POST", chatPath, streamChat)
	_, want, _ := body(t, whole)
	for _, after := range []int{0, 1, 7} {
		raw, _ := s.raw("POST", chatPath, streamChat, "x-sim: fault=close-mid,after="+itoa(after))
		_, got, _ := body(t, raw)
		if n := strings.Count(got, "data: {"); n != after || !strings.HasPrefix(want, got) {
			t.Errorf("after=%d: %d events in %q", after, n, got)
		}
	}
}

func TestFaults_OfTheContent(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(fault, request string, status int, holds string, lacks ...string) {
		t.Helper()
		resp, got := s.do("POST", chatPath, request, "x-sim-fault: "+fault)
		if resp.StatusCode != status || !strings.Contains(got, holds) {
			t.Errorf("%s: %d %q, want %d with %q", fault, resp.StatusCode, got, status, holds)
		}
		for _, l := range lacks {
			if strings.Contains(got, l) {
				t.Errorf("%s: %q holds %q", fault, got, l)
			}
		}
	}
	check("none", streamChat, 200, "data: [DONE]\n\n")
	check("no-end", streamChat, 200, `"delta":{"content":"`, "[DONE]", `"finish_reason":"stop"`)
	check("error-event", streamChat, 200, `data: {"error":{`, "[DONE]")
	check("error-body", plainChat, 200, `"error": {`, "choices")
	check("error-body", streamChat, 200, `"error": {`, "choices")
	check("empty", plainChat, 200, "", "{")
	check("empty", streamChat, 200, "", "data")
	check("204", plainChat, 204, "")
	check("418", plainChat, 418, "invalid_request_error")
	check("comments", streamChat, 200, ": keep-alive\n\ndata: {")
	check("crlf", streamChat, 200, "data: [DONE]\r\n\r\n", "}\n\n")
	check("no-usage-option", plainChat, 200, "choices")
	check("no-cache-control", plainChat, 200, "choices")
}

func TestFaults_RetryAfterInEveryDialect(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(path, request string) {
		t.Helper()
		resp, got := s.do("POST", path, request, "x-sim: fault=429,retry-after=1500ms", "anthropic-version: 2023-06-01")
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "2" || resp.Header.Get("Retry-After-Ms") != "1500" {
			t.Errorf("%s: %d, %v", path, resp.StatusCode, resp.Header)
		}
		if strings.Contains(path, "Content") && !strings.Contains(got, `"retryDelay": "1.5s"`) {
			t.Errorf("%s: %s", path, got)
		}
	}
	check(chatPath, plainChat)
	check("/v1/messages", `{"model":"c","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`)
	check("/v1beta/models/gemini:generateContent", `{"contents":[{"parts":[{"text":"hi"}]}]}`)
}

func TestFaults_OfTheHead(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(fault string, holds ...string) {
		t.Helper()
		raw, err := s.raw("POST", chatPath, plainChat, "x-sim: size=70000,fault="+fault)
		if err != nil {
			t.Errorf("%s: %v", fault, err)
		}
		for _, h := range holds {
			if !strings.Contains(raw, h) {
				t.Errorf("%s: %.400q lacks %.100q", fault, raw, h)
			}
		}
	}
	check("interim-100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
	check("interim-103", "HTTP/1.1 103 Early Hints\r\nLink: ", "\r\n\r\nHTTP/1.1 200 OK\r\n")
	check("http10", "HTTP/1.0 200 OK\r\n", "Connection: close\r\n")
	check("chunked", "Transfer-Encoding: chunked\r\n", "\r\n0\r\n\r\n")
	check("odd-case", "\r\ncOnTeNt-TyPe: application/json\r\n", "\r\nx-ReQuEsT-iD: req_")
	check("duplicate-headers", "Set-Cookie: a=1", "Set-Cookie: b=2")
	check("hop-headers", "Connection: X-Sim-Hop\r\nX-Sim-Hop: 1\r\n")
	check("big-header", "X-Sim-Filler: "+strings.Repeat("x", 70_000)+"\r\n")
	check("surplus", "}HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsurplus!\n")
	check("interim-103+odd-case+duplicate-headers", "103 Early Hints", "sEt-CoOkIe: a=1", "sEt-CoOkIe: b=2")
}

func TestFaults_SurplusBytesBehindAShortLength(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	raw, err := s.raw("POST", chatPath, plainChat, "x-sim-fault: length-short")
	if err != nil {
		t.Fatal(err)
	}
	resp, got, err := body(t, raw)
	if err != nil || int64(len(got)) != resp.ContentLength || strings.HasSuffix(raw, got) {
		t.Errorf("stated %d, read %d, %v: nothing surplus in %q", resp.ContentLength, len(got), err, raw)
	}
}

func TestFaults_HugeAnswersAreAsLargeAsOrdered(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	for _, request := range []string{plainChat, streamChat} {
		if _, got := s.do("POST", chatPath, request, "x-sim: fault=huge,size=300000"); len(got) < 300_000 {
			t.Errorf("%d bytes", len(got))
		}
	}
}

func TestFaults_Encodings(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed, Directives: MustDirectives("ids=stable")})
	decoders := map[string]func(io.Reader) (io.Reader, error){
		"gzip":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"deflate": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		"br":      func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"zstd":    func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderConcurrency(1)) },
	}
	for _, request := range []string{plainChat, streamChat} {
		_, want := s.do("POST", chatPath, request)
		for name, decode := range decoders {
			resp, got := s.do("POST", chatPath, request, "x-sim-fault: "+name, "Accept-Encoding: x;q=1, "+name)
			if e := resp.Header.Get("Content-Encoding"); e != name {
				t.Errorf("content encoding %q, want %q", e, name)
				continue
			}
			r, err := decode(strings.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(r); err != nil || string(plain) != want {
				t.Errorf("%s: %v, %d bytes decoded, want %d", name, err, len(plain), len(want))
			}
			resp, got = s.do("POST", chatPath, request, "x-sim-fault: "+name, "Accept-Encoding: "+name+";q=0")
			if resp.Header.Get("Content-Encoding") != "" || got != want {
				t.Errorf("%s not accepted, but used", name)
			}
		}
	}
}

func TestFaults_IdleCloseComesWithoutWarning(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	nc := s.dial()
	send(t, nc, wire("POST", chatPath, plainChat, "x-sim-fault: idle-close"))
	r := bufio.NewReader(nc)
	resp, err := receive(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Close || resp.Header.Get("Connection") != "keep-alive" {
		t.Errorf("the answer warns: %v", resp.Header)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the answer: %v, want EOF", err)
	}

	// A request that arrives while the connection is about to close meets a reset.
	nc = s.dial()
	send(t, nc, wire("POST", chatPath, plainChat, "x-sim: fault=idle-close,idle=20ms"))
	r = bufio.NewReader(nc)
	if _, err = receive(r); err != nil {
		t.Fatal(err)
	}
	send(t, nc, wire("POST", chatPath, plainChat))
	if _, err := r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("second request: %v, want a reset", err)
	}
	if n := s.Stats().Calls["chat"]; n != 2 {
		t.Errorf("%d calls, want 2: the third was never read", n)
	}
}

func TestFaults_EarlyAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	head := "POST " + chatPath + " HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer key\r\nContent-Length: 1000000\r\nx-sim-fault: "
	for _, fault := range []string{"early-413", "early-413-close"} {
		nc := s.dial()
		send(t, nc, head+fault+"\r\n\r\n{")
		resp, err := receive(bufio.NewReader(nc))
		if err != nil {
			t.Fatalf("%s: %v", fault, err)
		}
		if resp.StatusCode != 413 || !resp.Close {
			t.Errorf("%s: %d, close %v", fault, resp.StatusCode, resp.Close)
		}
	}

	nc := s.dial()
	send(t, nc, head+"early-stream\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: {") {
		t.Fatalf("before the body is sent: %q, %v", line, err)
	}
	if _, err := nc.Write(bytes.Repeat([]byte{' '}, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !strings.HasSuffix(string(rest), "[DONE]\n\n") {
		t.Errorf("after the body was sent: %v", err)
	}
}

func TestFaults_DripIsTheSameAnswerSlowly(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed, Directives: MustDirectives("ids=stable,tokens=2")})
	_, want := s.do("POST", chatPath, plainChat)
	begin := time.Now()
	_, got := s.do("POST", chatPath, plainChat, "x-sim: fault=drip,interval=10us")
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if d := time.Since(begin); d < time.Duration(len(want))*10*time.Microsecond {
		t.Errorf("%d bytes took %v", len(want), d)
	}
}

func TestFaults_InEveryStreamedDialect(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	const version = "anthropic-version: 2023-06-01"
	check := func(path, request, fault, holds, lacks string) {
		t.Helper()
		_, got := s.do("POST", path, request, version, "x-sim: tokens=8,fault="+fault)
		if !strings.Contains(got, holds) || strings.Contains(got, lacks) {
			t.Errorf("%s %s: %q, want %q and not %q", path, fault, got, holds, lacks)
		}
	}
	messages := `{"model":"c","max_tokens":99,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	check("/v1/messages", messages, "error-event", "event: error\ndata: {\"type\":\"error\"", "message_stop")
	check("/v1/messages", messages, "no-end", "text_delta", "message_delta")
	response := `{"model":"g","stream":true,"input":"hi"}`
	check("/v1/responses", response, "error-event", "event: error\ndata: {\"type\":\"error\"", "response.completed")
	check("/v1/responses", response, "no-end", "response.output_text.delta", "response.completed")
	contents := `{"contents":[{"parts":[{"text":"hi"}]}]}`
	check("/v1beta/models/g:streamGenerateContent?alt=sse", contents, "error-event", `data: {"error": {"code": 503`, "finishReason")
	check("/v1beta/models/g:streamGenerateContent?alt=sse", contents, "no-end", `{"text": "`, "finishReason")
	check("/v1beta/models/g:streamGenerateContent", contents, "error-event", `{"error": {"code": 503`, "finishReason")
	check("/v1beta/models/g:streamGenerateContent", contents, "no-end", `"text": "`, "finishReason")
}
