package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"llm-auto-optimizer/bench/sim"
)

// soakRequest is one kind of request of the mixed load.
type soakRequest struct {
	path, body string
	fault      string // as a header: for what must be known before the body is read
	chunked    bool
	expect     bool // 100-continue
}

// soakRequests are plain and streamed requests of every dialect, two thirds of them sound, with every fault of the simulator.
func soakRequests() []soakRequest {
	kinds := func(model string) []soakRequest {
		return []soakRequest{
			{path: "/v1/chat/completions", body: fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{path: "/openai/chat/completions", body: fmt.Sprintf(`{"model":%q,"stream":true,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{path: "/v1/responses", body: fmt.Sprintf(`{"model":%q,"stream":true,"input":"hello there"}`, model), chunked: true},
			{path: "/v1/embeddings", body: fmt.Sprintf(`{"model":%q,"input":"hello there"}`, model)},
			{path: "/v1/messages", body: fmt.Sprintf(`{"model":%q,"max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{path: "/anthropic/v1/messages", body: fmt.Sprintf(`{"model":%q,"max_tokens":100,"messages":[{"role":"user","content":[{"type":"text","text":"hello there","cache_control":{"type":"ephemeral"}}]}]}`, model)},
			{path: "/v1beta/models/" + model + ":streamGenerateContent?alt=sse", body: `{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}`},
			{path: "/v1beta/models/" + model + ":streamGenerateContent", body: `{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}`},
			{path: "/gemini/v1/models/" + model + ":generateContent", body: `{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}`},
		}
	}
	large := strings.Repeat("x", 200<<10) // over the replay limit: streams through
	const limits = ",tokens=20,stall=50ms,interval=20us,size=50000"
	var broken []soakRequest
	for _, fault := range append(sim.FaultNames(), "400", "429", "500", "503", "529") {
		if strings.HasPrefix(fault, "early-") {
			broken = append(broken, soakRequest{path: "/v1/chat/completions", body: `{"stream":true,"x":"` + large + `"}`, fault: fault})
			continue
		}
		broken = append(broken, kinds("gpt-4o-mini@sim:fault="+fault+limits)...)
		broken = append(broken, soakRequest{path: "/v1/files", body: large, fault: fault + limits, chunked: true})
	}
	sound := append(kinds("gpt-4o-mini@sim:tokens=40,tpot=200us"),
		soakRequest{path: "/v1/files", body: large}, soakRequest{path: "/v1/echo", body: large, expect: true}, soakRequest{path: "/v1/echo", body: large, chunked: true})
	all := broken
	for len(all) < 3*len(broken) {
		all = append(all, sound...)
	}
	return all
}

// vitals are what must not grow while a server serves.
type vitals struct{ rss, goroutines, descriptors float64 } // RSS in bytes

// vitals looks at the process from outside, but for the goroutines.
func (c *child) vitals() vitals {
	c.t.Helper()
	v := vitals{goroutines: c.goroutines()}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	rest, _, _ = strings.Cut(rest, " kB")
	kb, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
	if err != nil {
		c.t.Fatalf("RSS in %s: %v", status, err)
	}
	v.rss = kb * 1024
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	v.descriptors = float64(len(files))
	return v
}

// goroutines is the number of goroutines without the idle ones that fasthttp keeps for ten seconds for the next connection.
func (c *child) goroutines() (n float64) {
	c.t.Helper()
	resp, err := http.Get(c.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("goroutines: status %d, %v", resp.StatusCode, err)
	}
	head, stacks, _ := strings.Cut(string(text), "\n")
	if _, err := fmt.Sscanf(head, "goroutine profile: total %g", &n); err != nil {
		c.t.Fatalf("goroutines: %q: %v", head, err)
	}
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		if strings.Contains(stack, "workerPool).workerFunc") && !strings.Contains(stack, "serveConn") {
			var parked float64
			if _, err := fmt.Sscan(stack, &parked); err != nil {
				c.t.Fatalf("goroutines: %q: %v", stack, err)
			}
			n -= parked
		}
	}
	return n
}

// TestSoak drives mixed load with random cancels and every fault of the simulator through a server process. After
// a third of the time, memory, goroutines and descriptors must stay flat; when it is over everything must be back where it
// was, and every request must have been counted and logged exactly once. SOAK sets the length. It does not run beside
// other tests: it takes all of the machine.
func TestSoak(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system has no /proc")
	}
	length := 5 * time.Second
	if s := os.Getenv("SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("SOAK=%q: %v", s, err)
		}
	}
	s := simulate(t, sim.Options{IdleTimeout: 300 * time.Millisecond})
	log := filepath.Join(t.TempDir(), "access.log")
	const defaults = "OPTIMIZER_PROVIDER_DEFAULTS__"
	c := startChild(t, s.url, "OPTIMIZER_ADMIN__PPROF=true", "OPTIMIZER_LOG__ACCESS="+log, "OPTIMIZER_LOG__COMPRESS=false", "OPTIMIZER_LOG__MAX_BACKUPS=0",
		"OPTIMIZER_SERVER__REPLAY_LIMIT=128KiB", defaults+"TIMEOUTS__FIRST_BYTE=400ms",
		defaults+"TIMEOUTS__IDLE=400ms", defaults+"TIMEOUTS__TOTAL=3s", defaults+"IDLE_TIMEOUT=1s", defaults+"MAX_IDLE=32")
	// From here on everything that lasts is there: the log's file, the connection to the admin service, fasthttp's clock.
	_ = post(t, c.proxy+"/v1/embeddings", `{"model":"m","input":"x"}`).Body.Close()
	eventually(t, "the log's file", 5*time.Second, func() bool { return linesIn(t, filepath.Dir(log)) == 1 })
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	c.metrics()
	start := c.vitals()

	l := &soakLoad{url: c.proxy, requests: soakRequests(), transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}}
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var workers sync.WaitGroup
	for range 24 {
		workers.Go(func() {
			for ctx.Err() == nil {
				l.one()
			}
		})
	}
	var samples []vitals
	for tick := time.NewTicker(length / 60); ctx.Err() == nil; <-tick.C {
		samples = append(samples, c.vitals())
	}
	workers.Wait()
	l.transport.CloseIdleConnections()
	flat(t, samples)

	eventually(t, "everything back where it was", 10*time.Second, func() bool {
		text := c.metrics()
		busy := sumOf(t, text, "llmopt_exchanges_in_flight") + sumOf(t, text, "llmopt_client_connections") + sumOf(t, text, "llmopt_upstream_connections")
		now := c.vitals()
		return busy == 0 && now.goroutines <= start.goroutines && now.descriptors <= start.descriptors
	})
	text := c.metrics()
	exchanges := sumOf(t, text, "llmopt_exchanges_total")
	st := s.Stats()
	t.Logf("%d requests, %d left early, %.0f exchanges, %.0f attempts, %d calls at the provider", l.sent.Load(), l.left.Load(), exchanges,
		sumOf(t, text, "llmopt_attempts_total"), st.Total())
	// Who leaves at once may do so before his request is read.
	if unread := float64(l.sent.Load()+1) - exchanges; unread < 0 || unread > float64(l.left.Load())/100 {
		t.Errorf("%.0f exchanges counted of %d requests sent; clients that neither left nor asked for a fault met %q", exchanges, l.sent.Load()+1, l.errors)
	}
	for _, name := range []string{"llmopt_rejected_requests_total", "llmopt_panics_total", "llmopt_access_log_errors_total"} {
		if n := sumOf(t, text, name); n != 0 {
			t.Errorf("%s: %.0f", name, n)
		}
	}
	if st.Malformed != 0 || len(st.Faults) < len(sim.FaultNames()) && length >= 5*time.Second {
		t.Errorf("the provider got %d malformed requests, and of all faults had %v", st.Malformed, st.Faults)
	}
	c.signal(syscall.SIGTERM)
	if err := c.ended(10 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v; %s", err, c.stderr)
	}
	if n := linesIn(t, filepath.Dir(log)); float64(n) != exchanges-sumOf(t, text, "llmopt_access_log_dropped_total") {
		t.Errorf("%d lines in the access log for %.0f exchanges", n, exchanges)
	}
}

// flat compares the second third of the samples with the last one, the first being the warm-up.
func flat(t *testing.T, samples []vitals) {
	t.Helper()
	third := len(samples) / 3
	if third < 3 {
		t.Fatalf("only %d samples", len(samples))
	}
	check := func(what string, unit, slack float64, of func(vitals) float64) {
		t.Helper()
		median := func(part []vitals) float64 {
			var values []float64
			for _, v := range part {
				values = append(values, of(v)/unit)
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		before, after := median(samples[third:2*third]), median(samples[2*third:])
		t.Logf("%s: %.0f, then %.0f", what, before, after)
		if after > before*1.2+slack {
			t.Errorf("%s grew from %.0f to %.0f", what, before, after)
		}
	}
	check("RSS (MB)", 1e6, 12, func(v vitals) float64 { return v.rss })
	check("goroutines", 1, 24, func(v vitals) float64 { return v.goroutines })
	check("descriptors", 1, 24, func(v vitals) float64 { return v.descriptors })
}

// linesIn counts the lines of all files of a folder.
func linesIn(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(text), "\n")
	}
	return n
}

// soakLoad sends requests and counts them. Its methods are safe for concurrent use.
type soakLoad struct {
	url        string
	transport  *http.Transport
	requests   []soakRequest
	sent, left atomic.Int64

	mu     sync.Mutex
	errors []string // of requests that should have been answered
}

// one makes one request of a random kind and reads its answer, or leaves somewhere on the way.
func (l *soakLoad) one() {
	if rand.IntN(50) == 0 {
		l.talk()
		return
	}
	r := l.requests[rand.IntN(len(l.requests))]
	ctx, leave := context.WithTimeout(context.Background(), 10*time.Second)
	defer leave()
	leaves := rand.IntN(4) == 0 && !r.expect
	if leaves {
		// Not before the request is out, nor while it is still to be asked for, so that every request is one that the server
		// must have seen.
		patience := time.Duration(rand.IntN(20_000)) * time.Microsecond
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
			l.left.Add(1)
			time.AfterFunc(patience, leave)
		}})
	}
	var body io.Reader = strings.NewReader(r.body)
	if r.chunked {
		body = io.MultiReader(body) // hides its length
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+r.path, body)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	req.Header = http.Header{"Authorization": {"Bearer key"}, "Content-Type": {"application/json"}}
	switch {
	case strings.Contains(r.path, "/models/"):
		req.Header.Set("X-Goog-Api-Key", "key")
	case strings.Contains(r.path, "/messages"):
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	if r.fault != "" {
		req.Header.Set("X-Sim", "fault="+r.fault)
	}
	if r.expect {
		req.Header.Set("Expect", "100-continue")
	}
	if rand.IntN(3) == 0 {
		req.Header.Set("Accept-Encoding", "gzip, br, zstd, deflate")
	}
	l.sent.Add(1)
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		if !leaves && r.fault == "" {
			l.met(err)
		}
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

func (l *soakLoad) met(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, err.Error())
}

// talk says a few words over a WebSocket and hangs up, more or less politely.
func (l *soakLoad) talk() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l.sent.Add(1)
	ws, _, err := websocket.Dial(ctx, l.url+"/v1/realtime?model=m", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: l.transport}, HTTPHeader: http.Header{"Authorization": {"Bearer key"}},
	})
	if err != nil {
		l.met(err)
		return
	}
	for range rand.IntN(5) {
		if err := ws.Write(ctx, websocket.MessageBinary, make([]byte, rand.IntN(10_000))); err != nil {
			break
		}
		if _, _, err := ws.Read(ctx); err != nil {
			break
		}
	}
	if rand.IntN(2) == 0 {
		_ = ws.CloseNow()
		return
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
}
