package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// demoProvider is one simulated provider.
type demoProvider struct {
	name, dialect string
	base          string // path of its base URL
	answers       string // directives: how fast it is and how much it says
	dawdles       string // directives that replace them where faults are wanted
	fails         string // rates of faults

	url    string
	server *sim.Server
	served chan error
}

// The provider that is slow. No price list knows its model.
const (
	demoSlow      = "selfhosted"
	demoSlowModel = "llama-3.3-70b"
)

// demoProviders are near what the real ones take in the median.
func demoProviders() []*demoProvider {
	return []*demoProvider{
		{name: "openai", dialect: "openai", base: "/v1", answers: "ttft=320ms~0.4,tpot=9ms~0.3,tokens=120~0.5,chunk=2", fails: "429=0.03,503=0.005"},
		{name: "anthropic", dialect: "anthropic", answers: "ttft=560ms~0.35,tpot=13ms~0.3,tokens=160~0.5,chunk=3", fails: "reset-mid=0.03,529=0.02"},
		{name: "gemini", dialect: "gemini", answers: "ttft=410ms~0.4,tpot=5ms~0.3,tokens=130~0.5,chunk=8", fails: "503=0.02,error-event=0.01"},
		{
			name: demoSlow, dialect: "openai", base: "/v1", answers: "ttft=250ms~0.3,tpot=15ms~0.2,tokens=90~0.4",
			dawdles: "ttft=2500ms~0.4,tpot=38ms~0.2,tokens=90~0.4",
		},
	}
}

// demoStage is all that runs in a demo.
type demoStage struct {
	providers []*demoProvider
	gateway   *gateway
	load      *load.Driver
	admin     controlpb.AdminClient
	transport *http.Transport // of admin
	span      time.Duration   // covers the whole demo
	started   time.Time       // the load
}

// stage starts everything but the load.
func (c *demoCmd) stage(env *environment) (_ *demoStage, err error) {
	s := &demoStage{span: c.For + 5*time.Minute}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	// The only environment there is: whatever the user has set stays out, keys above all.
	environ := []string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0",
		"OPTIMIZER_SERVER__SHUTDOWN_TIMEOUT=1s", "OPTIMIZER_LOG__ACCESS=off", "OPTIMIZER_LOG__LEVEL=error", "OPTIMIZER_STORAGE__DIR=",
	}
	for i, p := range demoProviders() {
		if err := p.start(c.Seed+uint64(i), !c.NoFaults); err != nil {
			return nil, fmt.Errorf("simulated provider: %w", err)
		}
		s.providers = append(s.providers, p)
		prefix := "OPTIMIZER_PROVIDERS__" + strings.ToUpper(p.name) + "__"
		environ = append(environ, prefix+"DIALECT="+p.dialect, prefix+"BASE_URL="+p.url+p.base, prefix+"API_KEY=simulated")
		if p.dialect == "openai" { // the only one whose streams state their usage when asked to
			environ = append(environ, prefix+"REQUEST_USAGE=true")
		}
	}
	options := config.Options{Environ: environ}
	settings, err := config.Load(options)
	if err != nil {
		return nil, fmt.Errorf("configuration of the demo: %w", err)
	}
	if s.gateway, err = newGateway(settings, options, env.stdout, env.stderr); err != nil {
		return nil, err
	}
	s.gateway.start()
	s.transport = &http.Transport{}
	s.admin = controlpb.NewAdminClient(&http.Client{Transport: s.transport, Timeout: adminTimeout}, s.gateway.adminURL)
	drain := min(demoDrain, c.For/4)
	s.load, err = load.New(load.Options{
		Arrivals: load.Until(load.Poisson(c.Rate, c.Seed), c.For-drain), Kinds: c.kinds(s.gateway.proxyURL), Seed: c.Seed,
		MaxInFlight: demoMaxInFlight, Drain: drain,
	})
	return s, err
}

// start listens on a free port and serves.
func (p *demoProvider) start(seed uint64, faults bool) error {
	o := sim.Options{Seed: seed, Directives: sim.MustDirectives(p.answers)}
	if faults {
		var err error
		if o.Rates, err = sim.ParseRates(p.fails); err != nil {
			return err
		}
		if p.dawdles != "" {
			o.Directives = sim.MustDirectives(p.dawdles)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.url = "http://" + ln.Addr().String()
	p.server, p.served = sim.New(o), make(chan error, 1)
	go func() { p.served <- p.server.Serve(ln) }()
	return nil
}

// close ends everything and waits for it.
func (s *demoStage) close() (err error) {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	if s.gateway != nil {
		err = s.gateway.shutdown()
	}
	for _, p := range s.providers {
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
	status  *controlpb.GetStatusResponse
	load    *load.Stats
	seen    map[string]sim.Stats // by provider

	left      int64 // provider calls whose client left
	cancelled int64 // of these: cancelled, as the providers saw it
	inFlight  int64 // in the providers
}

// look asks all sides.
func (s *demoStage) look() (*demoState, error) {
	st := &demoState{elapsed: time.Since(s.started), load: s.load.Stats(), seen: map[string]sim.Stats{}}
	var err error
	// Not under the demo's own context: the last look comes when that is done.
	if st.status, err = s.admin.GetStatus(context.Background(), &controlpb.GetStatusRequest{Span: durationpb.New(s.span)}); err != nil {
		return nil, fmt.Errorf("ask the admin service: %w", err)
	}
	for _, p := range s.providers {
		seen := p.server.Stats()
		st.seen[p.name] = seen
		st.cancelled += seen.Canceled
		st.inFlight += seen.InFlight
	}
	canceled := window.Canceled.String()
	exchanges := s.gateway.proxy.Metrics().GetOrCreateCounter(fmt.Sprintf("llmopt_exchanges_total{outcome=%q}", canceled)).Get()
	st.left = callsLeft(st.load.Outcomes[window.Canceled], int64(exchanges), st.status.GetTotal().GetOutcomes()[canceled])
	return st, nil
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
	for deadline := time.Now().Add(demoSettle); ; time.Sleep(pause) {
		st, err := s.look()
		if err != nil || time.Now().After(deadline) ||
			st.inFlight == 0 && st.status.GetTotal().GetRequests() >= st.load.Sent && st.cancelled >= st.left {
			return st, err
		}
	}
}
