package proxy

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/policy"
)

const (
	// directRoute names the route of requests that go where their path says.
	directRoute = "direct"
	// otherModel stands for the models beyond the number that is kept apart.
	otherModel = "other"
	// maxModelName bounds a model's name in metrics and logs, in bytes.
	maxModelName = 96
)

// owner is whose targets these are: a provider's that requests are sent to directly, or a configured target of a route.
type owner struct {
	key      string // tells owners apart
	provider string
	route    string
	name     string // of a route's target; empty: provider/model
}

// target is a provider with a model: what an attempt goes to, with what is known of it.
type target struct {
	name     string // provider/model, or what the route calls it
	id       limit.ID
	route    string
	provider string
	model    string
	metrics  *targetMetrics
	series   [classes][policy.Arms]atomic.Pointer[window.Series]

	refusesUsage  atomic.Bool   // it has answered 400 to stream_options
	refusedMarks  atomic.Int32  // in a row that it has answered 400 to cache_control
	bytesPerToken atomic.Uint64 // float64 bits: request bytes per input token, learned; for estimates
	price         atomic.Pointer[overriddenPrice]
}

// overriddenPrice is a listed price with the settings of the target over it.
type overriddenPrice struct {
	listed, price *config.Price
	by            config.TargetPrice
}

// route says who is to serve the request: the targets of the route that it matches, else the provider that its path names with the model that its
// body names.
func (p *Proxy) route(x *Exchange, r *routeState) error {
	x.tier = config.ParseTier(x.request.ServiceTier)
	if r != nil {
		return p.enter(x, r)
	}
	x.aimAt(p.targets.find(x.provider.owner, x.request.Model), nil)
	return nil
}

// aimAt makes t the target of the attempt. prices are what its settings say of its price; nil: nothing.
func (x *Exchange) aimAt(t *target, prices *config.TargetPrice) {
	x.target, x.price = t, nil
	if model := x.upstreamModel(); len(model) > 0 {
		x.price, _ = x.p.prices().Lookup(x.provider.priceHint, model)
	}
	if prices != nil && *prices != (config.TargetPrice{}) {
		if o := t.price.Load(); o == nil || o.listed != x.price || o.by != *prices {
			t.price.Store(&overriddenPrice{x.price, prices.Override(x.price), *prices})
		}
		if o := t.price.Load(); o.price != nil {
			x.price = o.price
		}
	}
	series := &t.series[x.class][x.arm]
	if x.series = series.Load(); x.series == nil {
		x.series = x.p.windows.Series(window.Key{Target: t.name, Route: t.route, Class: x.class.String(), Arm: x.arm.String()})
		series.Store(x.series)
	}
}

// targets are the targets seen so far. Finding a known one takes no lock; the number is bounded, since clients name
// models as they like.
type targets struct {
	metrics *metricSet
	limit   int

	known atomic.Pointer[map[string]map[string]*target] // by owner and raw model name
	mu    sync.Mutex                                    // serialises additions
	size  int
}

func newTargets(m *metricSet, limit int) *targets {
	ts := &targets{metrics: m, limit: limit}
	ts.known.Store(&map[string]map[string]*target{})
	return ts
}

func (ts *targets) find(o *owner, model []byte) *target {
	if len(model) > maxModelName {
		model = []byte(otherModel)
	}
	if t := (*ts.known.Load())[o.key][string(model)]; t != nil {
		return t
	}
	return ts.add(o, string(model))
}

func (ts *targets) add(o *owner, model string) *target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	known := *ts.known.Load()
	if t := known[o.key][model]; t != nil {
		return t
	}
	if ts.size >= ts.limit && model != otherModel {
		if t := known[o.key][otherModel]; t != nil {
			return t
		}
		model = otherModel
	}
	t := &target{name: o.name, route: o.route, provider: o.provider, model: labelValue(model)}
	if t.name == "" {
		t.name = t.provider
		if t.model != "" {
			t.name += "/" + t.model
		}
	}
	t.id = limit.Name(t.name)
	t.bytesPerToken.Store(math.Float64bits(defaultBytesPerToken))
	t.metrics = ts.metrics.target(t)
	next := maps.Clone(known)
	models := maps.Clone(next[o.key])
	if models == nil {
		models = map[string]*target{}
	}
	models[model] = t
	next[o.key] = models
	ts.known.Store(&next)
	ts.size++
	return t
}

// forget has the targets of a provider learn anew what another server behind its name may do otherwise.
func (ts *targets) forget(provider string) {
	for _, models := range *ts.known.Load() {
		for _, t := range models {
			if t.provider == provider {
				t.refusesUsage.Store(false)
				t.refusedMarks.Store(0)
				t.bytesPerToken.Store(math.Float64bits(defaultBytesPerToken))
			}
		}
	}
}

// labelValue makes a client's model name safe to print: what is not a letter, a digit or common punctuation of model
// names becomes '_'.
func labelValue(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '@', c == '+':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}
