package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
)

// chatAnswer is a whole answer of that model with 10 tokens in and 5 out.
func chatAnswer(model string) string {
	body := fmt.Sprintf(`{"id":"c","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`, model)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// metricsText is what an operator would scrape.
func (g *gateway) metricsText() string {
	var b bytes.Buffer
	g.p.Metrics().WritePrometheus(&b)
	return b.String()
}

func TestRecord_UnknownModelIsUnpricedAndNeverFree(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, chatAnswer("house-model"))))
	resp, _ := g.send(post("/v1/chat/completions", `{"model":"house-model","messages":[]}`))
	if cost := resp.Header.Values("x-llmopt-cost-usd"); len(cost) > 0 {
		t.Errorf("cost header: got %q, want none", cost)
	}
	if line := g.lines(1)[0]; line["unpriced"] != true || line["tokens_output"] != 5.0 {
		t.Errorf("log: %v", line)
	}
	if want := `llmopt_unpriced_attempts_total{provider="openai",model="house-model"} 1`; !strings.Contains(g.metricsText(), want) {
		t.Errorf("metrics lack %s", want)
	}
}

func TestRecord_ModelThatOnlyTheAnswerNamesIsPriced(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, chatAnswer("gpt-4o-mini-2024-07-18"))))
	resp, _ := g.send(post("/v1/chat/completions", `{"model":"my-alias","messages":[]}`))
	if cost := resp.Header.Get("x-llmopt-cost-usd"); cost != "0.0000045" {
		t.Errorf("cost: got %q, want 0.0000045", cost)
	}
}

func TestRecord_WindowsMetricsAndLogSayTheSame(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, chatAnswer("gpt-4o-mini"))))
	const n = 7
	for range n {
		g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","messages":[]}`, "Authorization: Bearer sk-very-secret", "x-llmopt-session: s"))
	}
	var cost float64
	for _, line := range g.lines(n) {
		cost += line["cost_nanousd"].(float64)
		if line["caller"] == "-" || line["session"] == "-" || line["route"] != "direct" || line["class"] != "light" || line["arm"] != "treated" || line["target"] != "openai/gpt-4o-mini" {
			t.Errorf("log: %v", line)
		}
	}
	series := g.p.windows.Select(func(k window.Key) bool { return k.Target == "openai/gpt-4o-mini" })
	sum := g.p.windows.Sum(window.Last(time.Now(), time.Minute), series...)
	if sum.Requests() != n || sum.Cost().Sum() != int64(cost) || cost != n*4500 {
		t.Errorf("window: %d requests for %d; log: %g; want %d for %d", sum.Requests(), sum.Cost().Sum(), cost, n, n*4500)
	}
	text := g.metricsText()
	for _, want := range []string{
		`llmopt_attempts_total{provider="openai",model="gpt-4o-mini",outcome="ok"} 7`,
		`llmopt_exchanges_total{outcome="ok"} 7`,
		`llmopt_tokens_total{provider="openai",model="gpt-4o-mini",type="input"} 70`,
		`llmopt_tokens_total{provider="openai",model="gpt-4o-mini",type="output"} 35`,
		`llmopt_cost_usd_total{provider="openai",model="gpt-4o-mini"} 3.15e-05`,
		`llmopt_attempt_duration_seconds_count{provider="openai",model="gpt-4o-mini"} 7`,
		`llmopt_overhead_seconds_count 7`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(g.log.String()+text, "sk-very-secret") {
		t.Error("a credential shows in the log or the metrics")
	}
}

func TestRecord_ModelsAreBounded(t *testing.T) {
	t.Parallel()
	c := testConfig(fixed(t, chatAnswer("x")))
	c.Windows.MaxSeries = 5
	g := start(t, c)
	for i := range 50 {
		g.send(post("/v1/chat/completions", fmt.Sprintf(`{"model":"m%d\" \u0000evil","messages":[]}`, i)))
	}
	g.send(post("/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[]}`, strings.Repeat("long", 1000))))
	text := g.metricsText()
	if n := strings.Count(text, metricUnpriced+"{"); n > 6 {
		t.Errorf("targets: got %d, want at most 5 and the one for all others", n)
	}
	if !strings.Contains(text, `model="other"`) || strings.Contains(text, "\x00") || strings.Contains(text, "longlong") {
		t.Error("models beyond the bound do not count as other, or a name was printed raw")
	}
}

// A panic costs one exchange, wherever it happens.
func TestPanic_CostsItsExchangeOnly(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			if strings.Contains(m.line, "embeddings") {
				_, _ = io.WriteString(c, chatAnswer("gpt-4o-mini"))
				continue
			}
			_, _ = io.WriteString(c, chunkedHead+chunk(chatFrame("hi"))+chunk(chatStop+chatDone)+"0\r\n\r\n")
		}
	})))
	recorded := func() {
		t.Helper()
		eventually(t, "no exchange in flight", func() bool { return g.p.metrics.inFlight.Load() == 0 })
	}
	g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`)) // makes the targets
	recorded()
	known := (*g.p.targets.known.Load())["openai"]["gpt-4o-mini"]
	prices := g.p.prices

	g.p.prices = func() *config.PriceTable { panic("in the handler") }
	resp, body := g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
	if resp.StatusCode != 500 || !strings.Contains(string(body), "internal_error") {
		t.Errorf("panic in the handler: got %d %s", resp.StatusCode, body)
	}
	recorded()
	g.p.prices = prices

	metrics := known.metrics
	known.metrics = nil // record will trip over it, after the stream
	if resp, _ := g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`)); resp.StatusCode != 200 {
		t.Errorf("panic while recording: got %d", resp.StatusCode)
	}
	recorded()
	known.metrics = metrics
	if resp, _ := g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`)); resp.StatusCode != 200 {
		t.Errorf("after the panics: got %d", resp.StatusCode)
	}
	recorded()
	if o := g.p.settings.Load().providers["openai"].origin; o.Open() != o.Idle() {
		t.Errorf("upstream connections in use: %d", o.Open()-o.Idle())
	}
	if n := g.p.metrics.panics.Get(); n != 2 {
		t.Errorf("panics counted: %d, want 2", n)
	}
}

// Panics outside of fasthttp's reach must not end the process either.
func TestPanic_InOtherGoroutines(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "hello")
		_, _ = io.Copy(io.Discard, c)
	})))
	s := g.p.settings.Load().providers["openai"]
	exchange := func() *Exchange {
		x := &Exchange{p: g.p, settings: g.p.settings.Load(), client: g.p.clients.add(g.dial()), provider: s, head: []byte("POST / HTTP/1.1\r\n\r\n")}
		var err error
		if x.conn, err = s.origin.Dial(&x.client.tether, time.Now().Add(5*time.Second)); err != nil {
			t.Fatal(err)
		}
		return x
	}

	x := exchange()
	x.rest, x.restLen = &clientBody{stream: panicking{}}, -1
	if err := x.startUpload(); err != nil {
		t.Fatal(err)
	}
	err := x.conn.ReadHead(false)
	x.upload.headRead()
	x.dropConn()
	x.client.Close()
	if err = x.attemptError(err); kindOfError(err) != &internal {
		t.Errorf("panic in an upload: got %v", err)
	}

	type both struct {
		io.Reader
		io.Writer
	}
	for name, client := range map[string]both{"reading": {panicking{}, io.Discard}, "writing": {eof{}, panicking{}}} {
		x := exchange()
		func() {
			defer x.client.Close()
			defer x.conn.Discard()
			defer g.p.contain(x, func(err error) { x.endWith(&internal, err) })
			x.pump(client)
		}()
		if x.kind != &internal {
			t.Errorf("panic in a tunnel, %s: ended with %v", name, x.kind)
		}
	}

	g.p.server.Handler = func(ctx *fasthttp.RequestCtx) {
		x := g.p.acquire(ctx)
		x.provider = s
		g.p.hijack(ctx, x, func(io.ReadWriter) { panic("in a hijacked connection") })
	}
	c := g.dial()
	_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if text, err := io.ReadAll(c); len(text) > 0 || err != nil {
		t.Errorf("panic in a hijacked connection: got %q, %v", text, err)
	}
	if line := g.lines(1)[0]; line["error"] != "internal_error" {
		t.Errorf("panic in a hijacked connection: log %v", line)
	}
	if n := g.p.metrics.panics.Get(); n != 4 {
		t.Errorf("panics counted: %d, want 4", n)
	}
}

// panicking is a connection that meets a bug.
type panicking struct{}

func (panicking) Read([]byte) (int, error)  { panic("bug in reading") }
func (panicking) Write([]byte) (int, error) { panic("bug in writing") }

// eof is a client that says nothing.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func TestShutdown_StreamsMayFinishAndLateOnesAreTold(t *testing.T) {
	t.Parallel()
	url, next := script(t, chunkedHead+chunk(chatFrame("hi")), chunk(chatStop+chatDone)+"0\r\n\r\n")
	config := testConfig(url)
	config.Server.WriteTimeout = 5 * time.Second // its deadline is due to be moved by the time the event is written
	g := start(t, config)
	open := func() (*net.TCPConn, *bufio.Reader) {
		conn := g.dial()
		_, _ = io.WriteString(conn, post("/v1/chat/completions", `{"model":"gpt-4o-mini","stream":true}`))
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 200 OK\r\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		return conn, r
	}
	_, early := open()
	_, late := open()
	stopped := make(chan struct{})
	go func() { g.stop(); close(stopped) }()
	next <- struct{}{}
	finished, cut := 0, 0
	for _, r := range []*bufio.Reader{early, late} {
		text, _ := io.ReadAll(r)
		switch {
		case strings.HasSuffix(string(text), "0\r\n\r\n"):
			finished++
		case strings.Contains(string(text), "shutting_down"):
			cut++
		default:
			t.Errorf("got %q, want the whole stream or an error event", text)
		}
	}
	<-stopped
	if finished != 1 || cut != 1 {
		t.Errorf("finished %d, cut %d; want one each", finished, cut)
	}
	if lines := g.lines(2); lines[0]["outcome"] != "ok" || lines[1]["error"] != "shutting_down" {
		t.Errorf("log: %v", lines)
	}
	if _, err := net.Dial("tcp", g.addr); err == nil {
		t.Error("still accepting")
	}
}

func TestAccessLog_NeverHoldsUpARequest(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	slow := writerFunc(func(p []byte) (int, error) { <-release; return len(p), nil })
	l := NewAccessLog(slow)
	line := bytes.Repeat([]byte("x"), 1000)
	for range 5 * logBuffer / 1000 { // the writer takes none of it
		l.add(line)
	}
	lines, dropped, _ := l.counts()
	if dropped == 0 || lines+dropped != 5*logBuffer/1000 {
		t.Errorf("taken %d, dropped %d of %d", lines, dropped, 5*logBuffer/1000)
	}
	close(release)
	l.Close()

	l = NewAccessLog(writerFunc(func([]byte) (int, error) { return 0, errors.New("disk full") }))
	l.add(line)
	l.Close()
	if _, _, errs := l.counts(); errs != 1 {
		t.Errorf("write errors: got %d, want 1", errs)
	}
}

func TestAccessLog_LinesAreJSON(t *testing.T) {
	t.Parallel()
	var got []byte
	l := NewAccessLog(writerFunc(func(p []byte) (int, error) { got = append(got, p...); return len(p), nil }))
	start := time.UnixMilli(1_700_000_000_123)
	x := &Exchange{start: start, status: 502, kind: &brokenAnswer, failure: errors.New("read \"x\"\n\x01\xff: \u2028 end")}
	appendID(x.id[:0], start)
	l.exchange(x, start.Add(61*time.Second+2_030*time.Microsecond+999), window.Broken)
	y := &Exchange{start: start, id: x.id}
	l.exchange(y, start.Add(2*time.Second), window.OK)
	l.exchange(&Exchange{start: start, id: x.id}, start.Add(-time.Second), window.OK) // the clock was set back
	l.Close()
	var lines []map[string]any
	for d := json.NewDecoder(bytes.NewReader(got)); d.More(); {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		lines = append(lines, line)
	}
	if len(lines) != 3 || bytes.Count(got, []byte("\n")) != 3 {
		t.Fatalf("got %d lines: %s", len(lines), got)
	}
	for key, want := range map[string]any{
		"time": 1_700_000_000_123.0, "duration_s": 61.00203, "status": 502.0, "outcome": "broken", "caller": "-", "session": "-", "target": "",
		"error": "upstream_broken", "detail": "read \"x\"\n\x01\ufffd: \u2028 end", "estimated": false, "cost_nanousd": 0.0,
	} {
		if lines[0][key] != want {
			t.Errorf("%s: got %v, want %v", key, lines[0][key], want)
		}
	}
	if lines[1]["duration_s"] != 2.0 || lines[2]["duration_s"] != 0.0 || lines[1]["error"] != nil {
		t.Errorf("got %v and %v", lines[1], lines[2])
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestIdentity(t *testing.T) {
	t.Parallel()
	a, b, random := newHasher("k1"), newHasher("k2"), newHasher("")
	h := func(h hasher, domain byte, parts ...[]byte) hashID { id, _ := h.hash(nil, domain, parts...); return id }
	sk := []byte("sk-1")
	if h(a, callerDomain, sk) != h(newHasher("k1"), callerDomain, sk) {
		t.Error("the same key and credential give different callers")
	}
	for _, other := range []hashID{h(b, callerDomain, sk), h(random, callerDomain, sk), h(a, sessionDomain, sk), h(a, callerDomain, []byte("sk-2"))} {
		if other == h(a, callerDomain, sk) {
			t.Error("another key, domain or credential gives the same caller")
		}
	}
	now := time.UnixMilli(1_700_000_000_000)
	first, second := string(appendID(nil, now)), string(appendID(nil, now.Add(time.Millisecond)))
	if len(first) != idLen || first >= second {
		t.Errorf("ids %q, %q: want %d digits, ascending with time", first, second, idLen)
	}
}

func TestHandle_NoClientHeaderOfOursGoesOn(t *testing.T) {
	t.Parallel()
	url, got := mirror(t)
	g := start(t, testConfig(url))
	g.send(post("/v1/models", "", "X-LLMOPT-Anything: x", "x-llmopt: y"))
	if m := <-got; m.has("X-LLMOPT-") || !m.has("x-llmopt: y") {
		t.Errorf("headers: %q", m.headers)
	}
	if resp, err := http.Get("http://" + g.addr + "/"); err != nil || resp.StatusCode != 404 {
		t.Errorf("the root: %v, %v", resp, err)
	}
}
