package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/alert"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/policy"
)

const (
	// reloadQuiet is how long a change of files may go on before it is read: editors and deployments write more than one.
	reloadQuiet = 200 * time.Millisecond
	// reloadPoll is how often files are looked at where the file system sends no news.
	reloadPoll = 10 * time.Second
)

// reloader puts changed settings in force while the server runs: as a whole or not at all.
type reloader struct {
	options config.Options
	started *config.Config // what needs a restart to change
	gateway *gateway
	hangup  chan os.Signal

	mu       sync.Mutex // one reload at a time
	current  atomic.Pointer[config.Config]
	reloads  atomic.Uint64
	failures atomic.Uint64
	broken   atomic.Bool  // the newest settings were refused
	pending  atomic.Int64 // keys that wait for a restart
	at       atomic.Int64 // last success, Unix seconds
}

func newReloader(g *gateway, o config.Options, c *config.Config) *reloader {
	r := &reloader{options: o, started: c, gateway: g, hangup: make(chan os.Signal, 1)}
	signal.Notify(r.hangup, syscall.SIGHUP) // from the first moment on: unhandled, it ends the process
	r.current.Store(c)
	r.at.Store(time.Now().Unix())
	return r
}

// close gives SIGHUP back.
func (r *reloader) close() { signal.Stop(r.hangup) }

// run reloads when a file changes and at SIGHUP, until ctx is done.
func (r *reloader) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		w := config.NewWatcher(reloadQuiet, reloadPoll, func(err error) {
			r.gateway.log.Warn().Err(err).Dur("poll", reloadPoll).Msg("no news of changed files: they are looked at from time to time")
		})
		w.Run(ctx, func() ([]string, config.Fingerprint) { return r.current.Load().Files() }, func() { _ = r.reload("file changed") })
	})
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangup:
			_ = r.reload("SIGHUP")
		}
	}
}

// reload reads all settings and puts them in force. When they are refused, those in force stay.
func (r *reloader) reload(why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.gateway.log.With().Str("why", why).Logger()
	c, commit, err := r.prepare()
	if err != nil {
		for _, reason := range reasons(err) {
			log.Error().Str("problem", reason).Msg("settings refused, those in force stay")
		}
		r.broken.Store(true)
		r.failures.Add(1) // last: who sees it finds the reason in the log
		return err
	}
	changed := config.Changed(r.current.Load(), c)
	waiting := config.NeedRestart(r.started, c)
	before := r.gateway.policy.Load()
	commit()
	g := r.gateway
	g.marks.again()
	r.current.Store(c)
	r.optimizer(c)
	g.alerts.Set(alert.OptionsOf(&c.Alerts, buildVersion().Version))
	r.journal(before, changed)
	r.reloads.Add(1)
	r.broken.Store(false)
	r.pending.Store(int64(len(waiting)))
	r.at.Store(time.Now().Unix())
	log.Info().Strs("changed", changed).Msg("settings reloaded")
	if len(waiting) > 0 {
		log.Warn().Strs("keys", waiting).Msg("these settings have changed but need a restart")
	}
	return nil
}

// optimizerTimeout is how long a reload waits for the optimizer to obey it.
const optimizerTimeout = 10 * time.Second

// optimizer has the optimizer obey new settings.
func (r *reloader) optimizer(c *config.Config) {
	ctx, cancel := context.WithTimeout(r.gateway.stopping, optimizerTimeout)
	defer cancel()
	r.gateway.optimizer.Change(ctx, optimizerOf(c))
}

// journal notes what the new settings have changed of the policy.
func (r *reloader) journal(before *policy.Snapshot, changed []string) {
	g := r.gateway
	now := g.policy.Load()
	if g.durable == nil || now.Version == before.Version {
		return
	}
	g.durable.keeper.Journal(state.Entry{
		At: time.Now(), Kind: state.KindConfiguration, Reason: "settings reloaded", From: before.Version, To: now.Version, Changed: changed,
	}, now)
}

// prepare makes everything that obeys settings ready for the new ones. Until commit is called nothing has changed.
func (r *reloader) prepare() (c *config.Config, commit func(), err error) {
	g := r.gateway
	if c, err = config.Load(r.options); err != nil {
		return nil, nil, err
	}
	prices, err := g.prices.Prepare(c.Prices.File, c.Prices.Refresh)
	if err != nil {
		return nil, nil, err
	}
	proxyTLS, err := g.proxyTLS.prepare(c.Server.TLSCert, c.Server.TLSKey, "")
	if err != nil {
		return nil, nil, err
	}
	adminTLS, err := g.adminTLS.prepare(c.Admin.TLSCert, c.Admin.TLSKey, c.Admin.ClientCA)
	if err != nil {
		return nil, nil, err
	}
	schedule, err := scheduleOf(c)
	if err != nil {
		return nil, nil, err
	}
	proxy, err := g.proxy.Prepare(c)
	if err != nil {
		return nil, nil, err
	}
	return c, func() {
		if err := g.jobs.Reschedule(schedule); err != nil {
			g.log.Error().Err(err).Msg("jobs can't be scheduled anew")
		}
		prices()
		proxyTLS()
		adminTLS()
		g.logs.set(&c.Log)
		g.resizeCache(c)
		proxy()
	}, nil
}

// reasons are the problems behind an error, one by one.
func reasons(err error) (out []string) {
	wrong := new(config.Error)
	if !errors.As(err, &wrong) {
		return []string{err.Error()}
	}
	for _, p := range wrong.Problems {
		out = append(out, p.String())
	}
	return out
}

// metrics tells how the settings are kept.
func (r *reloader) metrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(func(w io.Writer) {
		metrics.WriteCounterUint64(w, "llmopt_config_reloads_total", r.reloads.Load())
		metrics.WriteCounterUint64(w, "llmopt_config_reload_errors_total", r.failures.Load())
	})
	set.NewGauge("llmopt_config_refused", func() float64 {
		if r.broken.Load() {
			return 1
		}
		return 0
	})
	set.NewGauge("llmopt_config_pending_restart", func() float64 { return float64(r.pending.Load()) })
	set.NewGauge("llmopt_config_loaded_timestamp_seconds", func() float64 { return float64(r.at.Load()) })
	return set
}
