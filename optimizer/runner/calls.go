package runner

import (
	"context"
	"fmt"
	"time"

	"llm-auto-optimizer/optimizer"
)

// ask has Run do something with the loop.
func (r *Runner) ask(ctx context.Context, c *call) error {
	c.done = make(chan error, 1)
	select {
	case r.calls <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Cycle runs a cycle now and returns what was decided.
func (r *Runner) Cycle(ctx context.Context) (decisions []optimizer.Decision, err error) {
	if !r.config.Load().Enabled {
		return nil, fmt.Errorf("%w: optimizer.enabled is false", ErrOff)
	}
	var out []optimizer.Decision
	if err := r.ask(ctx, r.cycle(&out)); err != nil {
		return nil, err
	}
	return out, nil
}

// Enabled tells whether the optimizer is switched on.
func (r *Runner) Enabled() bool { return r.config.Load().Enabled }

// Alarm asks for a cycle soon, because something has happened. It never waits.
func (r *Runner) Alarm() {
	select {
	case r.alarms <- struct{}{}:
	default:
	}
}

// Order carries out what an operator wants.
func (r *Runner) Order(ctx context.Context, o optimizer.Order) (optimizer.Decision, error) {
	if !r.config.Load().Enabled {
		return optimizer.Decision{}, fmt.Errorf("%w: optimizer.enabled is false", ErrOff)
	}
	var d optimizer.Decision
	var refused error
	var stored <-chan struct{}
	err := r.ask(ctx, &call{
		do: func(l *optimizer.Loop, now time.Time) { d, refused = l.Order(now, o) },
		after: func() {
			if refused == nil {
				r.tell([]optimizer.Decision{d})
				stored = r.save()
			}
		},
	})
	if err != nil {
		return optimizer.Decision{}, err
	}
	if stored != nil { // an order outlives the server from when it is answered, if the disk takes it in time
		select {
		case <-stored:
		case <-ctx.Done():
		}
	}
	return d, refused
}

// Change puts another configuration in force, whatever state the optimizer is in.
func (r *Runner) Change(ctx context.Context, c Config) {
	r.config.Store(&c)
	_ = r.ask(ctx, &call{after: func() {
		r.loop.Change(r.settings(&c), c.Tuners...)
		was := r.off
		if r.off = !c.Enabled; r.off && !was {
			r.loop.Untune(time.Now())
			r.save()
			if r.options.Off != nil {
				r.options.Off()
			}
		}
	}})
}

// Inspect calls look with the loop, which must not be changed or kept.
func (r *Runner) Inspect(ctx context.Context, look func(l *optimizer.Loop, now time.Time)) error {
	return r.ask(ctx, &call{after: func() { look(r.loop, time.Now()) }})
}
