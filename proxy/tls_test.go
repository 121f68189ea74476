package proxy

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

func TestTLS_ProviderIsCheckedAndNamed(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %d", r.Host, r.TLS.ServerName, r.ProtoMajor)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the test
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(srv.URL, "https://")
	check := func(name string, settings config.TLS, wantStatus int, wantBody string) {
		t.Helper()
		c := testConfig(srv.URL)
		p := c.Providers["openai"]
		p.TLS = settings
		c.Providers["openai"] = p
		g := start(t, c)
		for range 2 { // the second on the kept connection
			resp, body := g.send(post("/v1/files", "x"))
			if resp.StatusCode != wantStatus || wantStatus == 200 && string(body) != wantBody {
				t.Errorf("%s: got %d %q, want %d %q", name, resp.StatusCode, body, wantStatus, wantBody)
			}
		}
		if line := g.lines(1)[0]; wantStatus != 200 && line["outcome"] != "connect" {
			t.Errorf("%s: log %v", name, line)
		}
	}
	check("trusted", config.TLS{CA: ca, ServerName: "example.com"}, 200, host+" example.com 1")
	check("not trusted", config.TLS{}, 502, "")
	check("wrong name", config.TLS{CA: ca, ServerName: "other.test"}, 502, "")
	check("not checked", config.TLS{Insecure: true, ServerName: "other.test"}, 200, host+" other.test 1")
}

func TestTLS_HandshakeThatHangsIsAConnectTimeout(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := testConfig("https://" + ln.Addr().String())
	p := c.Providers["openai"]
	p.Timeouts.Connect = 50 * time.Millisecond
	c.Providers["openai"] = p
	g := start(t, c)
	resp, body := g.send(post("/v1/chat/completions", "{}"))
	if resp.StatusCode != 504 || !strings.Contains(string(body), "upstream_connect_timeout") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

func TestTLS_ClientsMaySpeakIt(t *testing.T) {
	t.Parallel()
	url, _ := mirror(t)
	g, pool := startTLS(t, testConfig(url))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("https://"+g.addr+"/v1/files", "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "{}" || resp.ProtoMajor != 1 {
		t.Errorf("got %q over HTTP/%d, %v", body, resp.ProtoMajor, err)
	}
	if resp, err := http.Get("http://" + g.addr + "/v1/models"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == 200 {
			t.Error("plain HTTP was served where TLS is demanded")
		}
	}
}
