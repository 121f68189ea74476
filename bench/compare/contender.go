package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Names of the contenders that compare knows how to start.
const (
	Direct  = "direct"
	HAProxy = "haproxy"
	Nginx   = "nginx"
	Relay   = "relay"
	Llmopt  = "llmopt"
	// Stateful is llmopt with its state on disk. It takes part when it is asked for.
	Stateful = "llmopt-state"
	// Routed is llmopt with a route over four targets. It takes part when it is asked for.
	Routed = "llmopt-routes"
	// Tuned is llmopt with a route over three targets that the optimizer looks after. It takes part when it is asked for.
	Tuned = "llmopt-optimizer"
	// Untuned is the same with the optimizer switched off. It takes part when it is asked for.
	Untuned = "llmopt-untuned"
	// Hits is llmopt with a cache that has the answer. It takes part when it is asked for.
	Hits = "llmopt-hits"
	// Misses is llmopt with a cache that looks for each answer and never has it. It takes part when it is asked for.
	Misses = "llmopt-misses"
)

// Names are the known contenders in the order of the tables.
var Names = []string{Direct, HAProxy, Nginx, Relay, Llmopt, Stateful, Routed, Tuned, Untuned, Hits, Misses}

// OnRequest tells whether a contender takes part only when it is asked for.
func OnRequest(name string) bool {
	return slices.Contains([]string{Stateful, Routed, Tuned, Untuned, Hits, Misses}, name)
}

// Given is a contender that runs already: its upstream is whatever it was told.
type Given struct {
	Name, Addr string // host:port
	PID        int    // 0: its CPU and memory are not measured
}

// contender is a running one.
type contender struct {
	name    string
	addr    string
	process *process // nil: nothing to measure
}

// launch starts a known contender before an upstream. self is the path of the llmopt binary.
func launch(ctx context.Context, self, dir, name, upstream string) (*contender, error) {
	c := &contender{name: name, addr: upstream}
	if name == Direct {
		return c, nil
	}
	var err error
	if c.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	var environ, command []string
	switch name {
	case HAProxy:
		path := filepath.Join(dir, "haproxy.cfg")
		err = os.WriteFile(path, []byte(haproxyConfig(c.addr, upstream)), 0o600)
		command = []string{"haproxy", "-db", "-f", path}
	case Nginx:
		path := filepath.Join(dir, "nginx.conf")
		err = os.WriteFile(path, []byte(nginxConfig(dir, c.addr, upstream)), 0o600)
		command = []string{"nginx", "-p", dir, "-c", path, "-e", "stderr"}
	case Relay:
		command = []string{self, "bench", "relay", "--listen", c.addr, "--upstream", upstream}
	case Llmopt, Stateful, Routed, Tuned, Untuned, Hits, Misses:
		var admin, state string
		admin, err = freeAddr()
		if name == Stateful {
			state = filepath.Join(dir, "state")
		}
		command, environ = []string{self, "serve"}, llmoptEnvironment(dir, c.addr, admin, upstream, state)
		if settings := settingsOf(name); settings != "" {
			path := filepath.Join(dir, name+".toml")
			err = errors.Join(err, os.WriteFile(path, []byte(settings), 0o600))
			command = append(command, "--config", path)
		}
	default:
		err = fmt.Errorf("contender %q: want one of %s", name, strings.Join(Names, ", "))
	}
	if err != nil {
		return nil, err
	}
	c.process, err = start(ctx, dir, name, c.addr, environ, command...)
	return c, err
}

func (c *contender) stop() {
	if c.process != nil {
		c.process.stop()
	}
}

// haproxyConfig is the plainest there is: two threads, no log.
func haproxyConfig(listen, upstream string) string {
	return fmt.Sprintf(`global
    nbthread 2
    maxconn 8000
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
frontend in
    bind %s
    default_backend out
backend out
    server upstream %s
`, listen, upstream)
}

// nginxConfig is plain too: two workers, connections kept alive both ways, nothing buffered that streams, no log. Bodies of
// requests are kept in memory.
func nginxConfig(dir, listen, upstream string) string {
	return fmt.Sprintf(`daemon off;
worker_processes 2;
pid %s/nginx.pid;
error_log stderr crit;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 1m;
    client_body_temp_path %s/nginx-body;
    proxy_temp_path %s/nginx-proxy;
    fastcgi_temp_path %s/nginx-fastcgi;
    uwsgi_temp_path %s/nginx-uwsgi;
    scgi_temp_path %s/nginx-scgi;
    upstream origin {
        server %s;
        keepalive 2048;
        keepalive_requests 1000000000;
    }
    server {
        listen %s backlog=4096;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
`, dir, dir, dir, dir, dir, dir, upstream, listen)
}

// llmoptEnvironment leaves everything on that is on by default, and has the access log written to a file.
func llmoptEnvironment(dir, listen, admin, upstream, state string) []string {
	return []string{
		"OPTIMIZER_SERVER__LISTEN=" + listen,
		"OPTIMIZER_ADMIN__LISTEN=" + admin,
		"OPTIMIZER_PROVIDERS__OPENAI__BASE_URL=http://" + upstream + "/v1",
		"OPTIMIZER_LOG__ACCESS=" + filepath.Join(dir, "access.log"),
		"OPTIMIZER_LOG__MAX_BACKUPS=1",
		"OPTIMIZER_STORAGE__DIR=" + state,
	}
}

// settingsOf are those of the contenders that are llmopt with something on.
func settingsOf(name string) string {
	switch name {
	case Routed:
		return routedConfig
	case Tuned:
		return threeTargets
	case Untuned:
		return "[optimizer]\nenabled = false\n" + threeTargets
	case Hits:
		return "[cache]\nenabled = true\nstore = \"all\"\n"
	case Misses: // all that is asked is the same: they would share answers
		return "[cache]\nenabled = true\nstore = \"all\"\nfinish = [\"never\"]\ncoalesce = false\n"
	}
	return ""
}

// routedConfig has four equal targets at one provider, all that routes do by default, and affinity.
const routedConfig = `[[routes]]
name = "chat"
match = { model = ["gpt-4o-mini"] }
objective = { ttft_p95 = "2s" }
affinity = true
targets = [
	{ name = "a", provider = "openai", model = "gpt-4o-mini" },
	{ name = "b", provider = "openai", model = "gpt-4o-mini" },
	{ name = "c", provider = "openai", model = "gpt-4o-mini" },
	{ name = "d", provider = "openai", model = "gpt-4o-mini" },
]
`

// threeTargets has all that routes and the optimizer do by default: changes are tried on part of the traffic, and some sessions held back.
const threeTargets = `[[routes]]
name = "chat"
match = { model = ["gpt-4o-mini"] }
objective = { ttft_p95 = "2s" }
targets = [
	{ name = "a", provider = "openai", model = "gpt-4o-mini" },
	{ name = "b", provider = "openai", model = "gpt-4o-mini" },
	{ name = "c", provider = "openai", model = "gpt-4o-mini" },
]
`

// freeAddr is a loopback address on which nobody listens at the moment.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// Installed tells whether the program of a contender is there.
func Installed(name string) bool {
	if name != HAProxy && name != Nginx {
		return true
	}
	_, err := exec.LookPath(name)
	return err == nil
}
