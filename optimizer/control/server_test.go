package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// noon is in the middle of no slot, so that spans are easy to predict.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testOptions are those of a server that is up and has seen nothing.
func testOptions() Options {
	return Options{
		Version:   Version{Version: "v1.2.3", Commit: "abc", Date: "2026-03-01T00:00:00Z", Go: "go1.26"},
		ProxyURL:  "http://127.0.0.1:8080",
		AdminURL:  "http://127.0.0.1:8081",
		Providers: func() map[string]config.Provider { return nil },
		Policy:    policy.NewHolder(policy.Snapshot{}),
		Windows:   window.NewRecorder(100),
		Log:       zerolog.Nop(),
		Now:       func() time.Time { return noon },
	}
}

// serve runs the service on a free loopback port until the test ends, and returns its base URL.
func serve(t *testing.T, o Options) (string, *Server) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + ln.Addr().String(), s
}

// client is an HTTP client whose connections end with the test. With h2 it speaks HTTP/2 without TLS, as gRPC does.
func client(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// ask sends one request; header holds name and value in turns, and "Host" sets the host.
func ask(t *testing.T, method, url, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got), resp.Header
}

func TestServer_PlainEndpoints(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	set.NewCounter("llmopt_test_total").Add(7)
	o := testOptions()
	o.Metrics = []*metrics.Set{set}
	base, _ := serve(t, o)
	check := func(method, path string, status int, wants ...string) {
		t.Helper()
		got, body, _ := ask(t, method, base+path, "")
		if got != status {
			t.Errorf("%s %s: got status %d, want %d: %s", method, path, got, status, body)
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s %s: got %q, want it to contain %q", method, path, body, want)
			}
		}
	}
	check("GET", "/", 200, "v1.2.3", "/metrics", "/readyz")
	check("GET", "/healthz", 200, "ok")
	check("GET", "/readyz", 200, "ready")
	check("GET", "/metrics", 200, "llmopt_test_total 7\n", `llmopt_build_info{version="v1.2.3",commit="abc",go="go1.26"} 1`,
		"llmopt_policy_version 1\n", "process_cpu_seconds_total", "go_goroutines")
	check("GET", "/nothing", 404)
	check("GET", "/debug/pprof/", 404)
	check("POST", "/metrics", 405)
	check("DELETE", "/healthz", 405)
	check("HEAD", "/metrics", 200)

	_, body, header := ask(t, "GET", base+"/version", "")
	var v Version
	if err := json.Unmarshal([]byte(body), &v); err != nil || v != o.Version {
		t.Errorf("/version: got %q (%v), want %+v", body, err, o.Version)
	}
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("/version: got content type %q", got)
	}
}

func TestServer_PprofBehindItsSwitch(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Pprof = true
	base, _ := serve(t, o)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if status, body, _ := ask(t, "GET", base+path, ""); status != 200 {
			t.Errorf("%s: got status %d: %s", path, status, body)
		}
	}
}

func TestServer_ReadyzSaysWhyNot(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	o := testOptions()
	o.Ready = func() error {
		if down.Load() {
			return errors.New("shutting down")
		}
		return nil
	}
	base, _ := serve(t, o)
	if status, _, _ := ask(t, "GET", base+"/readyz", ""); status != 200 {
		t.Errorf("ready: got status %d", status)
	}
	down.Store(true)
	if status, body, _ := ask(t, "GET", base+"/readyz", ""); status != 503 || body != "not ready: shutting down\n" {
		t.Errorf("not ready: got %d %q", status, body)
	}
	if status, _, _ := ask(t, "GET", base+"/healthz", ""); status != 200 {
		t.Errorf("alive though not ready: got status %d", status)
	}
	got, err := controlpb.NewAdminClient(client(t, false), base).GetStatus(t.Context(), &controlpb.GetStatusRequest{})
	if err != nil || got.GetReady() || got.GetNotReady() != "shutting down" {
		t.Errorf("status: got %v, %v", got, err)
	}
}

func TestServer_TokenGuardsEverythingButHealth(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Token = config.NewSecret("s3cret")
	o.Pprof = true
	base, _ := serve(t, o)
	const call = "/llmopt.control.v1.Admin/GetVersion"
	check := func(method, path string, want int, header ...string) {
		t.Helper()
		status, body, got := ask(t, method, base+path, "{}", append(header, "Content-Type", "application/json")...)
		if status != want {
			t.Errorf("%s %s %v: got status %d, want %d: %s", method, path, header, status, want, body)
		}
		if status == 401 && got.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s: 401 without a challenge", method, path)
		}
		if strings.Contains(body, "s3cret") {
			t.Errorf("%s %s: the answer shows the token", method, path)
		}
	}
	for _, path := range []string{"/", "/metrics", "/version", "/debug/pprof/", "/nothing"} {
		check("GET", path, 401)
	}
	check("GET", "/healthz", 200)
	check("GET", "/readyz", 200)
	check("GET", "/metrics", 200, "Authorization", "Bearer s3cret")
	check("GET", "/metrics", 200, "Authorization", "bearer s3cret")
	check("GET", "/metrics", 401, "Authorization", "Bearer s3cre")
	check("GET", "/metrics", 401, "Authorization", "Bearer s3cret2")
	check("GET", "/metrics", 401, "Authorization", "Bearer ")
	check("GET", "/metrics", 401, "Authorization", "Basic s3cret")
	check("GET", "/metrics", 401, "Authorization", "s3cret")
	check("POST", call, 401)
	check("POST", call, 200, "Authorization", "Bearer s3cret")
	check("GET", "/metrics", 200, "Authorization", "Bearer s3cret", "Host", "metrics.example.com")
}

func TestServer_ForeignHostsAreRefusedWithoutToken(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Host = "Gateway.internal"
	base, _ := serve(t, o)
	check := func(host string, want int) {
		t.Helper()
		for _, path := range []string{"/metrics", "/llmopt.control.v1.Admin/GetVersion?encoding=json&message=%7B%7D&connect=v1"} {
			if status, body, _ := ask(t, "GET", base+path, "", "Host", host); status != want {
				t.Errorf("host %q %s: got status %d, want %d: %s", host, path, status, want, body)
			}
		}
		if status, _, _ := ask(t, "GET", base+"/healthz", "", "Host", host); status != 200 {
			t.Errorf("host %q /healthz: got status %d", host, status)
		}
	}
	check("localhost", 200)
	check("LocalHost:8081", 200)
	check("localhost.", 200)
	check("admin.localhost:1", 200)
	check("127.0.0.1", 200)
	check("127.8.8.8:8081", 200)
	check("[::1]:8081", 200)
	check("[::1]", 200)
	check("[::ffff:127.0.0.1]:8081", 200)
	check("gateway.internal:8081", 200)
	check("evil.example", 403)
	check("127.0.0.1.evil.example:8081", 403)
	check("localhost.evil.example", 403)
	check("notlocalhost", 403)
	check("10.0.0.1:8081", 403)
}

func TestServer_CrossOriginCallsAreRefused(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, testOptions())
	const call = "/llmopt.control.v1.Admin/GetVersion"
	json := []string{"Content-Type", "application/json"}
	if status, body, _ := ask(t, "POST", base+call, "{}", append(json, "Sec-Fetch-Site", "cross-site")...); status != 403 {
		t.Errorf("cross-site: got status %d: %s", status, body)
	}
	if status, body, _ := ask(t, "POST", base+call, "{}", append(json, "Sec-Fetch-Site", "same-origin")...); status != 200 {
		t.Errorf("same origin: got status %d: %s", status, body)
	}
}

func TestServer_PanicCostsOneRequest(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.Mode = func() optimizer.Mode { panic("boom") }
	o.Ready = func() error { panic("boom") }
	base, _ := serve(t, o)
	if status, body, _ := ask(t, "GET", base+"/readyz", ""); status != 500 || strings.Contains(body, "boom") {
		t.Errorf("plain: got %d %q", status, body)
	}
	for name, opts := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpc-web": {connect.WithGRPCWeb()}} {
		_, err := controlpb.NewAdminClient(client(t, name == "grpc"), base, opts...).GetStatus(t.Context(), &controlpb.GetStatusRequest{})
		if connect.CodeOf(err) != connect.CodeInternal {
			t.Errorf("%s: got %v, want an internal error", name, err)
		}
	}
	if status, _, _ := ask(t, "GET", base+"/healthz", ""); status != 200 {
		t.Errorf("after panics: got status %d", status)
	}
}

func TestServer_ShutdownWaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	o := testOptions()
	o.Ready = func() error { close(entered); <-leave; return nil }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	served, down, answered := make(chan error, 1), make(chan error, 1), make(chan int, 1)
	go func() { served <- s.Serve(ln, nil) }()
	go func() {
		resp, err := client(t, false).Get("http://" + ln.Addr().String() + "/readyz")
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-entered
	go func() { down <- s.Shutdown(t.Context()) }()
	if err := <-served; err != nil { // the shutdown has begun
		t.Errorf("serve: %v", err)
	}
	select {
	case err := <-down:
		t.Fatalf("shutdown returned with a request in flight: %v", err)
	default:
	}
	close(leave)
	if status := <-answered; status != 200 {
		t.Errorf("the request in flight: got status %d", status)
	}
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestServer_ShutdownCutsOffWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	o := testOptions()
	o.Ready = func() error { close(entered); <-leave; return nil }
	base, s := serve(t, o)
	failed := make(chan error, 1)
	go func() {
		resp, err := client(t, false).Get(base + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: got %v, want the context's error", err)
	}
	if err := <-failed; err == nil {
		t.Error("the request in flight was answered")
	}
	close(leave)
}

func TestServer_HandlerServesWithoutListener(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	New(testOptions()).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/healthz", http.NoBody))
	if w.Code != 200 {
		t.Errorf("got status %d", w.Code)
	}
}
