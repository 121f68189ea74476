package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

const (
	defaultAdmin = "127.0.0.1:8081"
	adminTimeout = 15 * time.Second // for one question to a running server
)

// adminFlags are shared by the commands that ask a running server. Both default to the settings in the environment, so
// that a command beside a server finds it.
type adminFlags struct {
	Admin string `help:"Admin URL of the running server. Default: from OPTIMIZER_ADMIN__LISTEN, else http://127.0.0.1:8081." placeholder:"URL"`
	Token string `help:"Admin token. Default: from OPTIMIZER_ADMIN__TOKEN." placeholder:"TOKEN"`
	CA    string `name:"ca" help:"Certificates (PEM) to trust with https. Default: the one in OPTIMIZER_ADMIN__TLS_CERT, else the system's." placeholder:"FILE"`
	Cert  string `help:"Certificate (PEM) to show, where admin.client_ca asks for one." placeholder:"FILE"`
	Key   string `help:"Its key (PEM)." placeholder:"FILE"`
}

// adminConn is a way to ask one server.
type adminConn struct {
	api  controlpb.AdminClient
	http *http.Client
	url  string
}

// printAnswer asks a running server what takes no arguments, and prints what it says: as JSON, or for a person as text does.
func printAnswer[Q any, M proto.Message](env *environment, f adminFlags, asJSON bool, method func(controlpb.AdminClient, context.Context, *Q) (M, error), text func(out *bytes.Buffer, res M)) error {
	conn, err := f.dial(env)
	if err != nil {
		return err
	}
	res, err := method(conn.api, env.ctx, new(Q))
	if err != nil {
		return conn.explain(err)
	}
	if asJSON {
		return printMessage(env.stdout, res)
	}
	var out bytes.Buffer
	text(&out, res)
	_, err = env.stdout.Write(out.Bytes())
	return err
}

// dial resolves the flags. It opens no connection yet.
func (f adminFlags) dial(env *environment) (*adminConn, error) {
	base := f.Admin
	own := env.lookup("OPTIMIZER_ADMIN__TLS_CERT")
	if base == "" {
		listen := env.lookup("OPTIMIZER_ADMIN__LISTEN")
		if listen == "" {
			listen = defaultAdmin
		}
		var err error
		if base, err = urlOfListener(listen); err != nil {
			return nil, fmt.Errorf("OPTIMIZER_ADMIN__LISTEN: %w", err)
		}
		if own != "" {
			base = "https" + strings.TrimPrefix(base, "http")
		}
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%w: --admin %q: want http://host:port", errUsage, base)
	}
	token := f.Token
	if token == "" {
		token = env.lookup("OPTIMIZER_ADMIN__TOKEN")
	}
	secure, err := adminTLS(f.CA, f.Cert, f.Key, own)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Timeout:       adminTimeout,
		Transport:     bearer{token, &http.Transport{TLSClientConfig: secure}}, // no HTTP proxy of the environment: it would get the token
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	base = strings.TrimRight(base, "/")
	return &adminConn{api: controlpb.NewAdminClient(client, base), http: client, url: base}, nil
}

// get asks for one of the plain endpoints and returns the first line of its answer; any status but 200 is an error.
func (c *adminConn) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", c.url, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", c.explain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", c.explain(err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s%s: %s: %s", c.url, path, resp.Status, line)
	}
	return line, nil
}

// explain puts a failed call in words that tell what to do.
func (c *adminConn) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is `llmopt serve` running there? (--admin URL names another place)", c.url)
	case connect.CodeOf(err) == connect.CodeUnauthenticated:
		return fmt.Errorf("%s wants a token that matches its admin.token: set OPTIMIZER_ADMIN__TOKEN or --token", c.url)
	default:
		return fmt.Errorf("ask %s: %w", c.url, err)
	}
}

// bearer adds the token to every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// urlOfListener is the URL at which a listen address is reached from the same machine.
func urlOfListener(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%w: %q: want host:port", errUsage, listen)
	}
	if port == "0" {
		return "", fmt.Errorf("%w: %q: the port is chosen at start, name it with --admin", errUsage, listen)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// lookup returns the value of a variable, "" when it is not set. As with the system's own, the last one counts.
func (e *environment) lookup(name string) string {
	value := ""
	for _, kv := range e.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}
