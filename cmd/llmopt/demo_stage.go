package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// demoProvider is one simulated provider, and the target of the demo's route that it serves.
type demoProvider struct {
	name    string
	answers string // directives: how fast it is
	price   demoPrice
	quota   sim.Quota // the zero value limits nothing

	url    string
	server *sim.Server
	served chan error
}

// demoPrice is in US dollars per million tokens.
type demoPrice struct{ input, output float64 }

func (p demoPrice) String() string { return fmt.Sprintf("$%.2f/$%.2f", p.input, p.output) }

// The route, and its providers by name.
const (
	demoRoute   = "assistant"
	demoSwift   = "swift"
	demoSteady  = "steady"
	demoThrifty = "thrifty"
)

// demoProviders differ in what they cost and how soon they begin to answer.
func demoProviders() []*demoProvider {
	const length = ",tokens=110~0.5,chunk=5"
	return []*demoProvider{
		{name: demoSwift, answers: "ttft=160ms~0.3,tpot=4ms~0.2" + length, price: demoPrice{3, 12}},
		{name: demoSteady, answers: "ttft=350ms~0.3,tpot=6ms~0.2" + length, price: demoPrice{1, 4}},
		{name: demoThrifty, answers: "ttft=480ms~0.28,tpot=8ms~0.2" + length, price: demoPrice{.3, 1.2}},
	}
}

// demoStage is all that runs in a demo.
type demoStage struct {
	providers []*demoProvider // of the first route
	desk      *demoProvider   // of the route that keeps its answers
	bulk      *demoProvider   // of the route that two callers share
	gateway   *gateway
	load      *load.Driver
	asks      []*load.Driver // of the route that keeps its answers, by kind
	calls     []*load.Driver // of the route that two callers share, by caller
	day       *demoDay
	book      *demoBook
	admin     controlpb.AdminClient
	transport *http.Transport // of admin
	environ   []string        // the gateway's settings but for prices
	span      time.Duration   // covers the whole demo
	started   time.Time       // the load
}

// stage starts everything but the load.
func (c *demoCmd) stage(env *environment) (_ *demoStage, err error) {
	asked := demoAsked(c.For)
	s := &demoStage{span: c.For + 5*time.Minute, book: newDemoBook(asked), desk: demoDeskProvider(), bulk: demoBulkProvider()}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	s.providers = demoProviders()
	for _, p := range s.all() {
		if err := p.start(c.Seed); err != nil {
			return nil, fmt.Errorf("simulated provider: %w", err)
		}
	}
	s.environ = c.settings(s)
	options := config.Options{Environ: s.priced()}
	settings, err := config.Load(options)
	if err != nil {
		return nil, fmt.Errorf("configuration of the demo: %w", err)
	}
	if s.gateway, err = newGateway(settings, options, s.book, env.stderr); err != nil {
		return nil, err
	}
	s.day = newDemoDay(s, c)
	s.gateway.start()
	s.transport = &http.Transport{}
	s.admin = controlpb.NewAdminClient(&http.Client{Transport: s.transport, Timeout: adminTimeout}, s.gateway.adminURL)
	drain := min(demoDrain, c.For/4)
	s.load, err = load.New(load.Options{
		Arrivals: demoDifferent.asked(load.Until(load.Poisson(c.Rate, c.Seed), c.For-drain), c.Seed), Kinds: demoKinds(s.gateway.proxyURL), Seed: c.Seed,
		MaxInFlight: demoMaxInFlight, Drain: drain,
	})
	if err == nil {
		s.asks, err = c.cachedLoads(asked, s.gateway.proxyURL, drain)
	}
	if err == nil {
		s.calls, err = c.sharedLoads(s.gateway.proxyURL, drain)
	}
	return s, err
}

// all are the providers of all routes.
func (s *demoStage) all() []*demoProvider {
	return append(s.providers[:len(s.providers):len(s.providers)], s.desk, s.bulk)
}

// route is the one that a provider serves.
func (s *demoStage) route(p *demoProvider) string {
	switch p {
	case s.desk:
		return demoCached
	case s.bulk:
		return demoShared
	}
	return demoRoute
}

// demoTightened are settings by which the optimizer does in minutes what takes it hours by default, for as long as it is not to be trusted that much.
var demoTightened = [][2]string{
	{"schedule.optimize", "* * * * * *"}, {"optimizer.routing.mode", "auto"}, {"optimizer.routing.min_count", "20"}, {"optimizer.routing.min_share", "0.02"},
	{"optimizer.holdback", "0.2"}, {"optimizer.max_step", "1"}, {"optimizer.max_move", "10"}, {"optimizer.cool_down", "0s"}, {"optimizer.max_per_hour", "3600"},
	{"optimizer.caching.mode", "auto"}, {"optimizer.caching.min_ttl", "1s"}, {"optimizer.caching.max_ttl", "1m"}, {"optimizer.caching.max_stale", "0.1"},
	{"optimizer.caching.stale_cost", "3"}, {"route_defaults.ejection.base", "2s"}, {"route_defaults.ejection.max", "4s"}, {"route_defaults.ejection.slow_start", "5s"},
}

// settings is the only environment there is but for prices: whatever the user has set stays out, keys above all.
func (c *demoCmd) settings(s *demoStage) []string {
	environ := []string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0", "OPTIMIZER_SERVER__SHUTDOWN_TIMEOUT=1s",
		"OPTIMIZER_LOG__ACCESS=stdout", "OPTIMIZER_LOG__LEVEL=error", "OPTIMIZER_STORAGE__DIR=",
		fmt.Sprintf("OPTIMIZER_SERVER__HASH_KEY=demo %d", c.Seed), // the same seed holds the same sessions back
	}
	set := func(key, value string) {
		environ = append(environ, "OPTIMIZER_"+strings.ToUpper(strings.ReplaceAll(key, ".", "__"))+"="+value)
	}
	for _, t := range slices.Concat(demoTightened, demoSharedSettings) {
		set(t[0], t[1])
	}
	for _, p := range s.all() {
		target := "routes." + s.route(p) + ".targets." + p.name
		set("routes."+s.route(p)+".match.model", s.route(p))
		set("providers."+p.name+".base_url", p.url+"/v1")
		set("providers."+p.name+".request_usage", "true")
		set(target+".provider", p.name)
		set(target+".key", "simulated")
	}
	set("routes."+demoRoute+".objective.ttft_p95", config.FormatDuration(demoObjective))
	set("routes."+demoRoute+".objective.error_rate", "0.01")
	for _, t := range demoCachedSettings {
		set("routes."+demoCached+"."+t[0], t[1])
	}
	// Requests by hand that no route matches stay on this machine, too.
	set("providers.openai.base_url", s.providers[0].url+"/v1")
	set("providers.anthropic.base_url", s.providers[0].url)
	set("providers.gemini.base_url", s.providers[0].url)
	return environ
}

// demoObjective is within how long 95 % of the streams are to begin.
const demoObjective = time.Second

// priced are the settings with the providers' prices.
func (s *demoStage) priced() []string {
	environ := s.environ[:len(s.environ):len(s.environ)]
	for _, p := range s.all() {
		prefix := "OPTIMIZER_ROUTES__" + strings.ToUpper(s.route(p)+"__TARGETS__"+p.name) + "__PRICE__"
		environ = append(environ, fmt.Sprintf("%sINPUT=%g", prefix, p.price.input), fmt.Sprintf("%sOUTPUT=%g", prefix, p.price.output))
	}
	return environ
}

// start listens on a free port and serves. With the same seed providers say the same, so that it is known what another would have cost.
func (p *demoProvider) start(seed uint64) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.url = "http://" + ln.Addr().String()
	p.server, p.served = sim.New(sim.Options{Seed: seed, Directives: sim.MustDirectives(p.answers), Quota: p.quota}), make(chan error, 1)
	go func() { p.served <- p.server.Serve(ln) }()
	return nil
}

// close ends everything and waits for it.
func (s *demoStage) close() (err error) {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	if s.day != nil {
		s.day.end()
	}
	if s.gateway != nil {
		err = s.gateway.shutdown()
	}
	for _, p := range s.all() {
		if p.server == nil {
			continue // it has not been started
		}
		p.server.Close()
		if served := <-p.served; !errors.Is(served, sim.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("simulated provider: %w", served))
		}
	}
	return err
}

// demoState is what everyone counted at one time.
type demoState struct {
	elapsed time.Duration // of the load
	ending  bool          // nothing more is sent
	clock   string        // of the scripted day
	status  *controlpb.GetStatusResponse
	load    *load.Stats
	seen    map[string]sim.Stats // by provider
	targets []demoTarget
	savings *optimizer.Savings
	static  []demoStatic
	total   *controlpb.Summary // of all targets but those of the other two routes
	kept    *demoKeptState
	shared  *demoSharedState

	left      int64 // provider calls whose client left
	cancelled int64 // of these: cancelled, as the providers saw it
	inFlight  int64 // in the providers
}

// look asks all sides.
func (s *demoStage) look() (*demoState, error) {
	st := &demoState{elapsed: time.Since(s.started), load: s.load.Stats(), seen: map[string]sim.Stats{}}
	st.clock = s.day.clock(st.elapsed)
	var err error
	// Not under the demo's own context: the last look comes when that is done.
	if st.status, err = s.admin.GetStatus(context.Background(), &controlpb.GetStatusRequest{Span: durationpb.New(s.span)}); err != nil {
		return nil, fmt.Errorf("ask the admin service: %w", err)
	}
	st.total, st.kept = totalOf(st.status), s.book.keeps(time.Now())
	st.shared = s.shares(time.Now())
	st.savings = s.proved()
	st.targets, st.static = s.book.targets(s, st.status), s.book.statics(s.providers)
	for _, p := range s.providers {
		seen := p.server.Stats()
		st.seen[p.name] = seen
		st.cancelled += seen.Canceled
		st.inFlight += seen.InFlight
	}
	canceled := window.Canceled.String()
	exchanges := s.gateway.proxy.Metrics().GetOrCreateCounter(fmt.Sprintf("llmopt_exchanges_total{outcome=%q}", canceled)).Get()
	st.left = callsLeft(st.load.Outcomes[window.Canceled], int64(exchanges)-st.shared.left, st.total.GetOutcomes()[canceled])
	return st, nil
}

// proved is what the optimizer has saved, as it knows; nil while it does not answer.
func (s *demoStage) proved() (savings *optimizer.Savings) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	err := s.gateway.optimizer.Inspect(ctx, func(l *optimizer.Loop, now time.Time) { savings = l.Proof.Savings(now, time.Time{}) })
	if err != nil {
		return nil
	}
	return savings
}

// callsLeft is the number of provider calls whose client left: of the load's clients that did, without those that were so
// early that no provider was called, which are exchanges without an attempt; or, where clients started by hand left too,
// what the proxy knows.
func callsLeft(clients, exchanges, attempts int64) int64 {
	return max(clients-max(0, exchanges-attempts), attempts)
}

// settled looks when everything that is going to be counted has been, but waits no longer than it may take.
func (s *demoStage) settled() (*demoState, error) {
	const pause = 20 * time.Millisecond
	sent := func(loads []*load.Driver) (sum int64) {
		for _, l := range loads {
			sum += l.Stats().Sent
		}
		return sum
	}
	for deadline := time.Now().Add(demoSettle); ; time.Sleep(pause) {
		st, err := s.look()
		if err != nil || time.Now().After(deadline) ||
			st.inFlight == 0 && st.total.GetRequests() >= st.load.Sent && st.cancelled >= st.left && s.book.exchanges() >= st.load.Sent &&
				st.kept.Requests >= sent(s.asks) && st.shared.Requests >= sent(s.calls) {
			return st, err
		}
	}
}
