package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llm-auto-optimizer/bench/load"
)

type demoCmd struct {
	For      time.Duration `default:"60s" help:"How long it runs, at most 24h."`
	Rate     float64       `default:"10" help:"Requests per second on average, at most 1000."`
	Seed     uint64        `default:"1" help:"Another seed sends and gets other things."`
	NoFaults bool          `help:"Have providers that neither fail nor dawdle."`
	JSON     bool          `name:"json" help:"Print nothing but a summary at the end, as JSON."`
}

// Help says what runs.
func (c *demoCmd) Help() string {
	return `Runs simulated providers, the proxy before them and gentle load in one process, on free ports. Needs no keys and no
network; settings in the environment don't count. On a terminal a live table shows what the proxy measures.`
}

const (
	demoMaxFor      = 24 * time.Hour
	demoMaxRate     = 1000
	demoMaxInFlight = 4096            // clients at a time: enough for the highest rate
	demoDrain       = 2 * time.Second // what answers under way get at the end, but not more than a quarter of the demo
	demoSettle      = time.Second     // within which a provider must have seen that its client left
	demoFrame       = time.Second
	demoLine        = 5 * time.Second
)

// Run plays the demo until its time is over or the environment's context is done.
func (c *demoCmd) Run(env *environment) error {
	if c.For <= 0 || c.For > demoMaxFor {
		return fmt.Errorf("%w: --for %v: want more than 0 and at most %v", errUsage, c.For, demoMaxFor)
	}
	if !(c.Rate > 0 && c.Rate <= demoMaxRate) {
		return fmt.Errorf("%w: --rate %v: want more than 0 and at most %d", errUsage, c.Rate, demoMaxRate)
	}
	s, err := c.stage(env)
	if err != nil {
		return err
	}
	v := c.view(env, s)
	v.begin()
	err = c.play(env.ctx, s, v)
	state, lookErr := s.settled()
	v.end()
	if err := errors.Join(err, lookErr, s.close()); err != nil {
		return err
	}
	return c.conclude(env, state)
}

// play sends the load and shows what happens meanwhile.
func (c *demoCmd) play(ctx context.Context, s *demoStage, v demoView) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	s.started = time.Now()
	go func() {
		defer close(done)
		s.load.Run(ctx)
	}()
	var failed error
	tick := time.NewTicker(v.every())
	defer tick.Stop()
	for {
		select {
		case <-done:
			return failed
		case failed = <-s.gateway.failed:
			cancel()
		case <-tick.C:
			state, err := s.look()
			if err != nil {
				cancel()
				<-done
				return err
			}
			state.ending = ctx.Err() != nil
			v.show(state)
		}
	}
}

// kinds is the mixture that the load sends: chats, some of them with a system prompt that others share, and embeddings.
func (c *demoCmd) kinds(proxy string) []load.Kind {
	const (
		shared  = 3    // system prompts
		prefix  = 1400 // tokens; from 1024 on providers cache
		impact  = .08  // share of clients that lose patience
		limit   = 1024 // tokens of an answer
		general = .7   // sigma of prompt lengths
	)
	prompt := load.Size{Median: 220, Sigma: general}
	kinds := []load.Kind{
		{API: load.Chat, Model: "gpt-4.1-mini", Stream: true, Weight: 26, Prefixes: shared, PrefixTokens: prefix, Leave: impact},
		{API: load.Chat, Model: "gpt-4.1-mini", Weight: 8},
		{API: load.Responses, Model: "gpt-5-mini", Stream: true, Weight: 12, Leave: impact},
		{API: load.Embeddings, Model: "text-embedding-3-small", Weight: 14},
		{API: load.Messages, Model: "claude-sonnet-4-5", Stream: true, Weight: 20, Prefixes: shared, PrefixTokens: prefix, Leave: impact},
		{API: load.Generate, Model: "gemini-2.5-flash", Stream: true, Weight: 12, Prefixes: shared, PrefixTokens: prefix, Leave: impact},
		{API: load.Chat, Model: demoSlowModel, Stream: true, Weight: 8, Leave: 2 * impact},
	}
	for i := range kinds {
		k := &kinds[i]
		k.Prompt, k.MaxTokens = prompt, limit
		switch {
		case k.API == load.Messages:
			k.BaseURL = proxy + "/anthropic"
		case k.API == load.Generate:
			k.BaseURL = proxy + "/gemini"
		case k.Model == demoSlowModel:
			k.BaseURL = proxy + "/" + demoSlow
		default:
			k.BaseURL = proxy + "/openai"
		}
	}
	return kinds
}
