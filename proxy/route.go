package proxy

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
)

const (
	// directRoute names the route of requests that go where their path says.
	directRoute = "direct"
	// treatedArm names the arm of exchanges that obey the policy in force.
	treatedArm = "treated"
	// otherModel stands for the models beyond the number that is kept apart.
	otherModel = "other"
	// maxModelName bounds a model's name in metrics and logs, in bytes.
	maxModelName = 96
)

// target is a provider with a model: what an attempt goes to, with what is known of it.
type target struct {
	name     string // provider/model
	provider string
	model    string
	metrics  *targetMetrics
	series   [classes]atomic.Pointer[window.Series]

	refusesUsage  atomic.Bool   // it has answered 400 to stream_options
	bytesPerToken atomic.Uint64 // float64 bits: request bytes per input token, learned; for estimates
}

// route finds the target of a request: the provider that its path names, and the model that its body names.
func (p *Proxy) route(x *Exchange) {
	model := x.request.Model
	x.target = p.targets.find(x.provider, model)
	x.tier = config.ParseTier(x.request.ServiceTier)
	x.price = nil
	if len(model) > 0 {
		x.price, _ = p.prices().Lookup(x.provider.priceHint, model)
	}
	x.series = x.target.series[x.class].Load()
	if x.series == nil {
		x.series = p.windows.Series(window.Key{Target: x.target.name, Route: directRoute, Class: x.class.String(), Arm: treatedArm})
		x.target.series[x.class].Store(x.series)
	}
}

// targets are the targets seen so far. Finding a known one takes no lock; the number is bounded, since clients name
// models as they like.
type targets struct {
	metrics *metricSet
	limit   int

	known atomic.Pointer[map[string]map[string]*target] // by provider and raw model name
	mu    sync.Mutex                                    // serialises additions
	size  int
}

func newTargets(m *metricSet, limit int) *targets {
	ts := &targets{metrics: m, limit: limit}
	ts.known.Store(&map[string]map[string]*target{})
	return ts
}

func (ts *targets) find(s *providerState, model []byte) *target {
	if len(model) > maxModelName {
		model = []byte(otherModel)
	}
	if t := (*ts.known.Load())[s.name][string(model)]; t != nil {
		return t
	}
	return ts.add(s, string(model))
}

func (ts *targets) add(s *providerState, model string) *target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	known := *ts.known.Load()
	if t := known[s.name][model]; t != nil {
		return t
	}
	if ts.size >= ts.limit && model != otherModel {
		if t := known[s.name][otherModel]; t != nil {
			return t
		}
		model = otherModel
	}
	t := &target{provider: s.name, model: labelValue(model)}
	t.name = t.provider
	if t.model != "" {
		t.name += "/" + t.model
	}
	t.bytesPerToken.Store(math.Float64bits(defaultBytesPerToken))
	t.metrics = ts.metrics.target(t)
	next := maps.Clone(known)
	models := maps.Clone(next[s.name])
	if models == nil {
		models = map[string]*target{}
	}
	models[model] = t
	next[s.name] = models
	ts.known.Store(&next)
	ts.size++
	return t
}

// forget has the targets of a provider learn anew what another server behind its name may do otherwise.
func (ts *targets) forget(provider string) {
	for _, t := range (*ts.known.Load())[provider] {
		t.refusesUsage.Store(false)
		t.bytesPerToken.Store(math.Float64bits(defaultBytesPerToken))
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
