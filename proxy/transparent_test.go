package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

func TestForward_RequestReachesTheProviderAsItWasSent(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	g := start(t, testConfig(url))
	body := `{"model":"gpt-4o-mini", "zz":[1, 2 ],"messages":[{"role":"user","content":"hi \u00e9"}]}`
	g.send(post("/v1/chat/completions?x=%2F&y=1", body, "authorization: Bearer sk-1", "X-Custom:  spaced ", "x-custom: twice",
		"Content-Type: application/json", "User-Agent: sdk/1", "Accept-Encoding: gzip", "x-llmopt-session: s1", "Connection: keep-alive, X-Hop", "X-Hop: 1",
		"TE: trailers", "Keep-Alive: 5", "Proxy-Authorization: x"))
	m := <-got
	if m.line != "POST /v1/chat/completions?x=%2F&y=1 HTTP/1.1" {
		t.Errorf("request line: got %q", m.line)
	}
	want := []string{
		"Host: " + strings.TrimPrefix(url, "http://"), "authorization: Bearer sk-1", "X-Custom:  spaced ", "x-custom: twice",
		"Content-Type: application/json", "User-Agent: sdk/1", "Accept-Encoding: gzip", fmt.Sprintf("Content-Length: %d", len(body)),
	}
	// post writes Content-Length last, and there it stays.
	if !slices.Equal(m.headers, want) {
		t.Errorf("headers:\n got %q\nwant %q", m.headers, want)
	}
	if string(m.body) != body {
		t.Errorf("body: got %q", m.body)
	}
}

func TestForward_NothingIsInvented(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	g := start(t, testConfig(url))
	g.send("GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n")
	if m := <-got; len(m.headers) != 1 || !m.has("Host: ") {
		t.Errorf("headers: got %q, want the host alone", m.headers)
	}
	for _, method := range []string{"POST", "PATCH", "DELETE", "OPTIONS"} {
		g.send(method + " /v1/files/f HTTP/1.1\r\nHost: gateway\r\n\r\n")
		if m := <-got; len(m.headers) != 1 || !m.has("Host: ") {
			t.Errorf("%s: headers: got %q, want the host alone", method, m.headers)
		}
		g.send(method + " /v1/files/f HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n")
		if m := <-got; len(m.headers) != 2 || !m.has("Content-Length: 0") {
			t.Errorf("%s: headers: got %q, want the host and the length", method, m.headers)
		}
	}
}

// An offer to switch protocols costs the request nothing (RFC 9110, section 7.8): it is dropped where no tunnel can come of it.
func TestForward_OffersOfProtocolsWithABodyAreDropped(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	g := start(t, testConfig(url))
	check := func(name, wire, wantBody string, wantUpgrade bool) {
		t.Helper()
		resp, _ := g.send(wire)
		m := <-got
		if text := strings.ToLower(strings.Join(m.headers, "\n")); string(m.body) != wantBody || resp.StatusCode != 200 ||
			strings.Contains(text, "upgrade") != wantUpgrade || strings.Contains(text, "http2-settings") {
			t.Errorf("%s: got %d; the provider got %q %q", name, resp.StatusCode, m.headers, m.body)
		}
	}
	const h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
	check("h2c with a body", post("/v1/files", "all of it", strings.Split(strings.TrimSuffix(h2c, "\r\n"), "\r\n")...), "all of it", false)
	check("h2c without", "GET /v1/models HTTP/1.1\r\nHost: g\r\n"+h2c+"\r\n", "", false)
	check("a body in chunks", "POST /v1/files HTTP/1.1\r\nHost: g\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", false)
	check("other protocol, refused", "GET /v1/models HTTP/1.1\r\nHost: g\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", "", true)
}

func TestForward_PathsStayRawAndFindTheirProvider(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	c := testConfig(url)
	mistral := c.Providers["openai"]
	mistral.Name, mistral.BaseURL = "my_mistral", url+"/deep/base/v1"
	c.Providers["my_mistral"] = mistral
	g := start(t, c)
	check := func(target, want string, headers ...string) {
		t.Helper()
		g.send(post(target, "{}", headers...))
		if m := <-got; m.line != "POST "+want+" HTTP/1.1" {
			t.Errorf("%s: the provider got %q, want %q", target, m.line, want)
		}
	}
	check("/v1/chat/completions", "/v1/chat/completions")
	check("/openai/chat/completions", "/v1/chat/completions")
	check("/openai/v1/chat/completions", "/v1/chat/completions")
	check("/v1/../../admin", "/v1/../../admin")
	check("/openai/v1/%2e%2e/a%2Fb//c", "/v1/%2e%2e/a%2Fb//c")
	check("/my_mistral/v1/chat/completions", "/deep/base/v1/chat/completions")
	check("/my_mistral/chat/completions", "/deep/base/v1/chat/completions")
	check("/v1/messages?beta=true", "/v1/messages?beta=true")
	check("/anthropic/v1/messages", "/v1/messages")
	check("/v1/models/gemini-2.5-flash:generateContent", "/v1/models/gemini-2.5-flash:generateContent")
	check("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
	check("/gemini/v1beta/models/x:countTokens", "/v1beta/models/x:countTokens")
}

func TestForward_ConfiguredKeyReplacesTheClients(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	c := testConfig(url)
	check := func(provider string, auth string, target string, wantLine string, wantHeader string) {
		t.Helper()
		p := c.Providers[provider]
		p.APIKey, p.Auth = config.NewSecret("ours"), auth
		p.Headers = map[string]config.Secret{"x-team": config.NewSecret("blue")}
		c := *c
		c.Providers = map[string]config.Provider{provider: p}
		g := start(t, &c)
		g.send(post(target, "{}", "Authorization: Bearer theirs", "x-api-key: theirs", "api-key: theirs", "X-Goog-Api-Key: theirs", "X-Team: red",
			"Sec-WebSocket-Protocol: openai-insecure-api-key.theirs , realtime,openai-beta.realtime-v1", "sec-websocket-protocol: openai-insecure-api-key.theirs"))
		var m *message
		select {
		case m = <-got:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s %s: nothing reached the provider", provider, target)
		}
		if m.line != wantLine {
			t.Errorf("%s: line %q, want %q", provider, m.line, wantLine)
		}
		if text := strings.Join(m.headers, "\n"); strings.Contains(text, "theirs") || strings.Contains(text, "red") ||
			!m.has(wantHeader) || !m.has("x-team: blue") {
			t.Errorf("%s: headers %q, want %q and no key of the client's", provider, m.headers, wantHeader)
		}
	}
	check("openai", "", "/openai/models", "POST /v1/models HTTP/1.1", "Authorization: Bearer ours")
	check("openai", "api-key", "/openai/models", "POST /v1/models HTTP/1.1", "api-key: ours")
	check("anthropic", "", "/anthropic/v1/messages", "POST /v1/messages HTTP/1.1", "x-api-key: ours")
	check("gemini", "", "/v1beta/x?key=theirs&a=b", "POST /v1beta/x?a=b HTTP/1.1", "x-goog-api-key: ours")
	check("gemini", "", "/v1beta/x?key=theirs", "POST /v1beta/x HTTP/1.1", "x-goog-api-key: ours")
	check("gemini", "", "/v1beta/x?a=b&%6bey=theirs&Key=theirs;c=d;key=theirs", "POST /v1beta/x?a=b&c=d HTTP/1.1", "x-goog-api-key: ours")
	check("gemini", "", "/v1beta/x?monkey=1&access_token=theirs&keys=2", "POST /v1beta/x?monkey=1&keys=2 HTTP/1.1", "x-goog-api-key: ours")
	check("openai", "", "/openai/realtime?api-version=1&api%2Dkey=theirs", "POST /v1/realtime?api-version=1 HTTP/1.1", "Sec-WebSocket-Protocol: realtime, openai-beta.realtime-v1")
}

func TestForward_AnswerReachesTheClientAsItWasSent(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, "HTTP/1.1 200 All Fine\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: provider\r\nContent-Type: application/json\r\n"+
		"x-request-id: req_1\r\nX-RateLimit-Remaining-Tokens: 5\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"+
		"Alt-Svc: h3\r\nContent-Length: 9\r\n\r\n{\"a\" : 1}")))
	resp, body := g.send(post("/v1/files", "x"))
	if resp.Status != "200 All Fine" || string(body) != `{"a" : 1}` {
		t.Errorf("got %q, %q", resp.Status, body)
	}
	for name, want := range map[string]string{
		"Date": "Mon, 01 Jan 2024 00:00:00 GMT", "Server": "provider", "Content-Type": "application/json", "x-request-id": "req_1",
		"X-Ratelimit-Remaining-Tokens": "5", "Set-Cookie": "a=1; Path=/,b=2", "Alt-Svc": "h3", "X-Hop": "", "Content-Length": "9",
		"X-Llmopt-Attempts": "1", "X-Llmopt-Target": "openai",
	} {
		if got := strings.Join(resp.Header.Values(name), ","); got != want {
			t.Errorf("header %s: got %q, want %q", name, got, want)
		}
	}
	if id := resp.Header.Get("x-llmopt-id"); len(id) != idLen {
		t.Errorf("x-llmopt-id: got %q", id)
	}
}

// Every line of an answer's head arrives as the provider spelt it, whatever fasthttp thinks of its name.
func TestForward_LinesOfTheHeadKeepTheirSpelling(t *testing.T) {
	t.Parallel()
	check := func(name, end string, lines ...string) {
		t.Helper()
		g := start(t, testConfig(fixed(t, "HTTP/1.1 200 OK"+end+strings.Join(lines, end)+end+"Content-Length: 2"+end+end+"{}")))
		c := g.dial()
		r := bufio.NewReader(c)
		for range 2 {
			if _, err := io.WriteString(c, "GET /v1/files/f HTTP/1.1\r\nHost: g\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				line, err := r.ReadString('\n')
				if err != nil || !strings.HasSuffix(line, "\r\n") {
					t.Fatalf("%s: line %q, %v", name, line, err)
				}
				if line = strings.TrimSuffix(line, "\r\n"); line == "" {
					break
				}
				if !strings.HasPrefix(line, "x-llmopt-") {
					got = append(got, line)
				}
			}
			_, _ = io.CopyN(io.Discard, r, 2)
			want := append([]string{"HTTP/1.1 200 OK", "Content-Length: 2"}, lines...)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
	usual := []string{
		"server: provider", "DATE: Mon, 01 Jan 2024 00:00:00 GMT", "content-type: text/x", "X-a: 1", "x-A: 2", "X-a: 1",
		"set-cookie: a=1", "SET-COOKIE: b=2", "content-encoding: identity", "X-Empty:", "x-odd:  spaces \t ", "x-utf8: \xc3\xbc",
	}
	check("usual", "\r\n", usual...)
	check("long", "\r\n", append(usual, "X-Long: "+strings.Repeat("long ", 4000)+"end")...)
	check("bare line feeds", "\n", "server: provider", "x-b: 2", "content-type: text/x")
	check("of fasthttp's own kind", "\r\n", "Content-Type: text/x", "Server: provider", "Set-Cookie: a=1")
	check("with a date", "\r\n", "Content-Type: text/x", "Date: Mon, 01 Jan 2024 00:00:00 GMT", "Server: provider")
	check("one", "\r\n", "X-A: 1")
}

func TestForward_ResponseHeadersCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	c := testConfig(fixed(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	c.Server.ResponseHeaders = false
	resp, _ := start(t, c).send("GET /v1/models HTTP/1.1\r\nHost: g\r\n\r\n")
	if len(resp.Header) != 1 {
		t.Errorf("headers: got %v, want Content-Length alone", resp.Header)
	}
}

func TestForward_MethodsAndBodylessAnswers(t *testing.T) {
	t.Parallel()
	check := func(method, answer string, wantStatus int, wantBody string) {
		t.Helper()
		g := start(t, testConfig(fixed(t, answer)))
		c := g.dial()
		r := bufio.NewReader(c)
		for range 2 { // the second shows that the connection's framing has survived
			if _, err := fmt.Fprintf(c, "%s /v1/files/f HTTP/1.1\r\nHost: g\r\n\r\n", method); err != nil {
				t.Fatal(err)
			}
			resp, body := g.read(r, method)
			if resp.StatusCode != wantStatus || string(body) != wantBody {
				t.Errorf("%s: got %d %q, want %d %q", method, resp.StatusCode, body, wantStatus, wantBody)
			}
		}
	}
	check("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi")
	check("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, "")
	check("OPTIONS", "HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n", 204, "")
	check("DELETE", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}")
	check("PATCH", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", 404, "{}")
	check("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, "")
	check("GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok")
}

func TestForward_AnswersWithoutABodyAreFine(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"204 No Content", "304 Not Modified", "200 OK\r\nContent-Length: 0"} {
		g := start(t, testConfig(fixed(t, "HTTP/1.1 "+status+"\r\n\r\n")))
		g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`))
		if line := g.lines(1)[0]; line["outcome"] != "ok" || line["error"] != nil {
			t.Errorf("%s: log %v", status, line)
		}
	}
}

func TestForward_HeadKeepsTheLength(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")))
	if resp, _ := g.send("HEAD /v1/files/f HTTP/1.1\r\nHost: g\r\n\r\n"); resp.ContentLength != 7 {
		t.Errorf("length: got %d, want 7", resp.ContentLength)
	}
}

func TestForward_LargeBodiesBothWays(t *testing.T) {
	t.Parallel()
	up := bytes.Repeat([]byte("0123456789abcdef"), 50<<20/16)
	down := bytes.Repeat([]byte("fedcba9876543210"), 20<<20/16)
	sums := make(chan [32]byte, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil || n != int64(len(up)) {
			t.Errorf("the provider read %d bytes, %v", n, err)
		}
		sums <- [32]byte(h.Sum(nil))
		_, _ = w.Write(down)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln) //nolint:errcheck // ends with the test
	t.Cleanup(func() { srv.Close() })
	g := start(t, testConfig("http://"+ln.Addr().String()))
	check := func(name string, body io.Reader) {
		t.Helper()
		resp, err := http.Post("http://"+g.addr+"/v1/files", "application/octet-stream", body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(got, down) {
			t.Errorf("%s: answer of %d bytes, %v; want %d", name, len(got), err, len(down))
		}
		if sum := <-sums; sum != sha256.Sum256(up) {
			t.Errorf("%s: the provider got other bytes", name)
		}
	}
	check("known length", bytes.NewReader(up))
	check("chunked", struct{ io.Reader }{bytes.NewReader(up)})
}

func TestForward_PipelinedAndOldClients(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			path := strings.Fields(m.line)[1]
			if path == "/v1/stream" {
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
				continue
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		}
	})))
	c := g.dial()
	if _, err := io.WriteString(c, post("/v1/a", "1")+post("/v1/stream", "2")+post("/v1/c", "3")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"/v1/a", "abcdef", "/v1/c"} {
		if _, body := g.read(r, "POST"); string(body) != want {
			t.Errorf("pipelined: got %q, want %q", body, want)
		}
	}
	for path, want := range map[string]string{"/v1/a": "/v1/a", "/v1/stream": "abcdef"} {
		c := g.dial()
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
		if err != nil || body != want || strings.Contains(strings.ToLower(head), "chunked") {
			t.Errorf("HTTP/1.0 %s: got %q, %v; want the body %q without chunks", path, answer, err, want)
		}
	}
}

func TestForward_ContinueIsAnsweredHere(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	g := start(t, testConfig(url))
	c := g.dial()
	r := bufio.NewReader(c)
	if _, err := io.WriteString(c, "POST /v1/files HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if resp, _ := g.read(r, "POST"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if m := <-got; string(m.body) != "hello" || m.has("Expect") {
		t.Errorf("the provider got %q with %q", m.body, m.headers)
	}
}
