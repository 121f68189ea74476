package proxy

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
)

// routes are the routes of a configuration as the request path needs them.
type routes struct {
	picks *pick.Routes
	list  []*routeState // in the order of the configuration
	of    map[*pick.Route]*routeState
}

// routeState is a route with what a request needs of it. It is immutable but for the state of its targets and what it learns of outputs.
type routeState struct {
	name    string
	id      limit.ID
	config  config.Route
	pick    *pick.Route
	dialect provider.Dialect
	targets []*routeTarget // by the index that pick knows them by
	reach   []*routeTarget // those, and those of the routes that it falls back on
	models  []glob
	headers []headerMatch
	retryOn [600]bool
	allows  struct{ target, attempts, timeout, affinity, hedge bool }
	outputs [classes]average // tokens of answers, by class of input
	answers *routeCache      // nil: none are kept
	prompts *promptRoute     // nil: prompts are not marked for the provider's cache
}

// routeTarget is a target of a route: how to reach it, and what it is known by.
type routeTarget struct {
	owner      *owner
	model      string // empty: the client's
	modelBytes []byte
	base       *providerState // as configured
	own        *providerState // with the target's key, or the provider's
	stripped   *providerState // the same without the client's credential; nil where that is replaced anyway
	keyed      bool           // a configured key is used
	prices     config.TargetPrice
	picks      [pick.Whys]atomic.Uint64    // by pick.Why
	pace       atomic.Pointer[pacing.Pace] // of the last attempt
	paced      pacedCounts
}

// glob is a name with * for any run of characters.
type glob string

func (g glob) matches(s []byte) bool {
	head, tail, open := strings.Cut(string(g), "*")
	if !open {
		return string(s) == string(g)
	}
	if !bytes.HasPrefix(s, []byte(head)) {
		return false
	}
	s = s[len(head):]
	for {
		var middle string
		if middle, tail, open = strings.Cut(tail, "*"); !open {
			return bytes.HasSuffix(s, []byte(middle))
		}
		i := bytes.Index(s, []byte(middle))
		if i < 0 {
			return false
		}
		s = s[i+len(middle):]
	}
}

type headerMatch struct {
	name  string
	value glob
}

func headerMatches(all map[string]string) (list []headerMatch) {
	for name, value := range all {
		list = append(list, headerMatch{name, glob(value)})
	}
	slices.SortFunc(list, func(a, b headerMatch) int { return strings.Compare(a.name, b.name) })
	return list
}

// average forgets slowly. Updates that race may get lost.
type average struct{ bits atomic.Int64 }

func (a *average) add(n int64) {
	old := a.bits.Load()
	if old == 0 {
		a.bits.Store(n)
		return
	}
	a.bits.Store(old + (n-old)/16)
}

func (a *average) value() int64 { return a.bits.Load() }

// newRoutes makes the routes of a configuration. Targets that are the same as before keep their state; old may be nil.
func newRoutes(c *config.Config, providers map[string]*providerState, old *routes, epoch time.Time) (*routes, error) {
	rs := &routes{of: map[*pick.Route]*routeState{}}
	var specs []pick.Spec
	for _, r := range c.RouteList() {
		s := &routeState{name: r.Name, id: limit.Name(r.Name), config: r}
		for _, m := range r.Match.Model {
			s.models = append(s.models, glob(m))
		}
		s.headers = headerMatches(r.Match.Header)
		for _, pattern := range r.RetryOn {
			for status := range s.retryOn {
				digits := fmt.Sprintf("%03d", status)
				s.retryOn[status] = s.retryOn[status] || pattern == digits || pattern == digits[:1]+"xx"
			}
		}
		allows := func(name string) bool { return slices.Contains(r.Overrides, name) }
		s.allows.target, s.allows.attempts, s.allows.timeout = allows("target"), allows("attempts"), allows("timeout")
		s.allows.affinity, s.allows.hedge = allows("affinity"), allows("hedge")
		spec := specOf(&r)
		for _, t := range r.TargetList() {
			p := providers[t.Provider]
			if p == nil {
				return nil, fmt.Errorf("routes.%s.targets.%s.provider: no provider %q", r.Name, t.Name, t.Provider)
			}
			target := newRouteTarget(&r, &t, p)
			s.targets = append(s.targets, target)
			s.dialect = p.dialect
			spec.Targets = append(spec.Targets, pick.TargetSpec{
				Name: t.Name, Identity: fmt.Sprintf("%s %s %x", t.Provider, t.Model, keyOf(&t, p)), Priority: t.Priority, MaxConcurrency: t.MaxConcurrency,
				Equal: fmt.Sprintf("%s %v", t.Model, t.Price), Dialect: uint8(p.dialect),
			})
		}
		specs = append(specs, spec)
		rs.list = append(rs.list, s)
	}
	var before *pick.Routes
	if old != nil {
		before = old.picks
	}
	var err error
	if rs.picks, err = pick.NewRoutes(specs, before, epoch); err != nil {
		return nil, err
	}
	if rs.picks == before && old.same(rs) {
		return old, nil
	}
	for _, s := range rs.list {
		s.pick = rs.picks.Route(s.name)
		rs.of[s.pick] = s
		s.reach = rs.reachOf(s)
	}
	return rs, nil
}

// reachOf are the targets that may serve a route's exchanges: its own, and those of the routes that it falls back on.
func (rs *routes) reachOf(s *routeState) []*routeTarget {
	reach, f := slices.Clone(s.targets), &s.config.Fallback
	for _, name := range slices.Concat(f.Error, f.RateLimit, f.Context, f.Content, f.Budget) {
		for _, other := range rs.list {
			if _, own := s.config.Targets[name]; !own && other.name == name {
				reach = append(reach, other.targets...)
			}
		}
	}
	return reach
}

// keyOf is the key that a target is asked with; empty: the client's.
func keyOf(t *config.Target, p *providerState) string {
	if !t.Key.Empty() {
		return t.Key.Reveal()
	}
	return p.config.APIKey.Reveal()
}

// same tells whether two sets of routes are configured alike, and reach their targets by the same providers.
func (rs *routes) same(o *routes) bool {
	return slices.EqualFunc(rs.list, o.list, func(a, b *routeState) bool {
		return reflect.DeepEqual(a.config, b.config) && slices.EqualFunc(a.targets, b.targets, func(a, b *routeTarget) bool { return a.base == b.base })
	})
}

func specOf(r *config.Route) pick.Spec {
	return pick.Spec{
		Name: r.Name, SLO: r.Objective.TTFTp95, Attempts: r.Attempts, Backoff: r.Backoff, MaxWait: r.MaxWait, FailFast: r.FailFast, Affinity: r.Affinity,
		Exploration: float64(r.Exploration),
		Fallback: [pick.Causes][]string{
			pick.Failed: r.Fallback.Error, pick.RateLimited: r.Fallback.RateLimit, pick.Context: r.Fallback.Context,
			pick.Content: r.Fallback.Content, pick.Budget: r.Fallback.Budget,
		},
		Ejection: pick.Ejection{
			Off: !r.Ejection.Enabled, FalseEvery: float64(r.Ejection.FalseIn), Base: r.Ejection.Base, Max: r.Ejection.Max, SlowStart: r.Ejection.SlowStart,
		},
	}
}

// newRouteTarget shares the provider's connections.
func newRouteTarget(r *config.Route, t *config.Target, p *providerState) *routeTarget {
	target := &routeTarget{
		owner: &owner{key: r.Name + "/" + t.Name + "@" + t.Provider, provider: t.Provider, route: r.Name, name: t.Name},
		model: t.Model, modelBytes: []byte(t.Model), base: p, own: p, keyed: p.hasKey, prices: t.Price,
	}
	if !t.Key.Empty() {
		target.own, target.keyed = p.withKey(t.Key), true
	}
	if !target.keyed {
		target.stripped = p.withoutCredential()
	}
	return target
}

// match is the first route that is for the request, or nil.
func (rs *routes) match(x *Exchange) *routeState {
	if len(rs.list) == 0 || x.operation == provider.Opaque || len(x.request.Model) == 0 || x.upgrade {
		return nil
	}
	for _, r := range rs.list {
		if r.dialect == x.provider.dialect && r.matches(x) {
			return r
		}
	}
	return nil
}

func (r *routeState) matches(x *Exchange) bool {
	m := &r.config.Match
	if len(r.models) == 0 && len(r.headers) == 0 && len(m.Tag) == 0 {
		return false // a fallback only
	}
	if len(r.models) > 0 && !slices.ContainsFunc(r.models, func(g glob) bool { return g.matches(x.request.Model) }) {
		return false
	}
	if !x.hasHeaders(r.headers) {
		return false
	}
	if len(m.Tag) == 0 {
		return true
	}
	for rest := x.peek(config.TagsHeader); len(rest) > 0; {
		var tag []byte
		tag, rest, _ = bytes.Cut(rest, []byte{','})
		if slices.Contains(m.Tag, string(bytes.TrimSpace(tag))) {
			return true
		}
	}
	return false
}

// classOf sorts a request by its input and by the output to expect of it.
func (r *routeState) classOf(input int64, maxOutput int64) class {
	k := &r.config.Classes
	c := cut(input, k.LightInput, k.MediumInput)
	output := r.outputs[c].value()
	if maxOutput > 0 && (output == 0 || maxOutput < output) {
		output = maxOutput
	}
	return max(c, cut(output, k.LightOutput, k.MediumOutput))
}

func cut(n int64, lightest, middling int) class {
	switch {
	case n <= int64(lightest):
		return light
	case n <= int64(middling):
		return medium
	default:
		return heavy
	}
}

// routePolicies is what the configuration itself asks of the routes.
func routePolicies(c *config.Config) map[string]policy.Route {
	if len(c.Routes) == 0 {
		return nil
	}
	out := make(map[string]policy.Route, len(c.Routes))
	for name, r := range c.Routes {
		p := policy.Parameters{
			Targets: make(map[string]policy.Target, len(r.Targets)), RetryShare: float64(r.RetryBudget), FirstByteFactor: r.FirstByteFactor,
			HedgeShare: float64(r.Hedge),
		}
		if r.Cache.Enabled {
			for class := range p.Cache.TTL {
				p.Cache.TTL[class] = r.Cache.TTL.Seconds()
			}
		}
		for target, t := range r.Targets {
			p.Targets[target] = policy.Target{Weights: [policy.Classes]float64{t.Weight, t.Weight, t.Weight}, Pace: paceShareOf(c, &t)}
		}
		p.Limits = limitsPolicy(c, &r)
		out[name] = policy.Route{Parameters: p}
	}
	return out
}
