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
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
	"llm-auto-optimizer/proxy/policy"
)

// Options are what a Proxy is made of.
type Options struct {
	Config  *config.Config
	Policy  *policy.Holder            // its snapshots must name every provider of Config
	Prices  func() *config.PriceTable // the table in force; called once per exchange
	Windows *window.Recorder
	Ledger  *ledger.Ledger // nil: what it would hold is not kept
	Ring    *window.Ring   // gets every exchange of a route; nil: none does
	Changed func()         // called when the reflexes have moved a target; must not wait. Nil: nobody wants to know
	Cache   Cache          // of answers; nil: none are kept
	Traces  *Traces        // nil: no exchange is sampled
	Access  *AccessLog
	Log     zerolog.Logger // of the program's own doings
}

// Proxy is the request path. Its methods are safe for concurrent use.
type Proxy struct {
	policy  *policy.Holder
	prices  func() *config.PriceTable
	windows *window.Recorder
	ledger  *ledger.Ledger
	ring    *window.Ring
	changed func()
	traces  *Traces
	cache   Cache
	books   books
	flights *flights
	gate    *admission.Gate
	paces   *pacing.Table

	lease     time.Duration // of what exchanges hold of limits
	estimates *limit.Estimator
	said      sync.Pool     // of *limit.Headers
	purges    atomic.Uint64 // of the cache

	background background
	log        *AccessLog
	oplog      zerolog.Logger
	metrics    *metricSet
	hasher     hasher

	settings  atomic.Pointer[settings]
	reloading sync.Mutex // held while others are put in force
	closed    bool       // Run has ended: connections are kept no more
	rawIO     bool
	targets   *targets

	server    *fasthttp.Server
	clients   *clients
	listeners listeners
	memory    *memoryGuard
	exchanges sync.Pool
	requests  sync.Pool
	hijacked  sync.WaitGroup
	draining  atomic.Bool // connections end with their next answer
	stopping  atomic.Bool // exchanges are cut
}

// books are counts by route that outlive reloads.
type books struct {
	cache   cacheBooks
	prompts promptBooks
}

// New makes a proxy. It opens no connection yet.
func New(o Options) (*Proxy, error) {
	c := &o.Config.Server
	p := &Proxy{
		policy: o.Policy, prices: o.Prices, windows: o.Windows, ledger: o.Ledger, ring: o.Ring, changed: o.Changed, traces: o.Traces, cache: o.Cache, log: o.Access, oplog: o.Log,
		flights:   newFlights(),
		paces:     pacing.NewTable(time.Now(), pacing.DefaultSize),
		estimates: limit.NewEstimator(),
		said:      sync.Pool{New: func() any { return &limit.Headers{} }},
		metrics:   newMetricSet(),
		hasher:    newHasher(c.HashKey.Reveal()),
		rawIO:     c.RawIO,
		exchanges: sync.Pool{New: func() any { return newExchange() }},
		requests:  sync.Pool{New: func() any { return &requestBuffers{} }},
	}
	p.targets = newTargets(p.metrics, o.Config.Windows.MaxSeries)
	first, err := newSettings(o.Config, nil, p.rawIO, &p.books, &p.hasher)
	if err != nil {
		return nil, err
	}
	p.settings.Store(first)
	p.lease = o.Config.Admission.Lease
	p.gate = admission.New(time.Now(), limit.Options{Lease: o.Config.Admission.Lease, Entries: o.Config.Admission.Entries}, first.limits.waits)
	p.configureGate(first)
	p.books.prompts.install(first.routes.list)
	first.followCaches()
	p.metrics.set.RegisterMetricsWriter(p.writeRoutes)
	p.metrics.set.RegisterMetricsWriter(p.writeLimits)
	p.metrics.set.RegisterMetricsWriter(p.writePaces)
	p.metrics.set.RegisterMetricsWriter(p.books.cache.write)
	p.metrics.set.RegisterMetricsWriter(p.books.prompts.write)
	p.metrics.set.RegisterMetricsWriter(p.writeGhosts)
	p.metrics.set.RegisterMetricsWriter(p.books.cache.writeRevalidations)
	p.metrics.origins(func() map[string]*providerState { return p.settings.Load().providers })
	if p.clients, err = newClients(c.RawIO); err != nil {
		return nil, err
	}
	p.metrics.set.NewGauge(metricClients, func() float64 { return float64(p.clients.count()) })
	p.metrics.set.NewGauge(metricFollowers, func() float64 { return float64(p.flights.Followers()) })
	p.metrics.logCounters(p.log)
	p.memory = newMemoryGuard(int64(c.MemoryLimit), float64(c.MemoryThreshold)/100)
	p.metrics.set.RegisterMetricsWriter(p.memory.write)
	p.server = p.newServer(c)
	return p, nil
}

// Metrics is the set of the request path's metrics.
func (p *Proxy) Metrics() *metrics.Set { return p.metrics.set }

// Run keeps the connections to the providers in order, and an eye on the memory, until ctx is done.
func (p *Proxy) Run(ctx context.Context) {
	var guard sync.WaitGroup
	guard.Go(func() { p.memory.run(ctx) })
	defer guard.Wait()
	tick, glance := time.NewTicker(time.Second), time.NewTicker(routeGlance)
	defer tick.Stop()
	defer glance.Stop()
	for {
		select {
		case now := <-glance.C:
			p.settings.Load().routes.picks.Tick(now, p.targetChanged)
		case now := <-tick.C:
			p.gate.Sweep(now)
			for _, s := range p.settings.Load().providers {
				s.origin.CloseIdle(now)
			}
			p.paces.Sweep(now)
		case <-ctx.Done():
			p.closeOrigins()
			return
		}
	}
}

// routeGlance is how often attempts that wait too long for an answer are looked at.
const routeGlance = 250 * time.Millisecond

// closeOrigins closes the connections to the providers, and those that are released later.
func (p *Proxy) closeOrigins() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	p.closed = true
	for _, s := range p.settings.Load().providers {
		s.origin.Close()
	}
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
	p.sample(x)
	if err := p.decode(ctx, x); err != nil {
		return err
	}
	p.admit(x)
	if x.known == nil && x.settings.callers.only {
		return fail(&unknownCaller, nil)
	}
	r := x.settings.routes.match(x)
	if answered, err := p.lookUp(x, r); answered || err != nil {
		return err
	}
	err := p.reserve(x, r)
	if err == nil {
		err = p.route(x, r)
	}
	if err == nil {
		err = p.dispatch(ctx, x)
	}
	if err != nil || x.unserved(nil) && !x.isRelayed() {
		x.endFlight(err) // before an old answer takes the place of the failure
	}
	if p.standIn(x, err) {
		return nil
	}
	return err
}

// panicked ends an exchange that met a bug: it alone pays for it.
func (p *Proxy) panicked(ctx *fasthttp.RequestCtx, x *Exchange, r any) {
	err := p.recovered(x, r)
	ctx.SetStatusCode(http.StatusInternalServerError) // should even the error's answer fail
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
