package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/socket"
)

// Origin is where one provider lives: its address, how to speak to it, and the idle connections to it. It is safe
// for concurrent use.
type Origin struct {
	Host     string // value of the Host header: host, and the port where it is not the scheme's own
	BasePath string // raw path of the base URL without a trailing slash; "" for none

	address string // host:port to dial
	tls     *tls.Config
	dialer  net.Dialer
	rawIO   bool

	maxIdle     int
	idleTimeout time.Duration

	mu     sync.Mutex // guards idle and closed; held for a few instructions only
	idle   []*Conn    // last in, first out: the warmest is reused, the rest may age away
	closed bool

	open   atomic.Int64
	Dials  atomic.Uint64 // connections dialled since start
	Reuses atomic.Uint64 // requests sent on a connection from the pool
	Stale  atomic.Uint64 // idle connections found stale
}

// NewOrigin prepares the connections to a provider. It dials nothing. rawIO is the setting server.raw_io. The error names the
// field that is wrong.
func NewOrigin(p *config.Provider, rawIO bool) (*Origin, error) {
	u, err := url.Parse(p.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("base_url: %w", err)
	}
	o := &Origin{
		Host:        u.Host,
		BasePath:    strings.TrimRight(u.EscapedPath(), "/"),
		maxIdle:     p.MaxIdle,
		idleTimeout: p.IdleTimeout,
		dialer:      net.Dialer{KeepAlive: 30 * time.Second},
		rawIO:       rawIO,
	}
	port := u.Port()
	switch u.Scheme {
	case "https":
		if o.tls, err = clientTLS(&p.TLS, u.Hostname()); err != nil {
			return nil, err
		}
		if port == "" {
			port = "443"
		}
	case "http":
		if port == "" {
			port = "80"
		}
	default:
		return nil, fmt.Errorf("base_url: scheme %q is neither http nor https", u.Scheme)
	}
	o.address = net.JoinHostPort(u.Hostname(), port)
	return o, nil
}

// clientTLS speaks HTTP/1.1 only: the answer's bytes are relayed from the connection itself.
func clientTLS(t *config.TLS, host string) (*tls.Config, error) {
	c := &tls.Config{
		ServerName:         host,
		NextProtos:         []string{"http/1.1"},
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
		InsecureSkipVerify: t.Insecure, //nolint:gosec // only where the operator's configuration says so
	}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate", t.CA)
		}
	}
	return c, nil
}

// Open is the number of connections that exist, idle or in use.
func (o *Origin) Open() int { return int(o.open.Load()) }

// Idle is the number of connections that wait for a request.
func (o *Origin) Idle() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.idle)
}

// Get returns an idle connection, attached to the tether, or nil where there is none. It never blocks. The connection may be
// stale, which Ask and Usable tell.
func (o *Origin) Get(t *Tether) (*Conn, error) {
	c := o.pop()
	if c == nil {
		return nil, nil
	}
	c.pooled, c.before = true, c.counted.written
	if !t.attach(c) {
		c.Close()
		return nil, ErrCut
	}
	return c, nil
}

// pop takes the warmest idle connection, or nil.
func (o *Origin) pop() *Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.idle)
	if n == 0 {
		return nil
	}
	c := o.idle[n-1]
	o.idle[n-1] = nil
	o.idle = o.idle[:n-1]
	return c
}

// Dial opens a new connection, attached to the tether. It blocks until the connection stands (TLS included), the
// deadline passes (zero: none) or the tether is cut.
func (o *Origin) Dial(t *Tether, deadline time.Time) (*Conn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	if !deadline.IsZero() {
		ctx, cancel = context.WithDeadline(context.Background(), deadline)
	}
	defer cancel()
	if !t.attachDial(cancel) {
		return nil, ErrCut
	}
	nc, err := o.dial(ctx)
	cut := t.detachDial()
	if err != nil {
		if cut {
			return nil, ErrCut
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = os.ErrDeadlineExceeded
		}
		return nil, fmt.Errorf("dial %s: %w", o.address, err)
	}
	o.Dials.Add(1)
	if !t.attach(nc) {
		nc.Close()
		return nil, ErrCut
	}
	return nc, nil
}

func (o *Origin) dial(ctx context.Context) (*Conn, error) {
	nc, err := o.dialer.DialContext(ctx, "tcp", o.address)
	if err != nil {
		return nil, err
	}
	tcp := nc.(*net.TCPConn) //nolint:forcetypeassert // the dialler dials TCP only
	c := &Conn{origin: o, counted: &countedConn{Conn: socket.Wrap(tcp, o.rawIO)}}
	c.own = buffers.Get().(*[readBuffer]byte) //nolint:forcetypeassert // the pool holds nothing else
	c.buf = c.own[:]
	c.nc = c.counted
	if o.tls != nil {
		tc := tls.Client(c.counted, o.tls)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = tcp.Close()
			return nil, fmt.Errorf("tls: %w", err)
		}
		c.nc = tc
	}
	c.before = c.counted.written
	o.open.Add(1)
	return c, nil
}

// put keeps a connection for the next request, or closes it where there are enough.
func (o *Origin) put(c *Conn) {
	c.idleSince = time.Now()
	o.mu.Lock()
	if keep := !o.closed && len(o.idle) < o.maxIdle; keep {
		o.idle = append(o.idle, c)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	c.Close()
}

// CloseIdle closes the connections that have waited longer than the provider's idle timeout at the given time.
func (o *Origin) CloseIdle(now time.Time) {
	o.mu.Lock()
	old := 0
	for old < len(o.idle) && now.Sub(o.idle[old].idleSince) >= o.idleTimeout {
		old++ // the oldest stand first
	}
	stale := append([]*Conn(nil), o.idle[:old]...)
	o.idle = append(o.idle[:0], o.idle[old:]...)
	o.mu.Unlock()
	for _, c := range stale {
		c.Close()
	}
}

// Close closes all idle connections; those in use are closed when they are released, and so are those dialled from now on.
func (o *Origin) Close() {
	o.mu.Lock()
	o.closed = true
	idle := o.idle
	o.idle = nil
	o.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// Succeed has the counters go on where those of the provider's former origin stand.
func (o *Origin) Succeed(former *Origin) {
	o.Dials.Add(former.Dials.Load())
	o.Reuses.Add(former.Reuses.Load())
	o.Stale.Add(former.Stale.Load())
}
