package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"llm-auto-optimizer/bench/sim"
)

// child is llmopt serve as a process of its own.
type child struct {
	t            testing.TB
	cmd          *exec.Cmd
	proxy, admin string
}

// binary builds llmopt once for all tests that need a process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "llmopt")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "llmopt")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// TestMain removes what binary built.
func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func startChild(t testing.TB, upstream string, environ ...string) *child {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return runChild(t, exec.Command(path, "serve"), upstream, environ...)
}

func runChild(t testing.TB, cmd *exec.Cmd, upstream string, environ ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: cmd}
	c.cmd.Env = append([]string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0", "OPTIMIZER_LOG__ACCESS=off",
		"OPTIMIZER_PROVIDERS__OPENAI__BASE_URL=" + upstream + "/v1",
		"OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL=" + upstream,
		"OPTIMIZER_PROVIDERS__GEMINI__BASE_URL=" + upstream,
	}, environ...)
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	var hello struct{ Proxy, Admin string }
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&hello); err != nil {
		t.Fatalf("first line: %v", err)
	}
	c.proxy, c.admin = hello.Proxy, hello.Admin
	return c
}

// metric is a sum over the series of a metric at this moment.
func (c *child) metric(names ...string) map[string]float64 {
	c.t.Helper()
	resp, err := http.Get(c.admin + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, name := range names {
		sums[name] = sumOf(c.t, string(text), name)
	}
	return sums
}

// soakRequest is one kind of request of the mixed load.
type soakRequest struct{ path, body string }

// soakRequests are plain and streamed requests of every dialect, with every fault of the simulator.
func soakRequests() []soakRequest {
	kinds := func(model string) []soakRequest {
		return []soakRequest{
			{"/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{"/v1/chat/completions", fmt.Sprintf(`{"model":%q,"stream":true,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{"/v1/responses", fmt.Sprintf(`{"model":%q,"stream":true,"input":"hello there"}`, model)},
			{"/v1/embeddings", fmt.Sprintf(`{"model":%q,"input":"hello there"}`, model)},
			{"/v1/messages", fmt.Sprintf(`{"model":%q,"max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{"/v1/messages", fmt.Sprintf(`{"model":%q,"max_tokens":100,"messages":[{"role":"user","content":"hello there"}]}`, model)},
			{"/v1beta/models/" + model + ":streamGenerateContent?alt=sse", `{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}`},
			{"/v1beta/models/" + model + ":generateContent", `{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}`},
			{"/v1/files", strings.Repeat("x", 200<<10)},
		}
	}
	all := kinds("gpt-4o-mini@sim:tokens=40,tpot=200us")
	for range 3 {
		all = append(all, all[:9]...) // sound requests are the greater part
	}
	for _, fault := range sim.FaultNames() {
		all = append(all, kinds("gpt-4o-mini@sim:tokens=20,stall=50ms,interval=1ms,size=100000,fault="+fault)...)
	}
	for _, status := range []string{"429", "500", "503", "529", "400"} {
		all = append(all, kinds("gpt-4o-mini@sim:fault="+status)...)
	}
	return all
}

// TestSoak drives mixed load with random cancels and every fault through a server process. When it is over, and between
// its middle and its end, memory, goroutines, descriptors and connections must have stayed flat. SOAK sets its length.
func TestSoak(t *testing.T) {
	length := 5 * time.Second
	if s := os.Getenv("SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("SOAK=%q: %v", s, err)
		}
	}
	s := simulate(t, sim.Options{IdleTimeout: 300 * time.Millisecond})
	c := startChild(t, s.url, "OPTIMIZER_PROVIDER_DEFAULTS__TIMEOUTS__FIRST_BYTE=400ms", "OPTIMIZER_PROVIDER_DEFAULTS__TIMEOUTS__IDLE=400ms",
		"OPTIMIZER_PROVIDER_DEFAULTS__TIMEOUTS__TOTAL=3s", "OPTIMIZER_SERVER__REPLAY_LIMIT=128KiB")
	gauges := []string{"process_resident_memory_bytes", "go_goroutines", "process_open_fds", "go_memstats_heap_inuse_bytes"}
	atRest := c.metric(gauges...)

	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	requests := soakRequests()
	transport := &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}
	var sent, left atomic.Int64
	var workers sync.WaitGroup
	for range 24 {
		workers.Go(func() {
			for ctx.Err() == nil {
				sent.Add(1)
				if soakOne(c.proxy, transport, requests[rand.IntN(len(requests))]) {
					left.Add(1)
				}
			}
		})
	}
	time.Sleep(length / 3) //nolint:forbidigo // the length of the warm-up is the point
	middle := c.metric(gauges...)
	workers.Wait()
	end := c.metric(gauges...)
	transport.CloseIdleConnections()

	t.Logf("%d requests, %d left early; RSS MB at rest %.0f, middle %.0f, end %.0f; goroutines %.0f, %.0f, %.0f", sent.Load(), left.Load(),
		atRest[gauges[0]]/1e6, middle[gauges[0]]/1e6, end[gauges[0]]/1e6, atRest[gauges[1]], middle[gauges[1]], end[gauges[1]])
	if limit := middle[gauges[0]]*1.25 + 24e6; end[gauges[0]] > limit {
		t.Errorf("RSS grew from %.0f to %.0f MB between a third and the end", middle[gauges[0]]/1e6, end[gauges[0]]/1e6)
	}
	for _, g := range gauges[1:3] {
		if end[g] > 2*middle[g]+64 {
			t.Errorf("%s grew from %.0f to %.0f", g, middle[g], end[g])
		}
	}
	eventually(t, "everything back where it was", 30*time.Second, func() bool {
		now := c.metric("llmopt_exchanges_in_flight", "llmopt_client_connections", `llmopt_upstream_connections{provider="openai",state="used"}`,
			`llmopt_upstream_connections{provider="anthropic",state="used"}`, `llmopt_upstream_connections{provider="gemini",state="used"}`)
		for _, n := range now {
			if n != 0 {
				return false
			}
		}
		g := c.metric(gauges...)
		return g[gauges[1]] <= atRest[gauges[1]]+8 && g[gauges[2]] <= atRest[gauges[2]]+8+s.open()
	})
	const unreadable = `llmopt_rejected_requests_total{reason="bad_request"}`
	counted := c.metric("llmopt_exchanges_total", unreadable, "llmopt_panics_total")
	if n := counted["llmopt_exchanges_total"]; n > float64(sent.Load()) || n < 0.95*float64(sent.Load()) {
		t.Errorf("exchanges counted: %.0f of %d sent (some are given up before they arrive)", n, sent.Load())
	}
	if counted["llmopt_panics_total"] != 0 || counted[unreadable] != 0 {
		t.Errorf("panics %.0f, unreadable requests %.0f", counted["llmopt_panics_total"], counted[unreadable])
	}
	if m := s.Stats().Malformed; m != 0 {
		t.Errorf("the provider got %d malformed requests", m)
	}
}

// open is the number of connections to the simulator.
func (s *simulated) open() float64 { return float64(s.Stats().Open) }

// soakOne sends a request and reads the answer, or leaves somewhere on the way.
func soakOne(url string, transport *http.Transport, r soakRequest) (left bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if left = rand.IntN(4) == 0; left {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(20_000))*time.Microsecond)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+r.path, strings.NewReader(r.body))
	if err != nil {
		panic(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer k"}, "X-Api-Key": {"k"}, "X-Goog-Api-Key": {"k"}, "Content-Type": {"application/json"}}
	switch {
	case strings.HasPrefix(r.path, "/v1beta"):
		req.Header.Del("Authorization")
	case strings.HasPrefix(r.path, "/v1/messages"):
		req.Header.Del("X-Goog-Api-Key")
		req.Header.Set("Anthropic-Version", "2023-06-01")
	default:
		req.Header.Del("X-Goog-Api-Key")
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return left
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return left
}

// A server that is killed leaves nothing behind that keeps the next one from taking its place.
func TestCrash_NextServerTakesItsPlace(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	first := startChild(t, s.url)
	req, err := http.NewRequest(http.MethodPost, first.proxy+"/v1/chat/completions",
		strings.NewReader(`{"model":"gpt-4o@sim:tokens=1000,tpot=20ms","stream":true,"messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k")
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait()
	if text, err := io.ReadAll(stream.Body); err == nil {
		t.Errorf("the stream of a killed server looked whole: %q", text)
	}
	eventually(t, "the provider is stopped", 5*time.Second, func() bool { return s.Stats().InFlight == 0 })
	second := startChild(t, s.url, "OPTIMIZER_SERVER__LISTEN="+strings.TrimPrefix(first.proxy, "http://"), "OPTIMIZER_ADMIN__LISTEN="+strings.TrimPrefix(first.admin, "http://"))
	resp, err := http.Get(second.proxy + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 401 { // the simulator wants a key: the request got through
		t.Errorf("after the restart: status %d", resp.StatusCode)
	}
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// A full disk under the access log costs log lines, not requests.
func TestDiskFull_RequestsGoOn(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url, "OPTIMIZER_LOG__ACCESS=/dev/full")
	for range 50 {
		resp, err := http.Get(c.proxy + "/v1/models")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	eventually(t, "write errors are counted", 5*time.Second, func() bool {
		return c.metric("llmopt_access_log_errors_total")["llmopt_access_log_errors_total"] > 0
	})
}

// A server without descriptors left goes on as soon as there are some again.
func TestDescriptors_RunningOutIsWaitedOut(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := simulate(t, sim.Options{})
	c := runChild(t, exec.Command("sh", "-c", "ulimit -n 48; exec "+path+" serve"), s.url)
	addr := strings.TrimPrefix(c.proxy, "http://")
	var held []net.Conn
	for range 80 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Close()
	}
	eventually(t, "requests are served again", 10*time.Second, func() bool {
		resp, err := http.Get(c.proxy + "/v1/models")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 401
	})
	if n := c.metric("llmopt_accept_errors_total")["llmopt_accept_errors_total"]; n == 0 {
		t.Error("descriptors did not run out: the test has not tested")
	}
}

func TestE2E_WebSocketPassesAsWithoutTheGateway(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url)
	talk := func(base string) (said []string, protocol string, status websocket.StatusCode) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(ctx, base+"/v1/realtime?model=gpt-4o-realtime", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer k"}}, Subprotocols: []string{"realtime"},
		})
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		defer func() { _ = c.CloseNow() }()
		for _, text := range []string{`{"type":"echo","n":1}`, strings.Repeat("long ", 10_000)} {
			if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
				t.Fatalf("%s: %v", base, err)
			}
			_, got, err := c.Read(ctx)
			if err != nil {
				t.Fatalf("%s: %v", base, err)
			}
			said = append(said, fmt.Sprintf("%d bytes: %.40s", len(got), got))
		}
		protocol = c.Subprotocol()
		err = c.Close(websocket.StatusNormalClosure, "bye")
		return said, protocol, websocket.CloseStatus(err)
	}
	said, protocol, status := talk(s.url)
	viaSaid, viaProtocol, viaStatus := talk(g.url)
	if fmt.Sprint(said) != fmt.Sprint(viaSaid) || protocol != viaProtocol || status != viaStatus {
		t.Errorf("through the gateway %q, %q, %v; directly %q, %q, %v", viaSaid, viaProtocol, viaStatus, said, protocol, status)
	}

	// Either side may vanish.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, g.url+"/v1/realtime?model=m", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer k"}}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session at the provider", 5*time.Second, func() bool { return s.Stats().Open > 0 })
	_ = c.CloseNow()
	eventually(t, "the provider's end closed", 5*time.Second, func() bool { return s.Stats().Open == 0 })
}
