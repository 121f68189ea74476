package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// fixedTime is the clock of simulators whose answers must not differ.
func fixedTime() time.Time { return time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC) }

// simulated is a simulator on a loopback socket.
type simulated struct {
	*sim.Server
	url  string
	addr string
}

// simulate runs a simulator until the test ends.
func simulate(t testing.TB, o sim.Options) *simulated {
	t.Helper()
	return simulateAt(t, "127.0.0.1:0", o)
}

func simulateAt(t testing.TB, addr string, o sim.Options) *simulated {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := sim.New(o)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(ln) // always ends in ErrServerClosed
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return &simulated{s, "http://" + ln.Addr().String(), ln.Addr().String()}
}

// served is a whole llmopt serve, run as a user runs it.
type served struct {
	t          testing.TB
	url, admin string
	stdout     *capture
	stderr     *capture
	stop       func() // waits for the end; idempotent
}

// serve runs "llmopt serve" with its providers at upstream until the test ends. environ holds further settings and goes
// before the ones made here. At the end of every test no exchange may be in flight, nothing may have panicked, and the
// server must end by itself with status 0.
func serve(t testing.TB, upstream string, environ ...string) *served {
	t.Helper()
	return serveFile(t, "", upstream, environ...)
}

// serveFile is serve with a file of settings; empty: none.
func serveFile(t testing.TB, file, upstream string, environ ...string) *served {
	t.Helper()
	env := append([]string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0", "OPTIMIZER_LOG__ACCESS=stdout", "OPTIMIZER_STORAGE__DIR=",
		"OPTIMIZER_PROVIDERS__OPENAI__BASE_URL=" + upstream + "/v1",
		"OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL=" + upstream,
		"OPTIMIZER_PROVIDERS__GEMINI__BASE_URL=" + upstream,
	}, environ...)
	g := &served{t: t, stdout: newCapture(), stderr: newCapture()}
	ctx, cancel := context.WithCancel(context.Background())
	exited := make(chan int, 1)
	args := []string{"serve"}
	if file != "" {
		args = append(args, "--config", file)
	}
	go func() { exited <- run(ctx, args, env, g.stdout, g.stderr) }()
	select {
	case <-g.stdout.line:
	case code := <-exited:
		cancel()
		t.Fatalf("llmopt serve ended with status %d: %s", code, g.stderr)
	}
	var hello struct{ Event, Proxy, Admin string }
	if err := json.Unmarshal([]byte(g.stdout.lines()[0]), &hello); err != nil || hello.Event != "listening" {
		t.Fatalf("first line %q, %v", g.stdout.lines()[0], err)
	}
	g.url, g.admin = hello.Proxy, hello.Admin
	stopped := false
	g.stop = sync.OnceFunc(func() {
		stopped = true
		cancel()
		if code := <-exited; code != 0 {
			t.Errorf("llmopt serve ended with status %d: %s", code, g.stderr)
		}
		if log := g.stderr.String(); strings.Contains(log, "panic") {
			t.Errorf("an exchange panicked: %s", log)
		}
	})
	t.Cleanup(func() {
		if !t.Failed() && !stopped {
			g.eventually("no exchange in flight", func() bool { return g.metric("llmopt_exchanges_in_flight") == 0 })
		}
		g.stop()
	})
	return g
}

// capture keeps what is written to it; line is closed after the first whole line.
type capture struct {
	mu   sync.Mutex
	b    bytes.Buffer
	line chan struct{}
	once sync.Once
}

func newCapture() *capture { return &capture{line: make(chan struct{})} }

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b.Write(p)
	if bytes.IndexByte(p, '\n') >= 0 {
		c.once.Do(func() { close(c.line) })
	}
	return len(p), nil
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// lines are the whole lines so far.
func (c *capture) lines() []string {
	text := c.String()
	end := strings.LastIndexByte(text, '\n')
	if end < 0 {
		return nil
	}
	return strings.Split(text[:end], "\n")
}

// logLine is a line of the access log, with the keys that scripts depend on.
type logLine struct {
	ID         string   `json:"id"`
	Caller     string   `json:"caller"`
	CallerName string   `json:"caller_name"`
	Limit      string   `json:"limit"`
	Session    string   `json:"session"`
	Route      string   `json:"route"`
	Class      string   `json:"class"`
	Arm        string   `json:"arm"`
	Target     string   `json:"target"`
	Status     int      `json:"status"`
	Outcome    string   `json:"outcome"`
	Attempts   int      `json:"attempts"`
	TTFT       *float64 `json:"ttft_s"`
	Duration   float64  `json:"duration_s"`
	Overhead   int64    `json:"overhead_us"`
	Input      int64    `json:"tokens_input"`
	CacheRead  int64    `json:"tokens_cache_read"`
	CacheWrite int64    `json:"tokens_cache_write"`
	Output     int64    `json:"tokens_output"`
	Reasoning  int64    `json:"tokens_reasoning"`
	Cost       int64    `json:"cost_nanousd"`
	Estimated  bool     `json:"estimated"`
	Unpriced   bool     `json:"unpriced"`
	Error      string   `json:"error"`
	Detail     string   `json:"detail"`
	CacheKey   string   `json:"cache_key"`
}

// log returns the access log's lines so far.
func (g *served) log() []logLine {
	g.t.Helper()
	var parsed []logLine
	for _, line := range g.stdout.lines()[1:] {
		var l logLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			g.t.Fatalf("access log: %q: %v", line, err)
		}
		parsed = append(parsed, l)
	}
	return parsed
}

// lineOf waits for the access log's line of one exchange.
func (g *served) lineOf(id string) logLine {
	g.t.Helper()
	var found logLine
	g.eventually("a line in the access log for "+id, func() bool {
		for _, l := range g.log() {
			if l.ID == id {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// metric is the sum of all series of that name, or of the one series that is named with its labels.
func (g *served) metric(name string) float64 {
	g.t.Helper()
	return sumOf(g.t, g.metrics(), name)
}

func (g *served) metrics() string {
	g.t.Helper()
	resp, err := http.Get(g.admin + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		g.t.Fatalf("metrics: status %d, %v", resp.StatusCode, err)
	}
	return string(text)
}

func sumOf(t testing.TB, text, name string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(series, "{"); !ok || series != name && bare != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metrics: %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// eventually waits until the condition holds.
func (g *served) eventually(what string, holds func() bool) {
	g.t.Helper()
	eventually(g.t, what, 30*time.Second, holds)
}

func eventually(t testing.TB, what string, within time.Duration, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); pause() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
}

// pause passes a little time while real sockets do their work; nothing depends on how much.
func pause() { <-time.After(5 * time.Millisecond) }
