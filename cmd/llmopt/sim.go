package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// simCmd runs the provider simulator until it is interrupted.
type simCmd struct {
	Listen     string        `default:"127.0.0.1:9090" help:"Address to listen on; port 0 takes a free one."`
	Seed       uint64        `help:"Another seed says other things."`
	Directives string        `placeholder:"KEY=VALUE,…" help:"What holds for every request, such as ttft=300ms~0.5,tpot=20ms,tokens=200~0.7."`
	Rates      string        `placeholder:"FAULT=P,…" help:"Probabilities of faults, such as 429=0.01,reset-mid=0.005."`
	Script     string        `placeholder:"N*KEY=VALUE;…" help:"What the first requests get, such as 3*fault=429;chat/1*fault=stall-head."`
	Quota      string        `placeholder:"KEY=VALUE,…" help:"What is let through, such as requests=60/m,tokens=100000/m,headers=off; more is refused with 429."`
	Capacity   int           `help:"Requests in flight that are answered at full speed; beyond, all slow down. 0: any number."`
	Minimal    bool          `help:"Prepared answers for load tests: requests are not parsed and cannot steer."`
	Idle       time.Duration `help:"Close connections that are idle that long. 0: never."`
	TLSCert    string        `name:"tls-cert" type:"existingfile" help:"Certificate in PEM; with it and the key, TLS is spoken."`
	TLSKey     string        `name:"tls-key" type:"existingfile" help:"Key of the certificate in PEM."`
	JSON       bool          `help:"Print the counters as JSON at the end."`
}

// Help lists what requests can ask of the simulator.
func (c *simCmd) Help() string {
	return `Speaks the wire formats of OpenAI, Anthropic and Gemini. Any key will do but "bad".

A request steers its own answer by headers (x-sim-ttft: 50ms), or by its model's name
(gpt-4o@sim:ttft=50ms,tokens=100 or sim:fault=reset-mid).

Directives: ` + strings.Join(sim.DirectiveNames(), ", ") + `.

Faults: any status from 400 to 599, 204, ` + strings.Join(sim.FaultNames(), ", ") + `; several with '+'.

Durations and token counts may be distributions: median~sigma is lognormal.

Quotas: requests, tokens, input and output =N/P in each period P (s, m, h, d or a duration), concurrent=N,
kind=bucket or window, burst=DURATION, scope=key, all, model or key+model, headers=on, off or mistral,
retry-after=on or off.

GET /sim/stats tells what was seen, POST /sim/reset sets it back, POST /sim/script sets a script,
POST /sim/quota a quota (none: no limits), /v1/echo and /echo/… answer with the request itself.`
}

// Run prints one line with the address on stdout and serves until the environment's context is done.
func (c *simCmd) Run(env *environment) error {
	o, err := c.options()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	s := sim.New(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	fmt.Fprintf(env.stdout, "{\"event\":\"listening\",\"sim\":\"%s://%s\"}\n", scheme, ln.Addr())

	select {
	case err := <-served:
		return err
	case <-env.ctx.Done():
	}
	const patience = 5 * time.Second // for answers in flight
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		fmt.Fprintf(env.stderr, "llmopt: cut answers that took longer than %v\n", patience)
	}
	if err := <-served; !errors.Is(err, sim.ErrServerClosed) {
		return err
	}
	if c.JSON {
		return json.NewEncoder(env.stdout).Encode(s.Stats())
	}
	return nil
}

// options turns flags into options and refuses what does not parse.
func (c *simCmd) options() (o sim.Options, err error) {
	o = sim.Options{Seed: c.Seed, Capacity: c.Capacity, Minimal: c.Minimal, IdleTimeout: c.Idle}
	if c.Capacity < 0 || c.Idle < 0 {
		return o, errors.New("--capacity and --idle must not be negative")
	}
	if o.Directives, err = sim.ParseDirectives(c.Directives); err != nil {
		return o, fmt.Errorf("--directives: %w", err)
	}
	if o.Rates, err = sim.ParseRates(c.Rates); err != nil {
		return o, fmt.Errorf("--rates: %w", err)
	}
	if o.Script, err = sim.ParseScript(c.Script); err != nil {
		return o, fmt.Errorf("--script: %w", err)
	}
	if o.Quota, err = sim.ParseQuota(c.Quota); err != nil {
		return o, fmt.Errorf("--quota: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return o, errors.New("--tls-cert and --tls-key go together")
	}
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return o, err
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	return o, nil
}
