package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/alert"
	"llm-auto-optimizer/optimizer/runner"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/storage"
)

// late is the part of the streams that may begin later than objective.ttft_p95, which is a 95th percentile.
const late = .05

// plant is the server as the optimizer's loop sees it.
type plant struct {
	g    *gateway
	base atomic.Pointer[policy.Snapshot]     // what Known has told of
	last atomic.Pointer[[2]*policy.Snapshot] // before and after the last change; nil: none yet
}

// Known implements optimizer.Plant.
func (p *plant) Known(now time.Time) (all []optimizer.Known) {
	base := p.g.policy.Load()
	p.base.Store(base)
	caches := p.g.knownCaches(now)
	for _, r := range p.g.reload.current.Load().RouteList() {
		in, known := base.Routes[r.Name]
		if !known {
			continue // the settings are being reloaded
		}
		k := optimizer.Known{
			Name: r.Name, Objective: objectiveOf(&r.Objective), InForce: in.Parameters, Static: in.Parameters, Holdback: in.Holdback, Canary: in.Canary,
		}
		if in.Static != nil {
			k.Static = *in.Static
		}
		k.Cache = caches[r.Name]
		k.Budgets = p.g.analyst.budgets(r.Name)
		for _, t := range r.TargetList() {
			target := p.g.proxy.Target(r.Name, t.Name)
			if target == nil {
				continue
			}
			_, k.Refused = target.Route().Repeats()
			s, rates, like := target.Status(now).State, p.ratesOf(&t), ""
			if r.Affinity {
				like = likeness(&t, rates)
			}
			k.Targets = append(k.Targets, optimizer.KnownTarget{
				Paced: p.paced(r.Name, t.Name),
				Name:  t.Name, Available: s == pick.Healthy || s == pick.Paced || s == pick.Full || s == pick.RateLimit, Returning: s == pick.SlowStart, Quality: float64(t.Quality), Price: priceOf(rates), Like: like,
			})
		}
		all = append(all, k)
	}
	return all
}

// paced is how attempts at a target have fared with its provider's limits.
func (p *plant) paced(route, target string) optimizer.KnownPace {
	c, _ := p.g.proxy.Paced(route, target)
	return optimizer.KnownPace(c)
}

// ratesOf is what settings and price list state of a target's price; nil where clients name the model, or nothing is known of it.
func (p *plant) ratesOf(t *config.Target) *config.Rates {
	provider := p.g.reload.current.Load().Providers[t.Provider]
	price, _ := p.g.prices.Table().Lookup(provider.PriceHint(), []byte(t.Model))
	if t.Price != (config.TargetPrice{}) {
		price = t.Price.Override(price)
	}
	if price == nil {
		return nil
	}
	rates := price.Rates(config.Standard, 0)
	return &rates
}

// priceOf is the price in dollars for a token.
func priceOf(r *config.Rates) optimizer.Price {
	if r == nil {
		return optimizer.Price{}
	}
	return optimizer.Price{Input: float64(r.Input) / 1e12, Output: float64(r.Output) / 1e12}
}

// likeness is the same for targets that serve the same model at the same price, that of cached tokens included, and as good as each other: where clients name the model, those of one provider.
func likeness(t *config.Target, r *config.Rates) string {
	if t.Model == "" || r == nil {
		return fmt.Sprintf("%s %s: %v, quality %v", t.Provider, t.Model, t.Price, t.Quality)
	}
	return fmt.Sprintf("%s: %v, quality %v", t.Model, *r, t.Quality)
}

// objectiveOf is what the settings say of violations, which are answers that begin late and those that fail, of quality and of cost.
func objectiveOf(o *config.Objective) optimizer.Objective {
	to := optimizer.Objective{TTFT: o.TTFTp95, Violations: float64(o.ErrorRate), Quality: float64(o.Quality), MaxCost: float64(o.MaxCost()) / 1e9}
	if o.TTFTp95 > 0 {
		to.Violations += late
	}
	return to
}

// Publish implements optimizer.Plant.
func (p *plant) Publish(routes map[string]policy.Route) error {
	base := p.base.Load()
	next := *base
	next.Routes = maps.Clone(base.Routes)
	maps.Copy(next.Routes, routes)
	now, err := p.g.policy.Publish(base, next)
	if err != nil {
		return err
	}
	p.last.Store(&[2]*policy.Snapshot{base, now})
	if d := p.g.durable; d != nil {
		d.keeper.Keep(now)
	}
	return nil
}

// good notes that what is in force has proved itself.
func (p *plant) good() {
	if p.g.durable == nil {
		return
	}
	version := p.g.policy.Load().Version
	p.g.background.Go(func() {
		ctx, cancel := context.WithTimeout(p.g.stopping, memoryTimeout)
		defer cancel()
		if err := p.g.durable.keeper.MarkGood(ctx, version); err != nil && p.g.stopping.Err() == nil {
			p.g.log.Warn().Err(err).Uint64("policy", version).Msg("a policy that has proved itself can't be marked")
		}
	})
}

// trouble tells whoever is to be told.
func (p *plant) trouble(title, text string) {
	p.g.alerts.Raise(alert.Alert{Key: "optimizer", Severity: alert.Critical, Title: title, Text: text, Event: true})
}

// untune puts all routes back to how they are configured.
func (p *plant) untune() {
	for {
		base := p.g.policy.Load()
		next := *base
		next.Routes = maps.Clone(base.Routes)
		tuned := false
		for name, r := range next.Routes {
			if r.Static != nil {
				next.Routes[name], tuned = policy.Route{Parameters: *r.Static}, true
			}
		}
		if !tuned {
			return
		}
		if now, err := p.g.policy.Publish(base, next); err == nil {
			p.g.log.Info().Msg("the optimizer is off: all routes are as configured")
			p.journal(&optimizer.Decision{At: time.Now(), Tuner: "operator", Verdict: optimizer.Ordered, Proposal: optimizer.Proposal{Reason: "the optimizer is switched off: all routes are as configured"}}, base, now)
			return
		}
	}
}

// journal stores a decision.
func (p *plant) journal(d *optimizer.Decision, before, now *policy.Snapshot) {
	if p.g.durable == nil {
		return
	}
	raw, err := json.Marshal(d)
	if err != nil {
		p.g.log.Error().Err(err).Str("decision", d.ID).Msg("a decision can't be written down")
	}
	e := state.Entry{At: d.At, Kind: state.KindDecision, Reason: d.String(), From: before.Version, To: now.Version, Decision: raw}
	for _, c := range d.Changes {
		e.Changed = append(e.Changed, "routes."+d.Route+"."+c.Name)
	}
	if !p.g.durable.keeper.TryJournal(e, p.g.policy.Load()) {
		p.g.log.Error().Str("decision", d.ID).Msg("a decision is not in the journal: too many wait to be stored")
	}
}

// decided notes a decision.
func (p *plant) decided(d *optimizer.Decision) {
	if a, worth := alertOf(d); worth {
		p.g.alerts.Raise(a)
	}
	before := p.g.policy.Load()
	now := before
	switch d.Verdict {
	case optimizer.Applied, optimizer.Trying, optimizer.Promoted, optimizer.RolledBack, optimizer.Ordered:
		if last := p.last.Load(); last != nil && last[1] == now {
			before = last[0]
		}
	default:
	}
	p.journal(d, before, now)
}

const (
	memoryNamespace = "optimizer"
	memoryName      = "loop"
	proofName       = "proof"
	memoryTimeout   = 5 * time.Second
)

// recall is what the optimizer has kept under a name in an earlier run, or nil.
func (g *gateway) recall(name string) func(context.Context) []byte {
	return func(ctx context.Context) []byte {
		if g.durable == nil {
			return nil
		}
		select { // nothing is decided before it is known what was
		case <-g.durable.keeper.Ready():
		case <-ctx.Done():
			return nil
		}
		for {
			call, cancel := context.WithTimeout(ctx, memoryTimeout)
			b, err := g.durable.store.Value(call, memoryNamespace, name)
			cancel()
			switch {
			case err == nil:
				return b
			case errors.Is(err, storage.ErrNotFound), ctx.Err() != nil:
				return nil
			}
			g.log.Warn().Err(err).Str("what", name).Msg("what the optimizer knew can't be read yet")
			select {
			case <-time.After(memoryTimeout):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// remember keeps something of the optimizer's for the next run.
func (g *gateway) remember(name string) func([]byte) {
	return func(b []byte) {
		if g.durable == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(g.stopping), memoryTimeout)
		defer cancel()
		if err := g.durable.store.PutValue(ctx, memoryNamespace, name, b, 0); err != nil {
			g.log.Warn().Err(err).Str("what", name).Msg("what the optimizer knows is not stored")
		}
	}
}

// newOptimizer makes the optimizer of the server.
func (g *gateway) newOptimizer(c *config.Config) {
	g.plant = &plant{g: g}
	g.optimizer = runner.New(runner.Options{
		Plant: g.plant, Ring: g.ring, Config: optimizerOf(c), Journal: g.plant.decided, Load: g.recall(memoryName), Save: g.remember(memoryName),
		LoadProof: g.recall(proofName), SaveProof: g.remember(proofName), Good: g.plant.good, Trouble: g.plant.trouble, Off: g.plant.untune,
		Log: g.logs.of(logOptimizer),
	})
}

// optimizerOf is what the settings say of the optimizer.
func optimizerOf(c *config.Config) runner.Config {
	o := &c.Optimizer
	bounds, trials := optimizer.DefaultBounds, optimizer.DefaultTrials
	bounds.Step, bounds.Most, bounds.Least = float64(o.MaxStep), float64(o.MaxMove), float64(o.MinMove)
	bounds.CoolDown, bounds.PerHour = o.CoolDown, o.PerHour
	trials.Least, trials.Requests, trials.Longest = o.Canary.Time, float64(o.Canary.Requests), o.Canary.Longest
	trials.Failures, trials.Violations = float64(o.Canary.Failures), float64(o.Canary.Violations)
	routing := optimizer.Routing{
		MinShare: float64(o.Routing.MinShare), MaxShare: float64(o.Routing.MaxShare), Confidence: float64(o.Routing.Confidence),
		MinCount: float64(o.Routing.MinCount), MinSaving: float64(o.Routing.MinSaving),
	}
	timeouts, budget, caching, limits := optimizer.DefaultTimeouts, optimizer.DefaultBudget, optimizer.DefaultCaching, optimizer.DefaultLimits
	caching.MinTTL, caching.MaxTTL = o.Caching.MinTTL, o.Caching.MaxTTL
	caching.MaxStale, caching.StaleCost = float64(o.Caching.MaxStale), o.Caching.StaleCost
	r := runner.Config{
		Enabled: o.Enabled, Deadline: o.Deadline, Tuners: []optimizer.Tuner{routing, timeouts, budget, caching, limits},
		Settings: optimizer.Settings{
			Bounds: bounds, Trials: trials, Holdback: float64(o.Holdback),
			Modes: map[string]optimizer.Mode{
				routing.Name(): modeOf(o.Routing.Mode), timeouts.Name(): modeOf(o.Timeouts.Mode), budget.Name(): modeOf(o.Budget.Mode),
				caching.Name(): modeOf(o.Caching.Mode), limits.Name(): modeOf(o.Limits.Mode),
			},
			Routes: map[string]map[string]optimizer.Mode{},
		},
	}
	for name, route := range c.Routes {
		own := map[string]optimizer.Mode{}
		for tuner, mode := range map[string]string{
			routing.Name(): route.Optimizer.Routing, timeouts.Name(): route.Optimizer.Timeouts, budget.Name(): route.Optimizer.Budget,
			caching.Name(): route.Optimizer.Caching, limits.Name(): route.Optimizer.Limits,
		} {
			if mode != "" {
				own[tuner] = modeOf(mode)
			}
		}
		r.Settings.Routes[name] = own
	}
	return r
}

// mode is how far any tuner may go.
func (g *gateway) mode() (most optimizer.Mode) {
	c := optimizerOf(g.reload.current.Load())
	if !c.Enabled {
		return optimizer.Observe
	}
	for _, m := range c.Settings.Modes {
		most = max(most, m)
	}
	for _, own := range c.Settings.Routes {
		for _, m := range own {
			most = max(most, m)
		}
	}
	return most
}

// modeOf is a mode that was checked.
func modeOf(name string) optimizer.Mode {
	m, ok := optimizer.ParseMode(name)
	if !ok {
		panic("BUG: mode was checked: " + name)
	}
	return m
}
