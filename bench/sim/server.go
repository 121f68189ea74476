package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("simulator closed")

// Server is a simulated provider. All methods are safe for concurrent use.
type Server struct {
	opt      Options
	stats    counters
	script   atomic.Pointer[player]
	cache    promptCache
	objects  objects
	quota    meter
	prepared *prepared // Minimal only
	seq      atomic.Uint64
	connID   atomic.Uint64

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	closing   atomic.Bool   // set under mu
	cut       chan struct{} // closed when answers in flight are cut
	cutOnce   sync.Once
	wg        sync.WaitGroup // connections
}

// New makes a simulator that is not listening yet. It panics on options that contradict their documentation.
func New(o Options) *Server {
	if err := o.check(); err != nil {
		panic("BUG: simulator options: " + err.Error())
	}
	o.setDefaults()
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"http/1.1"}
	}
	s := &Server{
		opt:       o,
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
		cut:       make(chan struct{}),
	}
	s.cache.min = o.CacheMinTokens
	s.script.Store(newPlayer(o.Script))
	if o.Minimal {
		s.prepared = s.prepare()
	}
	s.quota.reset(&o.Quota) // prepared answers have nothing of it
	return s
}

// Serve accepts connections on ln until Shutdown or Close, and closes ln. It returns ErrServerClosed, or the error of
// a broken listener. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	for {
		nc, err := ln.Accept()
		if err != nil {
			if s.closing.Load() {
				return ErrServerClosed
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				_ = s.sleep(10 * time.Millisecond) // until connections are closed; being cut shows in the next Accept
				continue
			}
			return err
		}
		s.start(nc)
	}
}

// start serves nc on a goroutine of its own.
func (s *Server) start(nc net.Conn) {
	c := &conn{srv: s, nc: nc, raw: nc, id: s.connID.Add(1)}
	c.tcp, _ = nc.(*net.TCPConn)
	if s.opt.TLS != nil {
		c.nc = tls.Server(nc, s.opt.TLS)
	}
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	s.stats.connections.Add(1)
	s.stats.open.Add(1)
	go func() {
		defer s.wg.Done()
		c.serve()
		c.nc.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.stats.open.Add(-1)
	}()
}

// Shutdown stops listening, closes idle connections and waits for answers in flight. When ctx is done it cuts those
// that are left and returns ctx's error. No goroutine or connection of s is left when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing.Store(true)
	for ln := range s.listeners {
		ln.Close()
	}
	for c := range s.conns {
		if c.state.CompareAndSwap(stateIdle, stateClosed) {
			c.close()
		}
	}
	s.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		s.cutAll()
		<-finished
		return ctx.Err()
	}
}

// Close is Shutdown without patience: everything in flight is cut.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx) // the error is ctx's own
}

func (s *Server) cutAll() {
	s.cutOnce.Do(func() { close(s.cut) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.close()
	}
}

// sleep waits for d, or until answers are cut.
func (s *Server) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.cut:
		return errGone
	}
}
