// Package runner runs the optimizer's loop beside a server: it feeds it, has it look when it is time or when something has happened, keeps its memory, and
// leaves out what fails, so that a bug in the optimizer costs nobody a request.
package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/policy"
)

var (
	// ErrOff says that the optimizer does not run: it is switched off, or rests because it has failed.
	ErrOff = errors.New("the optimizer does not run")
	// ErrLate says that the loop did not end in time. It has been given up, and another one is in its place.
	ErrLate = errors.New("the optimizer did not end in time")
	// ErrFailed says that the loop has panicked.
	ErrFailed = errors.New("the optimizer has failed")
)

// Config is what a runner obeys. It may change at any time.
type Config struct {
	Enabled  bool
	Deadline time.Duration // of one cycle
	Settings optimizer.Settings
	Tuners   []optimizer.Tuner
}

// Options are what a runner works with.
type Options struct {
	Plant   optimizer.Plant
	Ring    *window.Ring
	Config  Config
	Journal func(*optimizer.Decision)    // gets all decisions but those to change nothing; must not wait
	Load    func(context.Context) []byte // the memory of an earlier run; nil: none
	Save    func([]byte)                 // must not wait for long
	// The same for what was measured of savings, which is larger, and kept from time to time.
	LoadProof func(context.Context) []byte
	SaveProof func([]byte)
	Off       func() // undoes what was tuned; called when the runner is switched off
	Log       zerolog.Logger
}

const (
	feedEvery = time.Second
	// proofEvery is how often what was measured is kept: as much is lost in a crash.
	proofEvery = 5 * time.Minute
	// alarmQuiet is how long an alarm waits for others, so that they are looked at together.
	alarmQuiet = 500 * time.Millisecond
	// failuresAllowed within failuresWithin; then the optimizer rests for as long.
	failuresAllowed = 3
	failuresWithin  = 10 * time.Minute
)

// Runner runs a loop. Its methods are safe for concurrent use.
type Runner struct {
	options Options
	config  atomic.Pointer[Config]
	calls   chan *call
	alarms  chan struct{}
	stats   stats
	watch   watchers

	// of Run
	loop     *optimizer.Loop
	plant    *leash
	memory   []byte
	failures []time.Time
	rest     time.Time
}

// call is something to be done with the loop.
type call struct {
	do    func(*optimizer.Loop, time.Time) // on a goroutine that may be given up
	after func()                           // if that went well; nil: nothing
	done  chan error
}

// New returns a runner, which does nothing before Run.
func New(o Options) *Runner {
	r := &Runner{options: o, calls: make(chan *call), alarms: make(chan struct{}, 1)}
	r.config.Store(&o.Config)
	r.stats.init()
	return r
}

// leash lets a loop publish for as long as it is the one that counts.
type leash struct {
	optimizer.Plant
	mu        sync.Mutex
	cut       bool
	published int
}

var errCut = errors.New("the loop was given up")

// isCut tells whether the loop was given up.
func (p *leash) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// Publish implements optimizer.Plant.
func (p *leash) Publish(routes map[string]policy.Route) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return errCut
	}
	p.published++
	return p.Plant.Publish(routes)
}

// Run runs until ctx is done.
func (r *Runner) Run(ctx context.Context) {
	if r.options.Load != nil {
		r.memory = r.options.Load(ctx)
	}
	r.begin()
	if r.options.LoadProof != nil {
		if b := r.options.LoadProof(ctx); b != nil {
			if err := r.loop.Proof.UnmarshalBinary(b); err != nil {
				r.options.Log.Error().Err(err).Msg("what was measured of savings is lost")
			}
		}
	}
	keep := time.NewTicker(proofEvery)
	defer keep.Stop()
	feed := time.NewTicker(feedEvery)
	defer feed.Stop()
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			r.options.Ring.Drain(r.loop.Observe)
			r.keepProof()
			return
		case <-keep.C:
			r.keepProof()
		case <-feed.C:
			r.feed(ctx)
		case <-r.alarms:
			if quiet == nil {
				quiet = time.After(alarmQuiet)
			}
		case <-quiet:
			quiet = nil
			if r.config.Load().Enabled {
				r.stats.triggers[triggerAlarm].Inc()
				_ = r.serve(ctx, r.cycle(new([]optimizer.Decision)))
			}
		case c := <-r.calls:
			c.done <- r.serve(ctx, c)
		}
	}
}

func (r *Runner) serve(ctx context.Context, c *call) error {
	err := r.perform(ctx, c.do)
	if err == nil && c.after != nil {
		c.after()
	}
	return err
}

// begin makes a loop, with the memory of the one before.
func (r *Runner) begin() {
	c := r.config.Load()
	r.plant = &leash{Plant: r.options.Plant}
	s := r.settings(c)
	r.loop = optimizer.New(r.plant, s, c.Tuners...)
	if r.memory == nil {
		return
	}
	if err := r.loop.UnmarshalBinary(r.memory); err != nil {
		r.options.Log.Error().Err(err).Msg("what the optimizer knew is lost")
		r.loop = optimizer.New(r.plant, s, c.Tuners...)
	}
}

// settings are those of a configuration for the loop in place.
func (r *Runner) settings(c *Config) optimizer.Settings {
	s, plant := c.Settings, r.plant
	s.Phase = func(phase, tuner string) {
		if !plant.isCut() {
			r.stats.phase(phase, tuner)
		}
	}
	return s
}

// keepProof keeps what was measured of savings.
func (r *Runner) keepProof() {
	if r.options.SaveProof == nil {
		return
	}
	b, err := r.loop.Proof.MarshalBinary()
	if err != nil {
		r.options.Log.Error().Err(err).Msg("what was measured of savings can't be kept")
		return
	}
	r.options.SaveProof(b)
}

// feed takes in what exchanges have come to.
func (r *Runner) feed(ctx context.Context) {
	if !r.config.Load().Enabled || time.Now().Before(r.rest) {
		r.options.Ring.Drain(func(*window.Exchange) {})
		return
	}
	_ = r.perform(ctx, func(l *optimizer.Loop, _ time.Time) { r.options.Ring.Drain(l.Observe) })
}

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
	case <-ctx.Done():
		return ctx.Err()
	case <-deadline.C:
		err = ErrLate
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

// cycle is one cycle; out gets what was decided.
func (r *Runner) cycle(out *[]optimizer.Decision) *call {
	var took time.Duration
	var decisions []optimizer.Decision
	return &call{
		do: func(l *optimizer.Loop, now time.Time) {
			began := time.Now()
			r.options.Ring.Drain(l.Observe)
			decisions = l.Step(now)
			took = time.Since(began)
		},
		after: func() {
			*out = decisions
			r.stats.ran(took, r.loop)
			r.tell(decisions)
		},
		done: make(chan error, 1),
	}
}

// tell says what was decided, to all who want to know.
func (r *Runner) tell(decisions []optimizer.Decision) {
	for i := range decisions {
		d := &decisions[i]
		r.stats.decided(d)
		r.watch.tell(d)
		if d.Verdict == optimizer.Held {
			continue
		}
		level := zerolog.InfoLevel
		if d.Verdict == optimizer.Refused {
			level = zerolog.DebugLevel
		}
		r.options.Log.WithLevel(level).Str("decision", d.ID).Str("route", d.Route).Str("tuner", d.Tuner).Str("verdict", string(d.Verdict)).Msg(d.String())
		r.options.Journal(d)
	}
}

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
	if err = r.ask(ctx, r.cycle(&out)); err != nil {
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
	err := r.ask(ctx, &call{
		do: func(l *optimizer.Loop, now time.Time) { d, refused = l.Order(now, o) },
		after: func() {
			if refused == nil {
				r.tell([]optimizer.Decision{d})
				r.save()
			}
		},
	})
	if err != nil {
		return optimizer.Decision{}, err
	}
	return d, refused
}

// Change puts another configuration in force.
func (r *Runner) Change(ctx context.Context, c Config) {
	was := r.config.Swap(&c)
	_ = r.ask(ctx, &call{do: func(*optimizer.Loop, time.Time) {}, after: func() {
		r.loop.Change(r.settings(&c), c.Tuners...)
		if was.Enabled && !c.Enabled && r.options.Off != nil {
			r.options.Off()
		}
	}})
}

// Inspect calls look with the loop, which must not be changed or kept.
func (r *Runner) Inspect(ctx context.Context, look func(l *optimizer.Loop, now time.Time)) error {
	return r.ask(ctx, &call{do: func(*optimizer.Loop, time.Time) {}, after: func() { look(r.loop, time.Now()) }})
}
