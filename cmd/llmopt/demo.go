package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

type demoCmd struct {
	For      time.Duration `default:"2m" help:"How long the day takes, at most 24h."`
	Rate     float64       `default:"25" help:"Requests per second on average, at most 1000; as many of each kind that the second route is asked, at most 25. The third one is sent 11."`
	Seed     uint64        `default:"1" help:"Another seed sends, gets and holds back other things."`
	NoFaults bool          `help:"A day without storm, outage and drip: only a price changes."`
	JSON     bool          `name:"json" help:"Print nothing but a summary at the end, as JSON."`
}

// Help says what runs.
func (c *demoCmd) Help() string {
	return `Plays a scripted day in two minutes: three simulated providers behind one route, one behind another that keeps its answers, one behind a third that
two callers share, the proxy with its optimizer and gentle load, in one process, on free ports. The optimizer finds a cheaper mix, and for how long answers may be
kept; a price changes, a provider hides a limit and is paced, another goes out, and drips errors later, and all recover. Nothing but the providers is simulated.
Needs no keys and no network; settings in the environment don't count.`
}

const (
	demoMaxFor      = 24 * time.Hour
	demoMaxRate     = 1000
	demoMaxInFlight = 4096                   // clients at a time: enough for the highest rate
	demoDrain       = 2 * time.Second        // what answers under way get at the end, but not more than a quarter of the demo
	demoSettle      = time.Second            // within which a provider must have seen that its client left
	demoBeat        = 100 * time.Millisecond // between two looks at what has happened
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
	return c.conclude(env, s, state)
}

// play sends the load and shows what happens meanwhile.
func (c *demoCmd) play(ctx context.Context, s *demoStage, v demoView) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	s.started = time.Now()
	go func() {
		defer close(done)
		var running sync.WaitGroup
		for _, l := range slices.Concat(s.asks, s.calls) {
			running.Go(func() { l.Run(ctx) })
		}
		s.load.Run(ctx)
		running.Wait()
	}()
	var failed error
	tick := time.NewTicker(v.every())
	defer tick.Stop()
	beat := time.NewTicker(min(demoBeat, s.day.hour))
	defer beat.Stop()
	stop := func(err error) error {
		cancel()
		<-done
		return err
	}
	for {
		select {
		case <-done:
			return failed
		case failed = <-s.gateway.failed:
			cancel()
		case <-beat.C:
			events, err := s.day.step(time.Since(s.started))
			if err != nil {
				return stop(err)
			}
			for i := range events {
				v.tell(&events[i])
			}
		case <-tick.C:
			state, err := s.look()
			if err != nil {
				return stop(err)
			}
			state.ending = ctx.Err() != nil
			v.show(state)
		}
	}
}
