package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"gopkg.in/natefinch/lumberjack.v2"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/alert"
	"llm-auto-optimizer/optimizer/control"
	"llm-auto-optimizer/optimizer/jobs"
	"llm-auto-optimizer/optimizer/runner"
	"llm-auto-optimizer/proxy"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/storage"
)

// gateway is a whole server: the proxy, the admin service and what keeps them going.
type gateway struct {
	config  *config.Config // at the start; reloader has what is in force
	reload  *reloader
	log     zerolog.Logger // of the server itself
	logs    *logs
	proxy   *proxy.Proxy
	admin   *control.Server
	policy  *policy.Holder
	windows *window.Recorder
	ledger  *ledger.Ledger
	durable *durable // nil: state is in memory only
	cache   *storage.Cache
	saver   *saver
	jobs    *jobs.Runner
	otel    *telemetry // nil: nothing is sent
	marks   marks
	spent   *balances // nil: nothing is stored
	ring    *window.Ring
	plant   *plant

	optimizer *runner.Runner
	analyst   *analyst
	alerts    *alert.Alerter
	watched   map[string]bool // keys of alerts of targets; of keepTime
	prices    *config.PriceBook
	access    *proxy.AccessLog
	logFile   *lumberjack.Logger // nil where the access log is no file of ours

	proxyURL, adminURL string
	proxyLn, adminLn   net.Listener
	socketLn           net.Listener // nil: none
	proxyTLS, adminTLS *certified   // nil: plain HTTP
	draining           atomic.Bool  // not ready any more
	stopping           context.Context
	stop               context.CancelFunc
	background         sync.WaitGroup
	drained            context.Context // done when no exchange is under way any more
	setDrained         context.CancelFunc
	failed             chan error // a listener that ended by itself
}

// newGateway builds a server and opens its listeners, so that its addresses are known. Nothing is served before start. o is what c
// was loaded with.
func newGateway(c *config.Config, o config.Options, stdout, stderr io.Writer) (_ *gateway, err error) {
	g := &gateway{config: c, failed: make(chan error, 4)}
	g.reload = newReloader(g, o, c)
	g.logs = newLogs(&c.Log, stderr)
	g.log = g.logs.of(logServer)
	g.stopping, g.stop = context.WithCancel(context.Background())
	g.drained, g.setDrained = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	g.openDurable(&c.Storage) // first, since another process takes its time
	embedded, err := config.EmbeddedPrices()
	if err != nil {
		return nil, fmt.Errorf("built-in prices: %w", err)
	}
	if g.prices, err = config.NewPriceBook(embedded, c.Prices.File, c.Prices.Refresh, g.pricesReloaded); err != nil {
		return nil, fmt.Errorf("%w: prices.file: %w", errUsage, err)
	}
	if g.proxyTLS, err = newCertified(c.Server.TLSCert, c.Server.TLSKey, "", "http/1.1"); err != nil {
		return nil, fmt.Errorf("%w: server.tls_cert: %w", errUsage, err)
	}
	if g.adminTLS, err = newCertified(c.Admin.TLSCert, c.Admin.TLSKey, c.Admin.ClientCA, "h2", "http/1.1"); err != nil {
		return nil, fmt.Errorf("%w: admin.tls_cert: %w", errUsage, err)
	}
	to, file, err := openAccessLog(&c.Log, stdout, stderr)
	if err != nil {
		return nil, err
	}
	g.logFile = file
	g.access = proxy.NewAccessLog(to)
	g.windows = window.NewRecorder(c.Windows.MaxSeries)
	g.ring = window.NewRing()
	g.ledger = ledger.New(maxAccounts)
	g.alerts = alert.New(alert.OptionsOf(&c.Alerts, buildVersion().Version), g.logs.of(logOptimizer))
	g.analyst = newAnalyst(g)
	g.newOptimizer(c)
	if g.otel, err = newTelemetry(&c.Telemetry, g.log); err != nil {
		return nil, err
	}
	g.policy = policy.NewHolder(proxy.PolicyOf(c))
	g.restore()
	if err := g.newCache(c); err != nil {
		return nil, err
	}
	if g.proxy, err = proxy.New(proxy.Options{
		Config: g.withHashKey(c), Cache: g.cache, Policy: g.policy, Prices: g.prices.Table, Windows: g.windows, Ledger: g.ledger, Ring: g.ring, Changed: g.optimizer.Alarm, Traces: g.otel.sampled(), Access: g.access, Log: g.logs.of(logProxy),
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	g.marks.g = g
	g.marks.restore()
	g.restoreBalances()
	if g.proxyLn, err = net.Listen("tcp", c.Server.Listen); err != nil {
		return nil, fmt.Errorf("server.listen: %w", err)
	}
	if c.Server.Socket != "" {
		if g.socketLn, err = listenUnix(c.Server.Socket); err != nil {
			return nil, fmt.Errorf("server.unix_socket: %w", err)
		}
	}
	if g.adminLn, err = net.Listen("tcp", c.Admin.Listen); err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	g.proxyURL = listenURL(g.proxyLn.Addr().String(), g.proxyTLS != nil)
	g.adminURL = listenURL(g.adminLn.Addr().String(), g.adminTLS != nil)
	if err := g.newJobs(c); err != nil {
		return nil, err
	}
	sets := []*metrics.Set{g.proxy.Metrics(), g.priceMetrics(), g.reload.metrics(), g.jobs.Metrics(), g.optimizer.Metrics(), g.alerts.Metrics(), g.cacheMetrics()}
	if g.durable != nil {
		sets = append(sets, g.durable.metrics(), g.durable.keeper.Metrics(), g.spent.metrics())
	}
	if g.otel != nil {
		sets = append(sets, g.otel.metrics())
	}
	if err := g.otel.observe(&c.Telemetry, sets); err != nil {
		return nil, err
	}
	g.saver = &saver{g: g, began: time.Now()}
	host, _, _ := net.SplitHostPort(c.Admin.Listen)
	g.admin = control.New(control.Options{
		Version: buildVersion(), ProxyURL: g.proxyURL, AdminURL: g.adminURL,
		Token: c.Admin.Token, Host: host, Pprof: c.Admin.Pprof,
		Providers: func() map[string]config.Provider { return g.reload.current.Load().Providers }, Policy: g.policy, Ready: g.ready,
		Notices: g.notices, Windows: g.windows, Jobs: g.jobs, State: g.stateAPI(), Routes: routesAPI{g}, Cache: cacheAPI{g}, Limits: g.listLimits, Optimizer: g.optimizer, Saved: g.saver.since, Mode: g.mode, Metrics: sets, Log: g.logs.of(logAdmin),
	})
	return g, nil
}

// start serves until shutdown.
func (g *gateway) start() {
	g.background.Go(func() { g.proxy.Run(g.stopping) })
	g.background.Go(func() { g.prices.Run(g.stopping) })
	g.background.Go(func() { g.reload.run(g.stopping) })
	g.background.Go(func() { g.optimizer.Run(g.stopping) })
	g.background.Go(func() { g.alerts.Run(g.stopping) })
	g.background.Go(g.keepTime)
	g.background.Go(func() {
		if err := g.jobs.Run(g.stopping); err != nil {
			g.failed <- err
		}
	})
	if g.otel != nil {
		g.background.Go(func() { g.otel.run(g.drained) })
	}
	if g.durable != nil {
		g.background.Go(func() { g.spent.run(g.drained) })
		g.background.Go(func() { g.durable.keeper.Run(g.drained, stateGrace) })
	}
	g.background.Go(func() {
		if err := g.proxy.Serve(g.proxyLn, g.proxyTLS.config()); err != nil {
			g.failed <- fmt.Errorf("proxy: %w", err)
		}
	})
	if g.socketLn != nil {
		g.background.Go(func() {
			if err := g.proxy.Serve(g.socketLn, nil); err != nil {
				g.failed <- fmt.Errorf("proxy: %w", err)
			}
		})
	}
	g.background.Go(func() {
		if err := g.admin.Serve(g.adminLn, g.adminTLS.config()); err != nil && !errors.Is(err, http.ErrServerClosed) {
			g.failed <- fmt.Errorf("admin: %w", err)
		}
	})
}

// keepTime lets the windows seal what is over, off the request path, and tells systemd that the process is alive.
func (g *gateway) keepTime() {
	watchdog := newWatchdog()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			g.windows.Advance(now)
			watchdog.alive(now)
			g.watchTargets()
		case <-g.drained.Done():
			return
		}
	}
}

var errShuttingDown = errors.New("shutting down")

func (g *gateway) ready() error {
	if g.draining.Load() {
		return errShuttingDown
	}
	return nil
}

// drain says that the server is not ready any more and leaves clients the time to notice.
func (g *gateway) drain() {
	g.draining.Store(true)
	g.proxy.Drain()
	if delay := g.reload.current.Load().Server.DrainDelay; delay > 0 {
		g.log.Info().Dur("delay", delay).Msg("not ready any more; connections are accepted until the delay is over")
		time.Sleep(delay)
	}
}

// shutdown drains and ends the server: no new connections, the exchanges under way may finish within the configured time, then they are
// cut; the admin service goes last.
func (g *gateway) shutdown() error {
	g.drain()
	return g.end()
}

// end is a shutdown without delay.
func (g *gateway) end() error {
	g.draining.Store(true)
	g.stop()
	grace, cancel := context.WithTimeout(context.Background(), g.reload.current.Load().Server.ShutdownTimeout)
	defer cancel()
	err := g.proxy.Shutdown(grace)
	for _, ln := range []net.Listener{g.proxyLn, g.socketLn} { // a shutdown that comes before Serve does not know of them
		if ln != nil {
			_ = ln.Close()
		}
	}
	g.setDrained()
	last, cancelLast := context.WithTimeout(context.Background(), time.Second)
	defer cancelLast()
	err = errors.Join(err, g.admin.Shutdown(last))
	err = errors.Join(err, g.awaitBackground())
	g.release()
	return err
}

// backgroundGrace is the time that background work gets to end, the last writes of the state and of telemetry included.
const backgroundGrace = 15 * time.Second

var errBackground = errors.New("background work did not end in time")

func (g *gateway) awaitBackground() error {
	ended := make(chan struct{})
	go func() {
		g.background.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(backgroundGrace):
		return errBackground
	}
}

// release lets go of what newGateway took.
func (g *gateway) release() {
	g.stop()
	g.setDrained()
	g.reload.close()
	g.otel.close()
	if g.cache != nil {
		_ = g.cache.Close()
	}
	if g.durable != nil {
		_ = g.durable.store.Close()
	}
	for _, ln := range []net.Listener{g.proxyLn, g.socketLn, g.adminLn} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	if g.access != nil {
		g.access.Close()
	}
	if g.logFile != nil {
		_ = g.logFile.Close()
	}
}

func (g *gateway) pricesReloaded(t *config.PriceTable, err error) {
	file := g.reload.current.Load().Prices.File
	if err != nil {
		g.log.Error().Err(err).Str("file", file).Msg("price file refused, the last good prices stay")
		return
	}
	g.log.Info().Str("file", file).Int("models", t.Len()).Msg("prices reloaded")
}

// priceMetrics tells how the price table is kept.
func (g *gateway) priceMetrics() *metrics.Set {
	set := metrics.NewSet()
	set.NewGauge("llmopt_price_models", func() float64 { return float64(g.prices.Table().Len()) })
	set.RegisterMetricsWriter(func(w io.Writer) {
		metrics.WriteCounterUint64(w, "llmopt_price_reloads_total", g.prices.Reloads())
		metrics.WriteCounterUint64(w, "llmopt_price_reload_errors_total", g.prices.Failures())
	})
	return set
}
