package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// builtIn is the folder that binary made; empty when no test has needed one.
var builtIn string

// binary is llmopt for all tests that need a process of its own: the test binary, which TestMain makes one. Under the race detector that would be slow and
// large, and one is built without it.
var binary = sync.OnceValues(func() (string, error) {
	if !raceEnabled {
		return os.Executable()
	}
	dir, err := os.MkdirTemp("", "llmopt")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "llmopt")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// TestMain removes what binary built. A test binary that is begun with a command is llmopt: servers begin it as their engine. Garbage is collected less often than
// by default, and far less often than a server has it done, which in the test binary was a third of all work; processes of their own do it as users' do.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercentOfTests)
		if err := os.Setenv("GOGC", strconv.Itoa(gcPercentOfTests)); err != nil { // else a server in this process sets it
			panic(err)
		}
	}
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// gcPercentOfTests is how much garbage may be beside what lives while tests run, in percent.
const gcPercentOfTests = 400

// child is llmopt serve as a process of its own.
type child struct {
	t            testing.TB
	cmd          *exec.Cmd
	proxy, admin string
	stderr       *capture
	exited       chan struct{} // closed when the process has ended; its error is in failed
	failed       error
}

// startChild runs llmopt serve with its providers at upstream until the test ends, at the latest.
func startChild(t testing.TB, upstream string, environ ...string) *child {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return runChild(t, exec.Command(path, "serve"), upstream, environ...)
}

// runChild is startChild for a command that ends in llmopt serve.
func runChild(t testing.TB, cmd *exec.Cmd, upstream string, environ ...string) *child {
	t.Helper()
	return runBare(t, cmd, append([]string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0", "OPTIMIZER_LOG__ACCESS=off",
		"OPTIMIZER_PROVIDERS__OPENAI__BASE_URL=" + upstream + "/v1",
		"OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL=" + upstream,
		"OPTIMIZER_PROVIDERS__GEMINI__BASE_URL=" + upstream,
	}, environ...))
}

// runBare runs a command that ends in llmopt serve in the given environment.
func runBare(t testing.TB, cmd *exec.Cmd, environ []string) *child {
	t.Helper()
	c := &child{t: t, cmd: cmd, stderr: newCapture(), exited: make(chan struct{})}
	c.cmd.Stderr = c.stderr
	c.cmd.Env = append([]string{"OPTIMIZER_STORAGE__DIR="}, environ...)
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var hello struct{ Proxy, Admin string }
	err = json.NewDecoder(bufio.NewReader(stdout)).Decode(&hello)
	go func() {
		c.failed = c.cmd.Wait()
		close(c.exited)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.exited
		if log := c.stderr.String(); strings.Contains(log, "panic") {
			t.Errorf("the process says %s", log)
		}
	})
	if err != nil {
		t.Fatalf("first line: %v; %s", err, c.stderr)
	}
	c.proxy, c.admin = hello.Proxy, hello.Admin
	return c
}

// signal sends a signal.
func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// ended waits for the process to end and returns what it ended with.
func (c *child) ended(within time.Duration) error {
	c.t.Helper()
	select {
	case <-c.exited:
		return c.failed
	case <-time.After(within):
		c.t.Fatalf("after %v the process still runs: %s", within, c.stderr)
		return nil
	}
}

// metrics is the text of all metrics of this moment.
func (c *child) metrics() string {
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
	return string(text)
}

// reply is an answer whose body is closed when the test ends, at the latest.
type reply struct {
	StatusCode int
	Header     http.Header
	Body       io.ReadCloser
}

// post asks for an answer with a key.
func post(t testing.TB, url, body string) *reply {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer key")
	req.Header.Set("X-Goog-Api-Key", "key")
	req.Header.Set("Content-Type", "application/json")
	if strings.Contains(url, "/messages") {
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &reply{resp.StatusCode, resp.Header, resp.Body}
}

// A server that is killed leaves nothing behind that keeps the next one from taking its place.
func TestCrash_NextServerTakesItsPlace(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	dir := t.TempDir()
	environ := []string{"OPTIMIZER_LOG__ACCESS=" + filepath.Join(dir, "access.log")}
	crashing := startChild(t, s.url, environ...)
	for range 3 {
		stream := post(t, crashing.proxy+"/v1/chat/completions",
			`{"model":"gpt-4o@sim:tokens=1000,tpot=20ms","stream":true,"messages":[{"role":"user","content":"x"}]}`)
		crashing.signal(syscall.SIGKILL)
		if err := crashing.ended(5 * time.Second); err == nil {
			t.Fatal("a killed process ended well")
		}
		if text, err := io.ReadAll(stream.Body); err == nil {
			t.Errorf("the stream of a killed server looked whole: %q", text)
		}
		eventually(t, "the provider is stopped", 5*time.Second, func() bool { return s.Stats().InFlight == 0 })
		next := startChild(t, s.url, append(environ, "OPTIMIZER_SERVER__LISTEN="+strings.TrimPrefix(crashing.proxy, "http://"),
			"OPTIMIZER_ADMIN__LISTEN="+strings.TrimPrefix(crashing.admin, "http://"))...)
		resp := post(t, next.proxy+"/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}`)
		if resp.StatusCode != 200 {
			t.Errorf("after the restart: status %d", resp.StatusCode)
		}
		crashing = next
	}
	crashing.signal(syscall.SIGTERM)
	if err := crashing.ended(10 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// A full disk under the access log costs log lines, which are counted, and no time of any request.
func TestDiskFull_RequestsGoOn(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url, "OPTIMIZER_LOG__ACCESS=/dev/full")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				resp, err := http.Get(c.proxy + "/v1/models")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	eventually(t, "lost lines are counted", 5*time.Second, func() bool { return sumOf(t, c.metrics(), "llmopt_access_log_errors_total") > 0 })
	const overhead = `llmopt_overhead_seconds_bucket{le="0.01"}`
	if quick := sumOf(t, c.metrics(), overhead); quick < 790 {
		t.Errorf("%.0f of 800 exchanges cost less than 10 ms of overhead", quick)
	}
	c.signal(syscall.SIGTERM)
	if err := c.ended(5 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v; %s", err, c.stderr)
	}
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
	var held []net.Conn
	for range 80 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.proxy, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	// The kernel completes connections before the server takes them: they must stay until it has failed to.
	eventually(t, "descriptors run out", 10*time.Second, func() bool {
		return strings.Contains(c.stderr.String(), "cannot accept connections")
	})
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
	if sumOf(t, c.metrics(), "llmopt_accept_errors_total") == 0 {
		t.Error("the failure to accept was not counted")
	}
}
