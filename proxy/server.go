package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// writeBuffer takes what fasthttp writes itself: errors of requests that never became exchanges.
const writeBuffer = 1 << 10

func (p *Proxy) newServer(c *config.Server) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:       p.Handle,
		ErrorHandler:  p.unreadable,
		ExpectHandler: p.expect,
		Logger:        quietLogger{p},

		Concurrency:                   c.MaxConnections,
		ReadBufferSize:                int(c.MaxHeader), // also the limit of a request's head
		WriteBufferSize:               writeBuffer,
		ReduceMemoryUsage:             true, // flushes after each request, so that front drops what it should
		ReadTimeout:                   c.HeaderTimeout,
		IdleTimeout:                   c.IdleTimeout,
		MaxRequestBodySize:            math.MaxInt, // decode knows the limit and answers in the dialect's shape
		StreamRequestBody:             true,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		LazyRequestTime:               true,
		SecureErrorLogMessage:         true,
		CloseOnShutdown:               true,
	}
}

// Serve accepts connections from a TCP or Unix listener until Shutdown. With a TLS configuration clients must speak TLS. Several
// listeners can be served at once.
func (p *Proxy) Serve(ln net.Listener, t *tls.Config) error {
	switch ln.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		return fmt.Errorf("serve %T: neither a TCP nor a Unix listener", ln)
	}
	if t != nil {
		t = t.Clone()
		t.NextProtos = []string{"http/1.1"}
	}
	l := &listener{Listener: ln, clients: p.clients, tls: t, failed: p.acceptFailed}
	if !p.listeners.enter(l) {
		return ln.Close()
	}
	if err := p.server.Serve(l); err != nil && !p.listeners.over() {
		return err
	}
	return nil
}

// listeners are what connections are accepted from. fasthttp closes those that it knows; one that begins to be served during a shutdown it would serve for ever.
type listeners struct {
	mu   sync.Mutex
	all  []net.Listener
	done bool
}

func (s *listeners) enter(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, l)
	return !s.done
}

func (s *listeners) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

func (s *listeners) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	for _, l := range s.all {
		_ = l.Close()
	}
}

func (p *Proxy) acceptFailed(err error) {
	if p.metrics.acceptErrors.Get() == 0 {
		p.oplog.Error().Err(err).Msg("cannot accept connections for now; further errors are only counted")
	}
	p.metrics.acceptErrors.Inc()
}

// Drain has each connection end with its next answer. New ones are accepted all the same.
func (p *Proxy) Drain() { p.draining.Store(true) }

// Shutdown stops accepting and waits for the exchanges and tunnels under way; when ctx is done first it cuts them, streams
// with their dialect's error event. It returns when all are recorded.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.draining.Store(true)
	err := p.server.ShutdownWithContext(ctx)
	p.listeners.close()
	if err == nil {
		p.waitTunnels(ctx)
	}
	p.stopping.Store(true)
	for _, c := range p.clients.all() {
		c.tether.Cut()
	}
	p.gate.Close()
	p.background.stop()
	if err != nil { // the exchanges end now: give them the time to say so
		last, cancel := context.WithTimeout(context.Background(), lingerTimeout+time.Second)
		defer cancel()
		err = p.server.ShutdownWithContext(last)
	}
	p.hijacked.Wait()
	p.waitRecorded()
	p.clients.watch.close()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("shut down: %d connections still open", p.clients.count())
	}
	return err
}

// waitRecorded gives exchanges that were cut the moment that they need to be recorded: fasthttp does not wait for the
// handlers of connections that it has closed.
func (p *Proxy) waitRecorded() {
	for end := time.Now().Add(lingerTimeout); p.metrics.inFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// waitTunnels waits for the connections that fasthttp has handed over.
func (p *Proxy) waitTunnels(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		p.hijacked.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// expect answers "Expect: 100-continue" before the client sends its body.
func (p *Proxy) expect(ctx *fasthttp.RequestCtx) (status int) {
	defer p.contain(&Exchange{}, func(error) { status = internal.status })
	clientOf(ctx.Conn()).armWrite(time.Now(), p.settings.Load().writeTimeout)
	if ctx.Request.Header.ContentLength() > p.settings.Load().maxBody {
		writeError(ctx, p.dialectOf(ctx), &tooLarge)
		return tooLarge.status
	}
	return fasthttp.StatusContinue
}

// unreadable answers a request whose head, or the start of whose body, could not be read.
func (p *Proxy) unreadable(ctx *fasthttp.RequestCtx, err error) {
	defer p.contain(&Exchange{}, func(error) { writeError(ctx, provider.OpenAI, &internal) })
	c := clientOf(ctx.Conn())
	kind := &badRequest
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case c.tether.IsCut(), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		kind = &clientLeft // while it was still sending
	case errors.As(err, &small):
		kind = &headersTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		kind = &requestTimeout
	}
	c.linger = kind != &clientLeft
	c.armWrite(time.Now(), p.settings.Load().writeTimeout)
	p.metrics.rejected(kind)
	writeError(ctx, p.dialectOf(ctx), kind)
}

// dialectOf guesses the dialect of a request that has not been decoded.
func (p *Proxy) dialectOf(ctx *fasthttp.RequestCtx) provider.Dialect {
	uri := ctx.Request.Header.RequestURI()
	if len(uri) == 0 || uri[0] != '/' {
		return provider.OpenAI
	}
	first, _ := firstSegment(uri)
	if s := p.settings.Load().providers[string(first)]; s != nil {
		return s.dialect
	}
	var f headerFacts
	for raw := ctx.Request.Header.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw = nextLine(raw)
		name, _, _ := splitLine(line)
		f.anthropicVersion = f.anthropicVersion || upstream.EqualFold(name, "anthropic-version")
		f.googAPIKey = f.googAPIKey || upstream.EqualFold(name, "x-goog-api-key")
	}
	return provider.Detect(uri, f.anthropicVersion, f.googAPIKey)
}

// quietLogger takes fasthttp's own messages. Connections that break are everyday life and counted elsewhere.
type quietLogger struct{ p *Proxy }

// Printf implements fasthttp.Logger.
func (l quietLogger) Printf(format string, args ...any) {
	l.p.oplog.Debug().Str("from", "fasthttp").Msg(strings.TrimSpace(fmt.Sprintf(format, args...)))
}
