package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"llm-auto-optimizer/optimizer"
)

// perform does something with the loop. Where that panics or takes too long, another loop takes its place.
func (r *Runner) perform(ctx context.Context, do func(*optimizer.Loop, time.Time)) error {
	now := time.Now()
	if now.Before(r.rest) {
		return fmt.Errorf("%w: it rests until %s, because it has failed %d times", ErrOff, r.rest.UTC().Format("15:04:05"), failuresAllowed)
	}
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
		r.save()
	}
	return nil
}

// failed puts another loop in the place of one that can't be trusted any more, without the tuner that was at work.
func (r *Runner) failed(now time.Time, err error) {
	r.plant.mu.Lock()
	r.plant.cut = true
	r.plant.mu.Unlock()
	proof, err2 := []byte(nil), error(nil)
	if !errors.Is(err, ErrLate) { // else it may still be written to
		proof, err2 = r.loop.Proof.MarshalBinary()
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
	if proof == nil && r.options.LoadProof != nil {
		proof = r.options.LoadProof(context.Background())
	}
	if proof != nil && err2 == nil {
		if err := r.loop.Proof.UnmarshalBinary(proof); err != nil {
			r.options.Log.Error().Err(err).Msg("what was measured of savings is lost")
		}
	}
	if tuner != "" {
		d := r.loop.Fence(now, tuner, "", err.Error())
		r.tell([]optimizer.Decision{d})
	}
	if len(r.failures) >= failuresAllowed {
		r.rest = now.Add(failuresWithin)
		r.failures = r.failures[:0]
		r.options.Log.Error().Time("until", r.rest).Msg("the optimizer has failed again and again, and rests")
	}
}

// save keeps the memory of the loop.
func (r *Runner) save() {
	b, err := r.loop.MarshalBinary()
	if err != nil {
		r.options.Log.Error().Err(err).Msg("what the optimizer knows can't be kept")
		return
	}
	r.memory = b
	if r.options.Save != nil {
		r.options.Save(b)
	}
}
