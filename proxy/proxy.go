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
	stopping  atomic.Bool
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

// Handle serves one request. Exactly one call to record ends every exchange: here when it failed before an answer
// could be given, else when the answer has been written.
func (p *Proxy) Handle(ctx *fasthttp.RequestCtx) {
	x := p.acquire(ctx)
	answering := false
	defer func() {
		if r := recover(); r != nil {
			p.panicked(ctx, x, r, answering)
		}
	}()
	if err := p.serve(ctx, x); err != nil {
		p.refuse(ctx, x, err)
		return
	}
	answering = true
	p.respond(ctx, x) // takes x over; it is recorded when the last byte is out
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

// refuse answers with an error of ours and ends the exchange.
func (p *Proxy) refuse(ctx *fasthttp.RequestCtx, x *Exchange, err error) {
	kind := kindOfError(err)
	var e *exchangeError
	if errors.As(err, &e) {
		err = e.cause
	}
	x.endWith(kind, err)
	x.closeConn()
	x.clearHead(&ctx.Response.Header, kind.status)
	writeError(ctx, x.provider.dialect, kind)
	now := time.Now()
	if p.responseHeaders {
		x.setOwnHeaders(&ctx.Response.Header, now)
	}
	if kind == &badRequest || kind == &badVersion || x.client.linger {
		ctx.SetConnectionClose() // what follows on the connection can't be trusted, or is the rest of a body
	}
	x.client.armWrite(now, p.writeTimeout)
	x.status = kind.status
	p.record(x)
}

// panicked ends an exchange that met a bug: it alone pays for it.
func (p *Proxy) panicked(ctx *fasthttp.RequestCtx, x *Exchange, r any, answering bool) {
	err := p.recovered(x, r)
	if answering && ctx.Response.IsBodyStream() {
		ctx.Response.SetConnectionClose() // fasthttp calls Close, which records
		return
	}
	x.clearHead(&ctx.Response.Header, internal.status)
	ctx.SetConnectionClose()
	writeError(ctx, provider.OpenAI, &internal)
	x.endWith(&internal, err)
	if x.conn != nil {
		x.dropConn()
	}
	x.status = http.StatusInternalServerError
	p.record(x)
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
