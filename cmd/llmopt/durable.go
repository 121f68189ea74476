package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/storage"
)

const (
	// restoreWait is how long the start waits for stored state. What comes later is restored while requests are served.
	restoreWait = 3 * time.Second
	// windowsWait is how long it waits for the windows then, which no request depends on.
	windowsWait = 150 * time.Millisecond
	// stateGrace is the time that the last writes get on shutdown.
	stateGrace = 5 * time.Second
	// maxAccounts is how many callers × targets the totals keep apart.
	maxAccounts = 10_000
)

// durable is the state that outlives the process. Without a directory it is nil.
type durable struct {
	store  *storage.Store
	keeper *state.Keeper
	opened chan struct{} // closed when keeper is set: the store may be open before that
}

// openDurable begins to open the state; restore finishes it.
func (g *gateway) openDurable(c *config.Storage) {
	if c.Dir == "" {
		return
	}
	d := &durable{opened: make(chan struct{})}
	settings := *c
	if abs, err := filepath.Abs(settings.Dir); err == nil {
		settings.Dir = abs
	}
	d.store = storage.Start(storage.Options{
		Dir:     settings.Dir,
		Limits:  storage.Limits{MinFree: int64(settings.MinFree), MaxSize: int64(settings.MaxSize)},
		Command: func() *exec.Cmd { return engineProcess(&settings) },
		Opened: func() {
			select {
			case <-d.opened:
				d.keeper.Opened()
			case <-g.stopping.Done():
			}
		},
		Log: g.logs.of(logStorage),
	})
	g.durable = d
}

// hashKey is the key of the hashes that stand for callers. Where none is configured, one is drawn and stored, so that totals and
// limits of a caller outlive a restart.
func (d *durable) hashKey(ctx context.Context) (config.Secret, error) {
	const namespace, name = "server", "hash_key"
	key, err := d.store.Value(ctx, namespace, name)
	if errors.Is(err, storage.ErrNotFound) {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		err = d.store.PutValue(ctx, namespace, name, key, 0)
	}
	return config.NewSecret(hex.EncodeToString(key)), err
}

// restore brings back what was stored, and waits for it a little.
func (g *gateway) restore() {
	d := g.durable
	if d == nil {
		return
	}
	d.keeper = state.New(state.Options{
		Store: d.store, Windows: g.windows, Policy: g.policy, Totals: totals{g.ledger}, Log: g.logs.of(logState),
		Tuned: func() bool { return g.reload.current.Load().Optimizer.Enabled },
		Keep: func() state.Retention {
			r := &g.reload.current.Load().Storage.Retention
			return state.Retention{
				Slots:  [3]time.Duration{r.Finest, r.Minutes, r.Hours},
				Totals: r.Totals, Journal: r.Journal, Snapshots: uint64(r.Snapshots), //nolint:gosec // 1 at least
			}
		},
	})
	close(d.opened)
	wait, cancel := context.WithTimeout(g.stopping, restoreWait)
	defer cancel()
	d.store.Wait(wait)
	if d.store.Health() != nil {
		return // it has said why
	}
	select {
	case <-d.keeper.Ready():
	case <-wait.Done():
		g.log.Warn().Dur("waited", restoreWait).Msg("stored state takes long: requests are served meanwhile")
		return
	}
	select {
	case <-d.keeper.Complete():
	case <-time.After(windowsWait):
	}
}

// withHashKey is the settings with a key that outlives a restart, where none is configured.
func (g *gateway) withHashKey(c *config.Config) *config.Config {
	if g.durable == nil || !c.Server.HashKey.Empty() || g.durable.store.Health() != nil {
		return c
	}
	ctx, cancel := context.WithTimeout(g.stopping, restoreWait)
	defer cancel()
	key, err := g.durable.hashKey(ctx)
	if err != nil {
		g.log.Warn().Err(err).Msg("no stored key of the callers' hashes: they are new ones until the next start")
		return c
	}
	with := *c
	with.Server.HashKey = key
	return &with
}

// notices are the troubles that do not keep the server from serving.
func (g *gateway) notices() (out []string) {
	if d := g.durable; d == nil {
		out = append(out, "storage.dir is empty: state is in memory only")
	} else if err := d.store.Health(); err != nil {
		out = append(out, fmt.Sprintf("state is in memory for now: %v", err))
	}
	if g.reload.broken.Load() {
		out = append(out, "the newest settings are refused and older ones in force: see the log, or llmopt check")
	}
	if n := g.reload.pending.Load(); n > 0 {
		out = append(out, fmt.Sprintf("%d changed settings need a restart", n))
	}
	return out
}

// metrics tells how the state is kept.
func (d *durable) metrics() *metrics.Set {
	set := metrics.NewSet()
	set.NewGauge("llmopt_storage_up", func() float64 {
		if d.store.Health() != nil {
			return 0
		}
		return 1
	})
	set.RegisterMetricsWriter(func(w io.Writer) {
		restarts, aside := d.store.Restarts()
		metrics.WriteCounterUint64(w, "llmopt_storage_restarts_total", restarts)
		metrics.WriteCounterUint64(w, "llmopt_storage_set_aside_total", aside)
		metrics.WriteGaugeUint64(w, "llmopt_storage_bytes", uint64(max(0, d.store.Size())))
	})
	return set
}

// totals adapts the ledger to the keeper.
type totals struct{ *ledger.Ledger }

// Collect implements state.Totals.
func (t totals) Collect(now time.Time, yield func(hour int64, key, data []byte)) {
	t.Ledger.Collect(now, func(hour int64, k ledger.Key, s *ledger.Sums) {
		key, _ := k.AppendBinary(nil) // does not fail, nor does the next
		data, _ := s.AppendBinary(nil)
		yield(hour, key, data)
	})
}

// Restore implements state.Totals.
func (t totals) Restore(now time.Time, hour int64, key, data []byte) error {
	var k ledger.Key
	var s ledger.Sums
	if err := errors.Join(k.UnmarshalBinary(key), s.UnmarshalBinary(data)); err != nil {
		return err
	}
	t.Ledger.Restore(now, hour, k, &s)
	return nil
}

// Sum implements state.Totals.
func (totals) Sum(a, b []byte) ([]byte, error) {
	var x, y ledger.Sums
	if err := errors.Join(x.UnmarshalBinary(a), y.UnmarshalBinary(b)); err != nil {
		return nil, err
	}
	x.Add(&y)
	return x.AppendBinary(nil)
}
