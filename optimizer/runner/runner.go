// Package runner runs the optimizer's loop beside a server: it feeds it, has it look when it is time or when something has happened, keeps its memory, and
// leaves out what fails, so that a bug in the optimizer costs nobody a request.
package runner

import (
	"context"
	"errors"
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
	Save    func([]byte)                 // on a goroutine of its own
	// The same for what was measured of savings, which is larger, and kept from time to time.
	LoadProof func(context.Context) []byte
	SaveProof func([]byte)
	Trouble   func(title, text string) // somebody should be told; must not wait
	Good      func()                   // what is in force has proved itself; must not wait
	Off       func()                   // undoes what was tuned; called when the runner is switched off
	Log       zerolog.Logger
}

const (
	feedEvery = time.Second
	// proofEvery is how often what was measured is kept: as much is lost in a crash.
	proofEvery = 5 * time.Minute
	// goodAfter is how long what was put in force must have stood, with nothing on trial, to count as proved.
	goodAfter = 10 * time.Minute
	// alarmQuiet is how long an alarm waits for others, so that they are looked at together.
	alarmQuiet = 500 * time.Millisecond
	// failuresAllowed within failuresWithin; then the optimizer rests for as long.
	failuresAllowed = 3
	failuresWithin  = 10 * time.Minute
	// lastWait is how long what is under way may still take when the runner is to end.
	lastWait = time.Second
)

// Runner runs a loop. Its methods are safe for concurrent use.
type Runner struct {
	options Options
	config  atomic.Pointer[Config]
	calls   chan *call
	alarms  chan struct{}
	stats   stats
	watch   watchers
	saves   *keeper // of the memory
	proofs  *keeper // of what was measured

	// of Run
	loop     *optimizer.Loop
	plant    *leash
	memory   []byte
	proof    []byte    // what was last kept of savings
	off      bool      // it was switched off, and what was tuned undone
	unsaved  bool      // the memory has changed since it was kept
	changed  time.Time // when something was last put in force that has not proved itself yet; zero: nothing
	failures []time.Time
	rest     time.Time
	unproven int // routes without a proof, as was last told
}

// call is something to be done with the loop.
type call struct {
	do      func(*optimizer.Loop, time.Time) // on a goroutine that may be given up; nil: nothing, which goes well also while the loop rests
	decides bool                             // it is a cycle
	after   func()                           // if that went well; nil: nothing
	done    chan error
}

// New returns a runner, which does nothing before Run.
func New(o Options) *Runner {
	r := &Runner{options: o, calls: make(chan *call), alarms: make(chan struct{}, 1)}
	r.config.Store(&o.Config)
	r.stats.init()
	r.saves = newKeeper(func(b []byte) { _ = r.safely("storing what it knows", func() { r.store(o.Save, b) }) })
	r.proofs = newKeeper(func(b []byte) { _ = r.safely("storing what was measured", func() { r.store(o.SaveProof, b) }) })
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

// Known implements optimizer.Plant.
func (p *leash) Known(now time.Time) []optimizer.Known {
	if p.isCut() {
		return nil // the plant remembers for whom it was asked last
	}
	return p.Plant.Known(now)
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

// store keeps something by a function that may be missing.
func (*Runner) store(keep func([]byte), b []byte) {
	if keep != nil {
		keep(b)
	}
}

// Run runs until ctx is done, and what is known is stored.
func (r *Runner) Run(ctx context.Context) {
	var storing sync.WaitGroup
	defer storing.Wait()
	storing.Go(r.saves.run)
	storing.Go(r.proofs.run)
	defer r.saves.end()
	defer r.proofs.end()
	if r.options.Load != nil {
		r.memory = r.options.Load(ctx)
	}
	r.begin()
	if r.options.LoadProof != nil {
		r.takeProof(r.options.LoadProof(ctx))
	}
	if ctx.Err() != nil {
		return
	}
	keep := time.NewTicker(proofEvery)
	defer keep.Stop()
	feed := time.NewTicker(feedEvery)
	defer feed.Stop()
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			r.feed(ctx)
			r.save()
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
			if r.config.Load().Enabled && r.resting() == nil {
				r.stats.triggers[triggerAlarm].Inc()
				_ = r.serve(ctx, r.cycle(new([]optimizer.Decision)))
			}
		case c := <-r.calls:
			if err := r.resting(); err != nil && c.decides {
				c.done <- err
				continue
			}
			c.done <- r.serve(ctx, c)
		}
	}
}

func (r *Runner) serve(ctx context.Context, c *call) error {
	var err error
	if c.do != nil {
		err = r.perform(ctx, c.do)
	}
	if err == nil && c.after != nil {
		err = r.safely("afterwards", c.after)
	}
	if r.unsaved {
		_ = r.safely("keeping what it knows", func() { r.save() })
	}
	return err
}

// takeProof has the loop go on from what was kept of savings.
func (r *Runner) takeProof(b []byte) {
	if b == nil {
		return
	}
	err := r.safely("reading what was measured", func() {
		if err := r.loop.Proof.UnmarshalBinary(b); err != nil {
			r.options.Log.Error().Err(err).Msg("what was measured of savings is lost")
		}
	})
	if err == nil {
		r.proof = b
	}
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
	err := errors.New("it can't be read")
	_ = r.safely("reading what it knew", func() { err = r.loop.UnmarshalBinary(r.memory) })
	if err != nil {
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
	_ = r.safely("keeping what was measured", func() {
		b, err := r.loop.Proof.MarshalBinary()
		if err != nil {
			r.options.Log.Error().Err(err).Msg("what was measured of savings can't be kept")
			return
		}
		r.proof = b
		r.proofs.put(b)
	})
}

// feed takes in what exchanges have come to.
func (r *Runner) feed(ctx context.Context) {
	if !r.config.Load().Enabled || r.resting() != nil {
		r.options.Ring.Drain(func(*window.Exchange) {})
		return
	}
	_ = r.serve(ctx, &call{
		do: func(l *optimizer.Loop, _ time.Time) { r.options.Ring.Drain(l.Observe) },
		after: func() {
			if r.loop.Alarmed() {
				r.Alarm()
			}
		},
	})
}

// cycle is one cycle; out gets what was decided.
func (r *Runner) cycle(out *[]optimizer.Decision) *call {
	var took time.Duration
	var decisions []optimizer.Decision
	return &call{
		decides: true,
		do: func(l *optimizer.Loop, now time.Time) {
			began := time.Now()
			r.options.Ring.Drain(l.Observe)
			decisions = l.Step(now)
			took = time.Since(began)
		},
		after: func() {
			*out = decisions
			if !r.changed.IsZero() && time.Since(r.changed) >= goodAfter && len(r.loop.Trials()) == 0 && r.options.Good != nil {
				r.changed = time.Time{}
				r.options.Good()
			}
			r.stats.ran(took, r.loop)
			if n := r.loop.Proof.Unproven(); n > 0 && r.unproven != n {
				r.options.Log.Warn().Int("routes", n).Msg("there are more routes than savings and harm can be measured of: what is tuned of the others has no proof, and is not taken back where it does harm")
			}
			r.unproven = r.loop.Proof.Unproven()
			r.tell(decisions)
			for i := range decisions {
				r.unsaved = r.unsaved || decisions[i].Verdict != optimizer.Held
			}
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
