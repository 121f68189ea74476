package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 2 * time.Minute  // also the longest profile that pprof takes
	watchWrite    = 30 * time.Second // for one message to a client that watches
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	maxMessage    = 1 << 20 // of the API's requests, which are a few bytes each
	compressFrom  = 1 << 10 // smaller answers are not worth compressing
)

// The paths that stay open to everyone: who asks them has no token, and they tell little.
const (
	pathHealth = "/healthz"
	pathReady  = "/readyz"
)

// Server is the admin service. It is safe for concurrent use.
type Server struct {
	options Options
	started time.Time
	own     *metrics.Set
	http    *http.Server
	errors  *connect.ErrorWriter // in the protocol of the request
	ending  chan struct{}        // closed when the shutdown begins
}

// New makes the service. It serves nothing until Serve.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Notices == nil {
		o.Notices = func() []string { return nil }
	}
	if o.Mode == nil {
		o.Mode = func() optimizer.Mode { return optimizer.Observe }
	}
	s := &Server{options: o, started: o.Now(), own: metrics.NewSet(), errors: connect.NewErrorWriter(), ending: make(chan struct{})}
	s.own.NewGauge(fmt.Sprintf("llmopt_build_info{version=%q,commit=%q,go=%q}", o.Version.Version, o.Version.Commit, o.Version.Go),
		func() float64 { return 1 })
	s.own.NewGauge("llmopt_policy_version", func() float64 { return float64(o.Policy.Load().Version) })

	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          stdlog.New(o.Log.With().Str("server", "admin").Logger(), "", 0),
		Protocols:         new(http.Protocols),
	}
	s.http.RegisterOnShutdown(sync.OnceFunc(func() { close(s.ending) }))
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(true)
	s.http.Protocols.SetUnencryptedHTTP2(true) // gRPC
	return s
}

// routes builds the handler of the whole service.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	path, api := controlpb.NewAdminHandler(&admin{s}, connect.WithReadMaxBytes(maxMessage), connect.WithCompressMinBytes(compressFrom))
	mux.Handle(path, unhurried(api, watchWrite))
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /version", s.version)
	mux.HandleFunc("GET "+pathHealth, s.healthz)
	mux.HandleFunc("GET "+pathReady, s.readyz)
	mux.HandleFunc("GET "+pathBackup, s.backup)
	mux.HandleFunc("POST "+pathRestore, s.restore)
	if s.options.Pprof {
		handlePprof(mux)
	}
	return s.recoverPanics(s.guard(mux))
}

// Handler is the service as a handler, for a listener of the caller's.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers on ln until Shutdown begins and then returns nil, while requests in flight go on. It closes ln. With a TLS
// configuration clients must speak TLS.
func (s *Server) Serve(ln net.Listener, t *tls.Config) error {
	serve := s.http.Serve
	if t != nil {
		s.http.TLSConfig = t
		serve = func(ln net.Listener) error { return s.http.ServeTLS(ln, "", "") }
	}
	if err := serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin on %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown stops listening, waits for requests in flight until ctx is done, and then cuts the rest off.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down admin: %w", errors.Join(err, s.http.Close()))
	}
	return nil
}
