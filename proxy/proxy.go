package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
)

// Options are what a Proxy is made of.
type Options struct {
	Config  *config.Config
	Policy  *policy.Holder            // its snapshots must name every provider of Config
	Prices  func() *config.PriceTable // the table in force; called once per exchange
	Windows *window.Recorder
	Access  *AccessLog
	Log     zerolog.Logger // of the program's own doings
}

// Proxy is the request path. Its methods are safe for concurrent use.
type Proxy struct {
	policy  *policy.Holder
	prices  func() *config.PriceTable
	windows *window.Recorder
	log     *AccessLog
	oplog   zerolog.Logger
	metrics *metricSet
	hasher  hasher

	providers map[string]*providerState
	builtin   [provider.Gemini + 1]*providerState // by dialect: whom a path without a provider's name means
	fallback  *providerState                      // whose dialect shapes errors while nothing better is known
	targets   *targets

	maxBody, replayLimit      int
	bodyTimeout, writeTimeout time.Duration
	responseHeaders           bool

	server    *fasthttp.Server
	clients   *clients
	exchanges sync.Pool
	hijacked  sync.WaitGroup
	draining  atomic.Bool // connections end with their next answer
	stopping  atomic.Bool // exchanges are cut
}

// New makes a proxy. It opens no connection yet.
func New(o Options) (*Proxy, error) {
	c := &o.Config.Server
	p := &Proxy{
		policy: o.Policy, prices: o.Prices, windows: o.Windows, log: o.Access, oplog: o.Log,
		metrics:         newMetricSet(),
		hasher:          newHasher(c.HashKey.Reveal()),
		providers:       make(map[string]*providerState, len(o.Config.Providers)),
		maxBody:         int(c.MaxBody),
		replayLimit:     int(c.ReplayLimit),
		bodyTimeout:     c.BodyTimeout,
		writeTimeout:    c.WriteTimeout,
		responseHeaders: c.ResponseHeaders,
		exchanges:       sync.Pool{New: func() any { return &Exchange{meter: &provider.Meter{}, scrubber: &provider.Scrubber{}} }},
	}
	p.targets = newTargets(p.metrics, o.Config.Windows.MaxSeries)
	for _, name := range o.Config.ProviderNames() {
		pc := o.Config.Providers[name]
		s, err := newProviderState(&pc, c.RawIO)
		if err != nil {
			return nil, err
		}
		p.providers[name] = s
		p.metrics.originGauges(s)
		if d := s.dialect; name == d.String() {
			p.builtin[d] = s
		}
	}
	if p.fallback = p.builtin[provider.OpenAI]; p.fallback == nil {
		p.fallback = &providerState{dialect: provider.OpenAI}
	}
	var err error
	if p.clients, err = newClients(c.RawIO); err != nil {
		return nil, err
	}
	p.metrics.set.NewGauge(metricClients, func() float64 { return float64(p.clients.count()) })
	p.metrics.logCounters(p.log)
	p.server = p.newServer(c)
	return p, nil
}

// Metrics is the set of the request path's metrics.
func (p *Proxy) Metrics() *metrics.Set { return p.metrics.set }

// Run keeps the connections to the providers in order until ctx is done.
func (p *Proxy) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range p.providers {
		wg.Go(func() { s.origin.Run(ctx) })
	}
	wg.Wait()
}

// Handle serves one request: when it returns, the answer has been written, unless the connection became a tunnel. Exactly one
// call to record ends every exchange.
func (p *Proxy) Handle(ctx *fasthttp.RequestCtx) {
	x := p.acquire(ctx)
	defer func() {
		if r := recover(); r != nil {
			p.panicked(ctx, x, r)
		}
	}()
	err := p.serve(ctx, x)
	if err == nil && x.status == http.StatusSwitchingProtocols {
		p.tunnel(ctx, x) // which ends it
		return
	}
	if err == nil {
		p.respond(ctx, x)
	} else {
		p.refuse(ctx, x, err)
	}
	p.record(x)
}

// serve takes the request to a target and brings the head of the answer back.
func (p *Proxy) serve(ctx *fasthttp.RequestCtx, x *Exchange) error {
	if err := p.decode(ctx, x); err != nil {
		return err
	}
	p.admit(x)
	p.route(x)
	return p.dispatch(ctx, x)
}

// panicked ends an exchange that met a bug: it alone pays for it.
func (p *Proxy) panicked(ctx *fasthttp.RequestCtx, x *Exchange, r any) {
	err := p.recovered(x, r)
	ctx.SetConnectionClose()
	x.endWith(&internal, err)
	if x.conn != nil {
		x.dropConn()
	}
	defer p.record(x)
	if !x.begun {
		defer p.contain(x, func(error) {})
		p.refuse(ctx, x, fail(&internal, err))
	}
}

// recovered reports a panic.
func (p *Proxy) recovered(x *Exchange, r any) error {
	p.metrics.panics.Inc()
	p.oplog.Error().Bytes("id", x.id[:]).Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("exchange panicked")
	return fmt.Errorf("%w: %v", errPanic, r)
}

var errPanic = errors.New("panic")

// contain is deferred where fasthttp does not look after panics: one reports itself and calls failed instead of ending the
// process. x must be live.
func (p *Proxy) contain(x *Exchange, failed func(err error)) {
	if r := recover(); r != nil {
		failed(p.recovered(x, r))
	}
}
