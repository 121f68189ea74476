package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
)

// Question is a request that is only asked about.
type Question struct {
	Method string // empty: POST
	Path   string // raw, with query; empty: /v1/chat/completions
	Header map[string]string
	Body   []byte
}

// Answer says where a request would go.
type Answer struct {
	Provider  string // that the path names
	Operation string
	Model     string
	Stream    bool
	Input     int64      // estimated tokens
	Class     string     // workload class
	Target    string     // of a request without a route
	Route     *RouteView // nil: straight to the provider
	Attempts  int
	pick.Explanation
}

// RouteView is a route for people.
type RouteView struct {
	*pick.Route
	Models  []string
	Targets []TargetView // by the index of the target
	Weights [][policy.Classes]float64
	Paces   []PaceView // by the index of the target
}

// Restore has a target take traffic again at once, whatever had taken it out, and though its provider has asked to be left alone.
func (p *Proxy) Restore(t *pick.Target) {
	t.Restore()
	if r := p.settings.Load().routes.of[t.Route()]; r != nil {
		if pace := r.targets[t.Index()].pace.Load(); pace != nil {
			pace.Resume()
		}
	}
}

// TargetView is what the configuration says of a target.
type TargetView struct {
	Provider, Model, Region string
	Priority                int
}

// ErrRefused says that the proxy would refuse a request; the message tells why.
var ErrRefused = errors.New("request would be refused")

// Explain says where a request would go now. It sends nothing and changes nothing.
func (p *Proxy) Explain(q Question) (*Answer, error) {
	x := newExchange()
	x.p, x.settings, x.policy, x.client = p, p.settings.Load(), p.policy.Load(), &clientConn{}
	header := make(map[string][]byte, len(q.Header))
	for name, value := range q.Header {
		header[strings.ToLower(name)] = []byte(value)
		x.ownHeaders = x.ownHeaders || isOwnHeader([]byte(name))
	}
	x.peek = func(name string) []byte { return header[name] }
	x.method, x.path = []byte(q.Method), []byte(q.Path)
	if q.Method == "" {
		x.method = []byte(http.MethodPost)
	}
	if q.Path == "" {
		x.path = []byte("/v1/chat/completions")
	}
	if x.path[0] != '/' {
		return nil, fmt.Errorf("%w: path %q does not begin with a slash", ErrRefused, q.Path)
	}
	x.path, x.query, _ = bytes.Cut(x.path, []byte("?"))
	x.sessionName = header[sessionHeader]
	for _, name := range credentialHeaders {
		if v := header[name]; len(x.credential) == 0 {
			x.credential = withoutScheme(v)
		}
	}
	if err := x.resolve(&headerFacts{anthropicVersion: header["anthropic-version"] != nil, googAPIKey: header["x-goog-api-key"] != nil}); err != nil {
		return nil, refusal(err)
	}
	x.limits = x.limitsOf(x.provider.name)
	x.operation = provider.OperationOf(x.provider.dialect, x.method, x.path)
	x.body, x.bodyLen = q.Body, len(q.Body)
	x.request = provider.Scan(x.operation, x.path, x.body)
	x.class = classOf(x.bodyLen)
	p.admit(x)
	a := &Answer{
		Provider: x.provider.name, Operation: x.operation.String(), Model: string(x.request.Model), Stream: x.request.Stream,
		Input: int64(x.bodyLen) / defaultBytesPerToken, Class: x.class.String(), Attempts: 1,
	}
	r := x.settings.routes.match(x)
	if r == nil {
		a.Target = a.Provider
		if a.Model != "" {
			a.Target += "/" + labelValue(a.Model)
		}
		return a, nil
	}
	query, err := x.queryFor(r)
	if err != nil {
		return nil, refusal(err)
	}
	a.Class, a.Attempts = x.class.String(), x.attemptsLeft
	view := r.view(x.policy)
	a.Route, a.Explanation = &view, r.pick.Explain(time.Now(), x.policy, &query)
	for i := range a.Candidates {
		if c, pace := &a.Candidates[i], view.Paces[a.Candidates[i].Target.Index()].String(); pace != "" {
			c.Note = strings.TrimPrefix(c.Note+"; "+pace, "; ")
		}
		if c := &a.Candidates[i]; c.Home {
			if saving := x.cacheSaving(r.targets[c.Target.Index()]); saving > 0 {
				c.Note += fmt.Sprintf(", which saves up to $%s", appendUSD(nil, saving))
			}
		}
	}
	return a, nil
}

// cacheSaving is what the begin of the prompt costs less at a target that has it in its cache.
func (x *Exchange) cacheSaving(t *routeTarget) config.NanoUSD {
	model := x.request.Model
	if t.model != "" {
		model = t.modelBytes
	}
	price, _ := x.p.prices().Lookup(t.own.priceHint, model)
	if o := t.prices.Override(price); o != nil {
		price = o
	}
	if price == nil {
		return 0
	}
	rates := price.Rates(x.tier, int64(x.bodyLen)/defaultBytesPerToken)
	tokens := provider.Usage{Input: int64(x.prefixLen()) / defaultBytesPerToken}
	cached := provider.Usage{CacheRead: tokens.Input}
	return costOf(&tokens, &rates) - costOf(&cached, &rates)
}

func refusal(err error) error {
	k := kindOfError(err)
	return fmt.Errorf("%w with %d %s: %s", ErrRefused, k.status, k.code, k.message)
}

// Routes are the routes in force, in the order of the configuration.
func (p *Proxy) Routes() []RouteView {
	s := p.policy.Load()
	var views []RouteView
	for _, r := range p.settings.Load().routes.list {
		views = append(views, r.view(s))
	}
	return views
}

func (r *routeState) view(s *policy.Snapshot) RouteView {
	v, now := RouteView{Route: r.pick, Models: r.config.Match.Model}, time.Now()
	for _, t := range r.targets {
		v.Paces = append(v.Paces, t.paceView(now))
	}
	for _, t := range r.config.TargetList() {
		v.Targets = append(v.Targets, TargetView{t.Provider, t.Model, t.Region, t.Priority})
		v.Weights = append(v.Weights, s.Routes[r.name].Targets[t.Name].Weights)
	}
	return v
}

// Target is a target of a route, or nil.
func (p *Proxy) Target(route, target string) *pick.Target {
	if r := p.settings.Load().routes.picks.Route(route); r != nil {
		return r.Target(target)
	}
	return nil
}
