package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// The admin service over TLS: who has no certificate of the right kind gets nothing, the commands do with theirs, and a renewed
// certificate is taken over.
func TestAdmin_TLSAndClientCertificates(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server, renewed, client, stranger := selfSigned(t), selfSigned(t), selfSigned(t), selfSigned(t)
	for name, id := range map[string]identity{"server": server, "client": client, "stranger": stranger} {
		write(name+".pem", id.cert)
		write(name+".key", id.key)
	}
	environ := []string{
		"OPTIMIZER_ADMIN__TLS_CERT=" + at("server.pem"), "OPTIMIZER_ADMIN__TLS_KEY=" + at("server.key"), "OPTIMIZER_ADMIN__CLIENT_CA=" + at("client.pem"),
	}
	g := &served{t: t, stdout: newCapture(), stderr: newCapture()}
	ended := make(chan int)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		ended <- run(ctx, []string{"serve"}, append([]string{
			"OPTIMIZER_ENV=test", "OPTIMIZER_LOG__LEVEL=info", "OPTIMIZER_PROVIDERS__OPENAI__BASE_URL=" + s.url + "/v1",
		}, environ...), g.stdout, g.stderr)
	}()
	<-g.stdout.line
	admin := between(g.stdout.String(), `"admin":"`, `"`)
	if !strings.HasPrefix(admin, "https://") {
		t.Fatalf("admin at %q", admin)
	}

	status := func(args ...string) (int, string) {
		out := newCapture()
		code := run(t.Context(), append([]string{"status", "--admin", admin}, args...), environ, out, out)
		return code, out.String()
	}
	mine := []string{"--cert", at("client.pem"), "--key", at("client.key")}
	check := func(want int, text string, args ...string) {
		t.Helper()
		if code, got := status(args...); code != want || !strings.Contains(got, text) {
			t.Errorf("%v: status %d, %s; want %d and %q", args, code, got, want, text)
		}
	}
	check(0, "ready", mine...) // trusts the certificate that the environment names
	check(0, "ready", append(mine, "--ca", at("server.pem"))...)
	check(0, "ok", append(mine, "--health")...)
	refused := func(args ...string) {
		t.Helper()
		code, got := status(args...)
		// The server's alert comes before the request is written, or what is written meets its closing.
		for _, text := range []string{"certificate", "closed network connection", "broken pipe", "connection reset"} {
			if code == 1 && strings.Contains(got, text) {
				return
			}
		}
		t.Errorf("%v: status %d, %s; want it refused", args, code, got)
	}
	refused()
	refused("--cert", at("stranger.pem"), "--key", at("stranger.key"))
	check(1, "certificate", append(mine, "--ca", at("stranger.pem"))...)
	check(2, "--cert and --key go together", "--cert", at("client.pem"))
	check(2, "--ca", "--ca", at("client.key"))
	if resp, err := http.Get("http" + strings.TrimPrefix(admin, "https") + "/healthz"); err == nil {
		if resp.Body.Close(); resp.StatusCode == 200 {
			t.Error("plain HTTP is answered")
		}
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.pool, MaxVersion: tls.VersionTLS11}}} //nolint:gosec // on purpose
	if resp, err := old.Get(admin + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.1 is spoken")
	}

	write("server.key", renewed.key)
	write("server.pem", renewed.cert)
	eventually(t, "the renewed certificate is shown", 20*time.Second, func() bool {
		code, _ := status(append(mine, "--ca", at("server.pem"))...)
		return code == 0
	})
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("ended with %d: %s", code, g.stderr)
	}
}

// between is what stands between two marks.
func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}
