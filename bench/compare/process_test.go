package compare

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestProcess_CountsItsWholeFamily(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // stands for the program's own listener
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	p, err := start(t.Context(), dir, "busy", ln.Addr().String(), nil, "sh", "-c", "while :; do :; done & wait")
	if err != nil {
		t.Fatal(err)
	}
	before, err := p.cpu()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		after, err := p.cpu()
		if err != nil {
			t.Fatal(err)
		}
		if after-before > 20*time.Millisecond {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a busy child used %v", after-before)
		}
	}
	if n := len(p.family()); n != 2 {
		t.Errorf("a family of %d, want the shell and its child", n)
	}
	if rss, err := p.rss(); err != nil || rss < 100<<10 {
		t.Errorf("memory %d, %v", rss, err)
	}
	p.stop()
	if _, err := p.cpu(); err == nil {
		t.Error("a process that has ended has CPU time")
	}

	if _, err := start(t.Context(), dir, "ends", "127.0.0.1:1", nil, "sh", "-c", "echo why; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a program that ends at once: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	if d, err := parseSchedstat("123456789 42 7\n"); d != 123456789 || err != nil {
		t.Errorf("schedstat: %v, %v", d, err)
	}
	for _, bad := range []string{"", "x 1 2", "-1 0 0"} {
		if _, err := parseSchedstat(bad); err == nil {
			t.Errorf("schedstat %q was taken", bad)
		}
	}
	if kib, err := parseRSS("Name:\tx\nVmRSS:\t   1234 kB\nRssAnon:\t 1 kB\n"); kib != 1234 || err != nil {
		t.Errorf("rss: %d, %v", kib, err)
	}
	if _, err := parseRSS("Name:\tx\n"); err == nil {
		t.Error("a status without VmRSS was taken")
	}
}

func TestScenario_RequestsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios(false) {
		head, body, _ := bytes.Cut(s.request(), []byte("\r\n\r\n"))
		var chat struct {
			Model    string
			Stream   bool
			Messages []struct{ Role, Content string }
		}
		if err := json.Unmarshal(body, &chat); err != nil || chat.Stream != s.stream || len(chat.Messages) != 2 {
			t.Errorf("%s: %s: %v", s.name, body, err)
		}
		if len(body) != s.body || !strings.HasPrefix(string(head), "POST /v1/chat/completions HTTP/1.1\r\n") {
			t.Errorf("%s: body of %d, want %d; %s", s.name, len(body), s.body, head)
		}
	}
}

// The programs that are there must take the configuration that they are given.
func TestContender_ConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := func(name, text string, command ...string) {
		t.Helper()
		if !Installed(name) {
			return
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(command[0], append(command[1:], path)...).CombinedOutput(); err != nil { //nolint:gosec,noctx // fixed commands that end at once
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	check(Nginx, nginxConfig(dir, "127.0.0.1:18181", "127.0.0.1:18182"), "nginx", "-t", "-p", dir, "-e", "stderr", "-c")
	check(HAProxy, haproxyConfig("127.0.0.1:18181", "127.0.0.1:18182"), "haproxy", "-c", "-f")
	if _, err := launch(t.Context(), "", dir, "squid", ""); err == nil || !strings.Contains(err.Error(), "relay") {
		t.Errorf("unknown contender: %v", err)
	}
}
