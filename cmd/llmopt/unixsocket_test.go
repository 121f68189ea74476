package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// overSocket is a client that reaches a server by its Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

// The Unix socket serves as the TCP listener does, also after a kill -9 that has left it behind; a client that leaves stops its
// provider; nobody's else file is touched.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	dir, err := os.MkdirTemp("", "llmopt") // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "proxy.sock")
	environ := "OPTIMIZER_SERVER__UNIX_SOCKET=" + path
	c := startChild(t, s.url, environ)
	ask := func() {
		t.Helper()
		client := overSocket(path)
		defer client.CloseIdleConnections()
		for i := range 4 {
			if err := chat(client, "http://llmopt", i%2 == 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask()
	if err := chat(http.DefaultClient, c.proxy, false); err != nil {
		t.Errorf("over TCP: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("mode: %v, %v", info, err)
	}

	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://llmopt/v1/chat/completions",
		strings.NewReader(`{"model":"gpt-4o@sim:tokens=1000,tpot=50ms","stream":true,"messages":[{"role":"user","content":"x"}]}`))
	req.Header.Set("Authorization", "Bearer key")
	resp, err := overSocket(path).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = resp.Body.Read(make([]byte, 1))
	leave()
	resp.Body.Close()
	eventually(t, "the provider is stopped", 5*time.Second, func() bool { return s.Stats().InFlight == 0 })

	out := newCapture()
	if code := run(t.Context(), []string{"serve"}, []string{"OPTIMIZER_ENV=test", environ}, out, out); code != 1 || !strings.Contains(out.String(), "another process listens on") {
		t.Errorf("a second server: status %d, %s", code, out)
	}
	ask() // the first one is not disturbed

	c.signal(syscall.SIGKILL)
	_ = c.ended(5 * time.Second)
	c = startChild(t, s.url, environ)
	ask()
	c.signal(syscall.SIGTERM)
	if err := c.ended(10 * time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left behind")
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"serve"}, []string{"OPTIMIZER_ENV=test", environ}, out, out); code != 1 || !strings.Contains(out.String(), "no socket") {
		t.Errorf("a file in the way: status %d, %s", code, out)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Error("the file was touched")
	}
}
