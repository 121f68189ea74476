package proxy

import (
	"fmt"
	"reflect"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
)

// settings are what the configuration tells the request path. They never change: a reload puts others in their place, and an
// exchange obeys those that were in force when it began.
type settings struct {
	providers  map[string]*providerState
	builtin    [provider.Gemini + 1]*providerState // by dialect: whom a path without a provider's name means
	fallback   *providerState                      // whose dialect shapes errors while nothing better is known
	routes     *routes
	direct     *routeCache     // of requests that no route matches; nil: none
	answerRoom int64           // bytes for the kept answers of all routes
	policy     policy.Snapshot // what the configuration itself asks for
	flags      *config.FlagSet
	callers    callers
	limits     limits

	maxBody, replayLimit      int
	bodyTimeout, writeTimeout time.Duration
	responseHeaders           bool
}

// newSettings takes over from old the providers that have not changed, with their connections. old may be nil.
func newSettings(c *config.Config, old *settings, rawIO bool, books *books, h *hasher) (*settings, error) {
	s := &settings{
		providers:       make(map[string]*providerState, len(c.Providers)),
		policy:          PolicyOf(c),
		flags:           c.Flags,
		callers:         newCallers(c, h),
		limits:          newLimits(c),
		maxBody:         int(c.Server.MaxBody),
		replayLimit:     int(c.Server.ReplayLimit),
		bodyTimeout:     c.Server.BodyTimeout,
		writeTimeout:    c.Server.WriteTimeout,
		responseHeaders: c.Server.ResponseHeaders,
	}
	for _, name := range c.ProviderNames() {
		pc := c.Providers[name]
		state := old.keep(&pc)
		if state == nil {
			var err error
			if state, err = newProviderState(&pc, rawIO); err != nil {
				return nil, err
			}
		}
		s.providers[name] = state
		if d := state.dialect; name == d.String() {
			s.builtin[d] = state
		}
	}
	var before *routes
	if old != nil {
		before = old.routes
	}
	var err error
	if s.routes, err = newRoutes(c, s.providers, before, time.Now()); err != nil {
		return nil, err
	}
	if s.direct, err = newRouteCache(&c.Cache.CacheRules, directRoute, "", &books.cache); err != nil {
		return nil, err
	}
	for _, r := range s.routes.list {
		if s.routes != before { // else they have all that, and requests are reading it
			if r.answers, err = newRouteCache(&r.config.Cache, r.name, cacheKeyOf(&r.config, s.providers), &books.cache); err != nil {
				return nil, fmt.Errorf("routes.%s.%w", r.name, err)
			}
			if r.answers != nil {
				r.answers.about = fmt.Sprint(r.answers.key, r.config.Classes)
			}
			r.prompts = books.prompts.book(&r.config)
		}
	}
	s.answerRoom = int64(max(c.Cache.Memory, c.Cache.Disk))
	if s.fallback = s.builtin[provider.OpenAI]; s.fallback == nil {
		s.fallback = &providerState{dialect: provider.OpenAI}
	}
	return s, nil
}

// followCaches has ghosts follow the routes that have come into force.
func (s *settings) followCaches() {
	for _, r := range s.routes.list {
		r.answers.follow(s.answerRoom)
	}
}

// keep is the state of a provider whose configuration is still the same, or nil.
func (s *settings) keep(c *config.Provider) *providerState {
	if s == nil {
		return nil
	}
	if state := s.providers[c.Name]; state != nil && reflect.DeepEqual(&state.config, c) {
		return state
	}
	return nil
}

// limitsOf are the parameters of a provider: of the policy in force, or, where that does not know the provider, because one of
// the two was replaced a moment before the other, of the configuration.
func (x *Exchange) limitsOf(name string) policy.Provider {
	if l, ok := x.policy.Providers[name]; ok {
		return l
	}
	return x.settings.policy.Providers[name]
}

// Prepare makes ready for another configuration; commit puts it in force in one step and must be called before the next Prepare, or
// never. Exchanges under way finish on the one that they began with; providers that have not changed keep their connections. Of
// the configuration it obeys the providers, the flags, and those keys of server that need no restart. When it returns an error nothing has
// changed. One goroutine at a time may call the two.
func (p *Proxy) Prepare(c *config.Config) (commit func(), err error) {
	old := p.settings.Load()
	next, err := newSettings(c, old, p.rawIO, &p.books, &p.hasher)
	if err != nil {
		return nil, err
	}
	return func() { p.replace(old, next) }, nil
}

func (p *Proxy) replace(old, next *settings) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	p.publish(old, next)
	p.settings.Store(next)
	next.routes.forgetPaced(time.Now())
	p.configureGate(next)
	p.books.prompts.install(next.routes.list)
	next.followCaches()
	for name, state := range old.providers {
		now := next.providers[name]
		if now == state {
			continue
		}
		if now != nil {
			now.origin.Succeed(state.origin)
			p.targets.forget(name)
		}
		state.origin.Close()
	}
	if p.closed {
		for _, state := range next.providers {
			state.origin.Close()
		}
	}
}

// publish puts what the configuration has changed in force as policy. What it has not changed stays as it was tuned.
func (p *Proxy) publish(old, next *settings) {
	for {
		base := p.policy.Load()
		s := *base
		s.Providers = make(map[string]policy.Provider, len(next.policy.Providers))
		for name, configured := range next.policy.Providers {
			tuned, known := base.Providers[name]
			if before, was := old.policy.Providers[name]; known && was && before == configured {
				s.Providers[name] = tuned
			} else {
				s.Providers[name] = configured
			}
		}
		s.Routes = mergeRoutes(base.Routes, old.policy.Routes, next.policy.Routes)
		if s.Same(base) {
			return
		}
		if _, err := p.policy.Publish(base, s); err == nil {
			return
		} // somebody else was faster
	}
}

// mergeRoutes keeps of each route what was tuned, unless its configuration has changed.
func mergeRoutes(tuned, before, configured map[string]policy.Route) map[string]policy.Route {
	if configured == nil {
		return nil
	}
	out := make(map[string]policy.Route, len(configured))
	for name, r := range configured {
		out[name] = r
		if t, known := tuned[name]; known && reflect.DeepEqual(before[name], r) {
			out[name] = t
		}
	}
	return out
}
