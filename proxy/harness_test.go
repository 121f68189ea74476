package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/proxy/policy"
)

// gateway is a proxy on a loopback socket.
type gateway struct {
	t    *testing.T
	p    *Proxy
	addr string
	log  *syncBuffer
	stop func()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// embedded is parsed once for all tests.
var embedded = sync.OnceValue(func() *config.PriceTable {
	t, err := config.EmbeddedPrices()
	if err != nil {
		panic(err)
	}
	return t
})

// testPacing is as the defaults have it.
var testPacing = config.Pacing{Enabled: true, Share: .97, MaxWait: 2 * time.Second, Waiters: 1000, Concurrency: "off", MinConcurrent: 2}

// testConfig has the three providers of the defaults, all at one address.
func testConfig(upstream string) *config.Config {
	timeouts := config.Timeouts{Connect: 5 * time.Second, FirstByte: 20 * time.Second, Idle: 20 * time.Second, Total: time.Minute}
	prov := func(name, dialect, path string) config.Provider {
		return config.Provider{Name: name, Dialect: dialect, BaseURL: upstream + path, Timeouts: timeouts, MaxIdle: 64, IdleTimeout: time.Minute, Pacing: testPacing}
	}
	openai := prov("openai", "openai", "/v1")
	openai.RequestUsage = true
	openai.PricedAs = "openai"
	return &config.Config{
		Server: config.Server{
			ReplayLimit: 8 << 20, MaxBody: 64 << 20, MaxHeader: 16 << 10, HeaderTimeout: 5 * time.Second, BodyTimeout: 5 * time.Second,
			IdleTimeout: time.Minute, WriteTimeout: 20 * time.Second, ResponseHeaders: true, MaxConnections: 1 << 16, RawIO: true,
			MemoryThreshold: 90,
		},
		Windows:   config.Windows{MaxSeries: 100},
		Providers: map[string]config.Provider{"openai": openai, "anthropic": prov("anthropic", "anthropic", ""), "gemini": prov("gemini", "gemini", "")},
	}
}

// start runs a proxy until the test ends.
func start(t *testing.T, c *config.Config) *gateway {
	t.Helper()
	return startWith(t, c, nil)
}

// startTLS runs a proxy that speaks TLS; pool holds its certificate.
func startTLS(t *testing.T, c *config.Config) (g *gateway, pool *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS() // for its certificate
	t.Cleanup(srv.Close)
	pool = x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return startWith(t, c, &tls.Config{Certificates: srv.TLS.Certificates}), pool
}

func startWith(t *testing.T, c *config.Config, serverTLS *tls.Config) *gateway {
	t.Helper()
	log := &syncBuffer{}
	g := startTB(t, c, serverTLS, log)
	g.t, g.log = t, log
	return g
}

func startTB(t testing.TB, c *config.Config, serverTLS *tls.Config, log io.Writer) *gateway {
	t.Helper()
	return startCached(t, c, nil, serverTLS, log)
}

// startCached is startTB with a cache; nil: none.
func startCached(t testing.TB, c *config.Config, cache Cache, serverTLS *tls.Config, log io.Writer) *gateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{addr: ln.Addr().String()}
	access := NewAccessLog(log)
	g.p, err = New(Options{
		Config: c, Policy: policy.NewHolder(PolicyOf(c)), Prices: embedded, Windows: window.NewRecorder(c.Windows.MaxSeries),
		Ledger: ledger.New(100), Cache: cache,
		Access: access, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.p.Run(ctx) })
	wg.Go(func() {
		if err := g.p.Serve(ln, serverTLS); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	g.stop = sync.OnceFunc(func() {
		grace, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		if err := g.p.Shutdown(grace); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		cancel()
		wg.Wait()
		access.Close()
	})
	t.Cleanup(g.stop)
	return g
}

// raw is a provider that runs handle for each of its connections.
func raw(t *testing.T, handle func(c *net.TCPConn, r *bufio.Reader)) string {
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
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn), bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// fixed is a provider that answers every request with the same bytes.
func fixed(t *testing.T, answer string) string {
	return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readMessage(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

// message is a request as it stood on the wire.
type message struct {
	line    string
	headers []string // lines without line ends
	body    []byte
}

func (m *message) has(prefix string) bool {
	for _, h := range m.headers {
		if strings.HasPrefix(h, prefix) {
			return true
		}
	}
	return false
}

// readMessage reads one request with its body.
func readMessage(r *bufio.Reader) (*message, error) {
	m := &message{}
	length, chunked := 0, false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if line == "" {
			break
		}
		if m.line == "" {
			m.line = line
			continue
		}
		m.headers = append(m.headers, line)
		if _, err := fmt.Sscanf(line, "Content-Length: %d", &length); err != nil {
			chunked = chunked || line == "Transfer-Encoding: chunked"
		}
	}
	if chunked {
		for {
			var n int
			if _, err := fmt.Fscanf(r, "%x\r\n", &n); err != nil {
				return nil, err
			}
			piece := make([]byte, n+2)
			if _, err := io.ReadFull(r, piece); err != nil {
				return nil, err
			}
			m.body = append(m.body, piece[:n]...)
			if n == 0 {
				return m, nil
			}
		}
	}
	m.body = make([]byte, length)
	_, err := io.ReadFull(r, m.body)
	return m, err
}

// mirror is a provider that keeps each request and answers 200 with a small body.
func mirror(t *testing.T) (url string, got <-chan *message) {
	ch := make(chan *message, 16)
	return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			ch <- m
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
				return
			}
		}
	}), ch
}

// dial opens a client connection.
func (g *gateway) dial() *net.TCPConn {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// send writes bytes on a new connection and reads one answer.
func (g *gateway) send(wire string) (*http.Response, []byte) {
	g.t.Helper()
	c := g.dial()
	if _, err := io.WriteString(c, wire); err != nil {
		g.t.Fatal(err)
	}
	method, _, _ := strings.Cut(wire, " ")
	return g.read(bufio.NewReader(c), method)
}

// read reads one answer to a request of that method.
func (g *gateway) read(r *bufio.Reader, method string) (*http.Response, []byte) {
	g.t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		g.t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatalf("read body: %v (so far %q)", err, body)
	}
	resp.Body.Close()
	return resp, body
}

// post is a chat request on the wire.
func post(path, body string, headers ...string) string {
	h := ""
	for _, line := range headers {
		h += line + "\r\n"
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gateway\r\n%sContent-Length: %d\r\n\r\n%s", path, h, len(body), body)
}

// lines waits for n lines of the access log.
func (g *gateway) lines(n int) []map[string]any {
	g.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		text := strings.TrimSpace(g.log.String())
		if got := strings.Split(text, "\n"); text != "" && len(got) >= n {
			var parsed []map[string]any
			for _, line := range got {
				var m map[string]any
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					g.t.Fatalf("log line %q: %v", line, err)
				}
				parsed = append(parsed, m)
			}
			return parsed
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("log: got %q, want %d lines", text, n)
		}
		wait()
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); wait() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// wait passes a little time while real sockets do their work; nothing depends on how much.
func wait() { <-time.After(2 * time.Millisecond) }
