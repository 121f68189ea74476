package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// freePort is a loopback address that nobody uses at the moment.
func freePort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// nginxBefore runs nginx as a load balancer before servers until the test ends. It keeps idle connections to them for a second.
func nginxBefore(t testing.TB, servers ...string) (url string) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed; .ci/run installs it")
	}
	dir, listen := t.TempDir(), freePort(t)
	conf := fmt.Sprintf(`daemon off;
worker_processes 2;
pid %[1]s/pid;
error_log stderr error;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
    upstream llmopt {
        server %[2]s;
        keepalive 16;
        keepalive_timeout 1s;
    }
    server {
        listen %[3]s;
        location / {
            proxy_pass http://llmopt;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            # What the system has taken for a server in the instant in which it closes its listener is reset unread.
            proxy_next_upstream error timeout non_idempotent;
        }
    }
}`, dir, strings.Join(servers, " max_fails=1 fail_timeout=1s; server ")+" max_fails=1 fail_timeout=1s", listen)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", path, "-e", "stderr")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", said.String())
		}
	})
	eventually(t, "nginx listens", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "http://" + listen
}

// Two servers behind nginx are restarted one after the other, twice, by nothing but SIGTERM and a new start, under load of plain and
// streamed requests. No request fails.
func TestShutdown_RollingRestartBehindNginx(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	addrs := []string{freePort(t), freePort(t)}
	launch := func(i int) *child {
		return startChild(t, s.url, "OPTIMIZER_SERVER__LISTEN="+addrs[i], "OPTIMIZER_SERVER__DRAIN_DELAY=3s") // nginx keeps idle connections for a second, and machines stall
	}
	servers := []*child{launch(0), launch(1)}
	front := nginxBefore(t, addrs...)

	var done atomic.Bool
	var sent, streams atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for i := w; !done.Load(); i++ {
				stream := i%2 == 0
				if err := chat(client, front, stream); err != nil {
					t.Errorf("request %d of worker %d: %v", i, w, err)
					return
				}
				if sent.Add(1); stream {
					streams.Add(1)
				}
				<-time.After(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	for range 2 {
		for i := range servers {
			servers[i].signal(syscall.SIGTERM)
			if err := servers[i].ended(20 * time.Second); err != nil {
				t.Errorf("server %d after SIGTERM: %v; %s", i, err, servers[i].stderr)
			}
			servers[i] = launch(i)
			<-time.After(1200 * time.Millisecond) // nginx tries a server again that has failed after a second
		}
	}
	done.Store(true)
	wg.Wait()
	if streams.Load() < 50 || sent.Load() < 100 {
		t.Errorf("only %d requests, %d of them streams", sent.Load(), streams.Load())
	}
	t.Logf("%d requests, %d streams", sent.Load(), streams.Load())
}

// While it drains a server says that it is not ready, takes connections all the same, and ends each with its answer.
func TestShutdown_Drains(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url, "OPTIMIZER_SERVER__DRAIN_DELAY=5s")
	c.signal(syscall.SIGTERM)
	eventually(t, "not ready", 4*time.Second, func() bool {
		resp, err := http.Get(c.admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 503
	})
	resp, err := http.Get(c.proxy + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 401 || !resp.Close {
		t.Errorf("status %d, the connection ends: %v", resp.StatusCode, resp.Close)
	}
	if err := c.ended(10 * time.Second); err != nil {
		t.Errorf("got %v; %s", err, c.stderr)
	}
}

// A second signal does not wait for anybody.
func TestShutdown_SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url)
	stream := post(t, c.proxy+"/v1/chat/completions",
		`{"model":"gpt-4o@sim:tokens=1000,tpot=100ms","stream":true,"messages":[{"role":"user","content":"x"}]}`)
	_, _ = stream.Body.Read(make([]byte, 1))
	c.signal(syscall.SIGTERM)
	eventually(t, "shutting down", 5*time.Second, func() bool { return strings.Contains(c.stderr.String(), "shutting down") })
	c.signal(syscall.SIGINT)
	if err := c.ended(3 * time.Second); err == nil || c.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
}

// systemd hears of the start, of life, and of the end.
func TestServe_NotifiesSystemd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_ = ln.SetReadDeadline(time.Now().Add(20 * time.Second))
	next := func(want string) {
		t.Helper()
		for {
			b := make([]byte, 1000)
			n, err := ln.Read(b)
			got := string(b[:n])
			if got == want {
				return
			}
			if err != nil || got != "WATCHDOG=1" { // one more of those may come at any time
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
		}
	}
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=3000000")
	next("READY=1")
	next("WATCHDOG=1")
	next("WATCHDOG=1")
	c.signal(syscall.SIGTERM)
	next("STOPPING=1")
	if err := c.ended(10 * time.Second); err != nil {
		t.Error(err)
	}
}

// Parts of the program say more or less by a level of their own, also while it runs, and the access log begins a new file on demand.
func TestLogs_LevelsAndRotation(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	dir := t.TempDir()
	access := filepath.Join(dir, "access.log")
	f := newSettingsFile(t, providerAt(s.url)+"[log]\nlevels.server = \"error\"\n")
	c := f.start("OPTIMIZER_STORAGE__DIR="+filepath.Join(dir, "state"), "OPTIMIZER_LOG__ACCESS="+access)
	eventually(t, "state speaks", 10*time.Second, func() bool { return strings.Contains(c.stderr.String(), `"component":"state"`) })
	f.replace(providerAt(s.url) + "[log]\nlevels.server = \"info\"\n")
	c.signal(syscall.SIGHUP)
	eventually(t, "the server speaks", 10*time.Second, func() bool { return strings.Contains(c.stderr.String(), `"component":"server"`) })

	at := "--admin=" + c.admin
	if err := chat(http.DefaultClient, c.proxy, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a line is written", 10*time.Second, func() bool {
		info, err := os.Stat(access)
		return err == nil && info.Size() > 0
	})
	for range 2 { // the second finds nothing to do
		cliOutput(t, 0, "jobs", "run", "rotate", at)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "access*")); len(files) != 2 {
		t.Errorf("files: %v", files)
	}
}

// No goroutine of the program outlives its end. It is the only test that does not run beside others.
func TestShutdown_LeavesNoGoroutine(t *testing.T) {
	s := simulate(t, sim.Options{})
	g := serve(t, s.url, "OPTIMIZER_STORAGE__DIR="+filepath.Join(t.TempDir(), "state"))
	if err := chat(http.DefaultClient, g.url, true); err != nil {
		t.Fatal(err)
	}
	g.stop()
	http.DefaultClient.CloseIdleConnections()
	var left string
	eventually(t, "all goroutines have ended", 10*time.Second, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = ""
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			ours := strings.Contains(stack, "llm-auto-optimizer/") || strings.Contains(stack, "gocron") || strings.Contains(stack, "yamux")
			if ours && !strings.Contains(stack, "bench/sim") && !strings.Contains(stack, "testing.tRunner") {
				left += stack + "\n\n"
			}
		}
		return left == ""
	})
	if left != "" {
		t.Error(left)
	}
}

// Uploads that fill the memory to its threshold have further requests refused before the process is at risk; those under way go on, and
// requests are taken again when the memory is free.
func TestMemory_RunsShortUnderUploads(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	const uploads, size = 12, 7 << 20
	c := startChild(t, s.url, "OPTIMIZER_SERVER__MEMORY_LIMIT=80MiB")
	body := `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + strings.Repeat("x", size) + `"}]}`
	var held []net.Conn
	for range uploads { // each stops before its last byte
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.proxy, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
		_, err = fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: llmopt\r\nAuthorization: Bearer key\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)-1])
		if err == nil {
			held = append(held, conn)
		}
	}
	eventually(t, "a further request is refused", 20*time.Second, func() bool {
		resp := post(t, c.proxy+"/v1/chat/completions", plainBody)
		return resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "1"
	})
	if used, limit := c.metric("llmopt_memory_bytes"), c.metric("llmopt_memory_limit_bytes"); limit != 80<<20 || used > 2*limit {
		t.Errorf("memory %.0f, limit %.0f", used, limit)
	}
	served := 0
	for _, conn := range held {
		_, _ = conn.Write([]byte(body[len(body)-1:]))
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && resp.StatusCode == 200 {
			served++
			resp.Body.Close()
		}
		conn.Close()
	}
	if served < 3 {
		t.Errorf("%d of the uploads that had begun were served", served)
	}
	eventually(t, "requests are taken again", 20*time.Second, func() bool {
		return post(t, c.proxy+"/v1/chat/completions", plainBody).StatusCode == 200
	})
}
