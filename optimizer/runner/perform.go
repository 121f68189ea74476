package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/policy"
)

// resting says that the optimizer decides nothing for now; orders are carried out all the same.
func (r *Runner) resting() error {
	if time.Now().Before(r.rest) {
		return fmt.Errorf("%w: it rests until %s, because it has failed %d times", ErrOff, r.rest.UTC().Format("15:04:05"), failuresAllowed)
	}
	return nil
}

// safely does something of the runner's own that a bug may end, which must not end the process.
func (r *Runner) safely(what string, do func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.options.Log.Error().Str("what", what).Interface("panic", v).Bytes("stack", debug.Stack()).Msg("the optimizer panicked")
			r.stats.errors.Inc()
			err = fmt.Errorf("%w: %v", ErrFailed, v)
		}
	}()
	do()
	return nil
}

// dropTrials takes what is on trial out of the policy, since nobody watches it any more.
func (r *Runner) dropTrials(now time.Time) {
	for range 10 {
		out := map[string]policy.Route{}
		for _, k := range r.options.Plant.Known(now) {
			if k.Canary != nil {
				out[k.Name] = policy.Route{Parameters: k.InForce, Static: &k.Static, Holdback: k.Holdback}
			}
		}
		if len(out) == 0 || r.options.Plant.Publish(out) == nil {
			return
		}
	}
	r.options.Log.Error().Msg("what is on trial can't be taken out of the policy")
}

// perform does something with the loop. Where that panics or takes too long, another loop takes its place.
func (r *Runner) perform(ctx context.Context, do func(*optimizer.Loop, time.Time)) error {
	now := time.Now()
	loop, plant := r.loop, r.plant
	before := plant.published
	done := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				r.options.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("the optimizer panicked")
				done <- fmt.Errorf("%w: %v", ErrFailed, v)
			}
		}()
		do(loop, now)
		done <- nil
	}()
	deadline := time.NewTimer(r.config.Load().Deadline)
	defer deadline.Stop()
	var err error
	select {
	case err = <-done:
	case <-deadline.C:
		err = ErrLate
	case <-ctx.Done(): // the loop is still looked at when all ends: nobody else may be at it then
		last := time.NewTimer(lastWait)
		defer last.Stop()
		select {
		case err = <-done:
		case <-last.C:
			err = ErrLate
		}
	}
	if err != nil {
		r.failed(now, err)
		return err
	}
	plant.mu.Lock()
	after := plant.published
	plant.mu.Unlock()
	if after != before {
		r.changed = now
		r.unsaved = true
	}
	return nil
}

// failed puts another loop in the place of one that can't be trusted any more, without the tuner that was at work.
func (r *Runner) failed(now time.Time, err error) {
	r.plant.mu.Lock()
	r.plant.cut = true
	r.plant.mu.Unlock()
	dropped := make(chan struct{})
	go func() { // what has hung may hang again
		defer close(dropped)
		_ = r.safely("dropping trials", func() { r.dropTrials(now) })
	}()
	select {
	case <-dropped:
	case <-time.After(lastWait):
	}
	var proof []byte
	if !errors.Is(err, ErrLate) { // else it may still be written to
		_ = r.safely("keeping what was measured", func() { proof, _ = r.loop.Proof.MarshalBinary() })
	}
	tuner := r.stats.interrupted()
	r.stats.errors.Inc()
	r.options.Log.Error().Err(err).Str("tuner", tuner).Msg("the optimizer begins anew; what is in force stays")
	kept := r.failures[:0]
	for _, at := range r.failures {
		if now.Sub(at) < failuresWithin {
			kept = append(kept, at)
		}
	}
	r.failures = append(kept, now)
	r.begin()
	if proof == nil {
		proof = r.proof
	}
	r.takeProof(proof)
	if tuner != "" {
		_ = r.safely("telling of a fence", func() {
			r.tell([]optimizer.Decision{r.loop.Fence(now, tuner, "", err.Error())})
			r.save()
		})
	} else if r.options.Trouble != nil {
		r.options.Trouble("The optimizer has failed, and begins anew", err.Error())
	}
	if len(r.failures) >= failuresAllowed {
		r.rest = now.Add(failuresWithin)
		r.failures = r.failures[:0]
		r.options.Log.Error().Time("until", r.rest).Msg("the optimizer has failed again and again, and rests")
		if r.options.Trouble != nil {
			r.options.Trouble("The optimizer has failed again and again, and rests", "until "+r.rest.UTC().Format(time.RFC3339)+": "+err.Error())
		}
	}
}

// save has the memory of the loop stored. stored is closed once it is; nil: it can't be kept.
func (r *Runner) save() (stored <-chan struct{}) {
	r.unsaved = false
	b, err := r.loop.MarshalBinary()
	if err != nil {
		r.options.Log.Error().Err(err).Msg("what the optimizer knows can't be kept")
		return nil
	}
	r.memory = b
	return r.saves.put(b)
}
