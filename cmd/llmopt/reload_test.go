package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// settingsFile is a file of settings that a test changes while the server runs.
type settingsFile struct {
	t    *testing.T
	path string
}

func newSettingsFile(t *testing.T, text string) *settingsFile {
	f := &settingsFile{t, filepath.Join(t.TempDir(), "llmopt.toml")}
	f.replace(text)
	return f
}

// replace renames a new file over the old one, as editors and deployments do.
func (f *settingsFile) replace(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path+".new", []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		f.t.Fatal(err)
	}
}

// start runs llmopt serve with the file as a process of its own.
func (f *settingsFile) start(environ ...string) *child {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	return runBare(f.t, exec.Command(path, "serve", "--config", f.path), append([]string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0", "OPTIMIZER_LOG__ACCESS=off",
	}, environ...))
}

// metric is the sum of a metric's series.
func (c *child) metric(name string) float64 { return sumOf(c.t, c.metrics(), name) }

func providerAt(url string) string {
	return fmt.Sprintf("[providers.openai]\nbase_url = \"%s/v1\"\n", url)
}

const chatBody = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":%t}`

// chat sends a request and returns why it failed, if it did.
func chat(client *http.Client, base string, stream bool) error {
	r, err := http.NewRequest(http.MethodPost, base+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(chatBody, stream)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer sk-test")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != 200:
		return fmt.Errorf("status %d: %s", resp.StatusCode, text)
	case stream && !strings.HasSuffix(string(text), "data: [DONE]\n\n"):
		return fmt.Errorf("stream is cut: %q", text)
	}
	return nil
}

// Two hundred reloads under load, each with other settings: providers move, come and go, limits and flags change. No request
// fails.
func TestReload_NoRequestFails(t *testing.T) {
	t.Parallel()
	const reloads, workers = 200, 6
	here, there := simulate(t, sim.Options{}), simulate(t, sim.Options{})
	settings := func(i int) string {
		url := here.url
		if i%2 == 1 {
			url = there.url
		}
		text := providerAt(url) + fmt.Sprintf("[providers.openai.timeouts]\ntotal = \"%ds\"\n", 60+i)
		text += fmt.Sprintf("[flags.request_usage]\npercent = %d\n[server]\nmax_body = \"%dKiB\"\n", i%101, 64+i)
		if i%3 == 0 {
			text += "[providers.other]\nbase_url = \"" + here.url + "\"\n"
		}
		return text
	}
	f := newSettingsFile(t, settings(0))
	c := f.start()

	var done atomic.Bool
	var sent atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for i := w; !done.Load(); i++ {
				if err := chat(client, c.proxy, i%2 == 0); err != nil {
					t.Errorf("request %d of worker %d: %v", i, w, err)
					return
				}
				sent.Add(1)
				pause() // other tests run beside this one
			}
		})
	}
	for i := 1; i <= reloads; i++ {
		f.replace(settings(i))
		before := c.metric("llmopt_config_reloads_total")
		c.signal(syscall.SIGHUP)
		eventually(t, "reloaded", 10*time.Second, func() bool { return c.metric("llmopt_config_reloads_total") > before })
	}
	done.Store(true)
	wg.Wait()
	if n := c.metric("llmopt_config_reload_errors_total"); n != 0 {
		t.Errorf("%v reloads refused: %s", n, c.stderr)
	}
	if n := sent.Load(); n < reloads {
		t.Errorf("only %d requests were under way", n)
	}
	eventually(t, "nothing in flight", 10*time.Second, func() bool { return c.metric("llmopt_exchanges_in_flight") == 0 })
	t.Logf("%d requests during %d reloads", sent.Load(), reloads)
}

// What is wrong with a file is said with its place; the settings in force stay, and the mended file is taken.
func TestReload_BadFileChangesNothing(t *testing.T) {
	t.Parallel()
	up := simulate(t, sim.Options{})
	f := newSettingsFile(t, providerAt(up.url))
	c := f.start()
	f.replace("[server]\nmax_bdy = \"1MiB\"\nwrite_timeout = \"1\"\n" + providerAt("nowhere"))
	eventually(t, "refused", 10*time.Second, func() bool { return c.metric("llmopt_config_refused") == 1 })
	for _, want := range []string{":2: server.max_bdy: unknown key, did you mean server.max_body?", ":3: server.write_timeout", ":5: providers.openai.base_url"} {
		eventually(t, "the log says "+want, 10*time.Second, func() bool { return strings.Contains(c.stderr.String(), f.path+want) }) // it comes through a pipe
	}
	if err := chat(http.DefaultClient, c.proxy, false); err != nil {
		t.Errorf("while the file is bad: %v", err)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "missing file noticed", 10*time.Second, func() bool { return c.metric("llmopt_config_reload_errors_total") == 2 })
	f.replace(providerAt(up.url) + "[server]\nlisten = \"127.0.0.1:1\"\nresponse_headers = false\n")
	eventually(t, "mended", 10*time.Second, func() bool { return c.metric("llmopt_config_refused") == 0 })
	resp, err := http.Get(c.proxy + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if id := resp.Header.Get("x-llmopt-id"); id != "" {
		t.Errorf("response_headers = false was not taken: %s", id)
	}
}

// What can't change while the server runs is said; the rest of the file is taken.
func TestReload_SaysWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	up := simulate(t, sim.Options{})
	f := newSettingsFile(t, providerAt(up.url))
	c := f.start()
	f.replace(providerAt(up.url) + "[server]\nmax_connections = 7\n[windows]\nmax_series = 9\n[log]\nlevel = \"debug\"\n")
	eventually(t, "reloaded", 10*time.Second, func() bool { return c.metric("llmopt_config_reloads_total") == 1 })
	if n := c.metric("llmopt_config_pending_restart"); n != 2 {
		t.Errorf("keys that wait for a restart: %v, want 2", n)
	}
	eventually(t, "the log names the keys", 10*time.Second, func() bool {
		return strings.Contains(c.stderr.String(), `["server.max_connections","windows.max_series"]`)
	})
	f.replace(providerAt(up.url))
	eventually(t, "taken back", 10*time.Second, func() bool { return c.metric("llmopt_config_pending_restart") == 0 })
}

// A secret and a certificate are files that settings name; their change is one too.
func TestReload_SecretsAndCertificates(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	defer up.Close()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("key", "first")
	first, second := selfSigned(t), selfSigned(t)
	write("cert.pem", first.cert)
	write("key.pem", first.key)
	f := newSettingsFile(t, providerAt(up.URL)+fmt.Sprintf("api_key = \"file:%s\"\n[server]\ntls_cert = %q\ntls_key = %q\n", at("key"), at("cert.pem"), at("key.pem")))
	c := f.start()
	ask := func(with identity) (key string) {
		t.Helper()
		client := with.client()
		defer client.CloseIdleConnections()
		if err := chat(client, c.proxy, false); err != nil {
			t.Fatal(err)
		}
		return seen.Load().(string) //nolint:forcetypeassert // as stored
	}
	if got := ask(first); got != "Bearer first" {
		t.Errorf("at first: %q", got)
	}
	write("key", "second")
	eventually(t, "key taken", 10*time.Second, func() bool { return c.metric("llmopt_config_reloads_total") == 1 })
	if got := ask(first); got != "Bearer second" {
		t.Errorf("after the change: %q", got)
	}
	write("cert.pem", second.cert) // no pair with the key: refused until that has come too
	write("key.pem", second.key)
	eventually(t, "certificate taken", 10*time.Second, func() bool {
		return c.metric("llmopt_config_reloads_total") == 2 && c.metric("llmopt_config_refused") == 0
	})
	ask(second)
	if log := c.stderr.String(); strings.Contains(log, "second") {
		t.Errorf("the log shows a secret: %s", log)
	}
}

// identity is a certificate for 127.0.0.1 and its key, in PEM.
type identity struct {
	cert, key string
	pool      *x509.CertPool
}

func selfSigned(t *testing.T) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := identity{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})),
		pool: x509.NewCertPool(),
	}
	c.pool.AppendCertsFromPEM([]byte(c.cert))
	return c
}

// client trusts the certificate alone.
func (c identity) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pool}}, Timeout: 10 * time.Second}
}
