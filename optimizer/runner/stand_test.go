package runner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/policy"
)

// stand is a runner with a plant of one route, and a tuner that does what a test wants. Its methods are safe for concurrent use.
type stand struct {
	t      testing.TB
	ring   *window.Ring
	runner *Runner
	end    func() // of the runner; waits for it

	mu        sync.Mutex
	in        policy.Parameters
	static    policy.Parameters
	holdback  float64
	known     int // times that the plant was asked
	published int
	stale     bool
	decisions []optimizer.Decision
	memory    []byte
	proof     []byte
	disk      time.Duration // that storing the memory takes
	saved     int           // times that it was stored
	kept      int           // times that the proof was kept
	off       int

	ask     func() // called when the plant is asked; nil: nothing happens
	owns    func()
	propose func(e *optimizer.RouteEvidence) optimizer.Proposal
}

const deadline = time.Second

func newStand(t testing.TB) *stand {
	p := policy.Parameters{RetryShare: .2, Targets: map[string]policy.Target{"a": {Weights: [policy.Classes]float64{1, 1, 1}}, "b": {Weights: [policy.Classes]float64{1, 1, 1}}}}
	s := &stand{t: t, ring: window.NewRing(), in: p, static: p}
	s.propose = func(e *optimizer.RouteEvidence) optimizer.Proposal { return optimizer.Proposal{Reason: "all is well"} }
	return s
}

func (s *stand) config(enabled bool) Config {
	return Config{Enabled: enabled, Deadline: deadline, Tuners: []optimizer.Tuner{s}, Settings: optimizer.Settings{
		Bounds: optimizer.DefaultBounds, Trials: optimizer.DefaultTrials, Holdback: .02, Modes: map[string]optimizer.Mode{"stand": optimizer.Auto},
	}}
}

// run has a runner run until the test ends.
func (s *stand) run(enabled bool) {
	s.runner = New(Options{
		Plant: s, Ring: s.ring, Config: s.config(enabled), Log: zerolog.Nop(),
		Journal: func(d *optimizer.Decision) { s.with(func() { s.decisions = append(s.decisions, *d) }) },
		Load:    func(context.Context) (b []byte) { s.with(func() { b = s.memory }); return b },
		Save: func(b []byte) {
			time.Sleep(s.disk)
			s.with(func() { s.memory, s.saved = b, s.saved+1 })
		},
		LoadProof: func(context.Context) (b []byte) { s.with(func() { b = s.proof }); return b },
		SaveProof: func(b []byte) { s.with(func() { s.proof, s.kept = b, s.kept+1 }) },
		Off:       func() { s.with(func() { s.off, s.in = s.off+1, s.static }) },
	})
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		s.runner.Run(ctx)
		close(done)
	}()
	s.end = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	s.t.Cleanup(s.end)
	synctest.Wait()
}

func (s *stand) with(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// Known implements optimizer.Plant.
func (s *stand) Known(time.Time) []optimizer.Known {
	s.mu.Lock()
	s.known++
	ask := s.ask
	k := optimizer.Known{Name: "r", InForce: s.in, Static: s.static, Holdback: s.holdback, Targets: []optimizer.KnownTarget{{Name: "a", Available: true}, {Name: "b", Available: true}}}
	s.mu.Unlock()
	if ask != nil {
		ask()
	}
	return []optimizer.Known{k}
}

// Publish implements optimizer.Plant.
func (s *stand) Publish(routes map[string]policy.Route) (err error) {
	s.with(func() {
		if s.stale {
			err = errors.New("stale")
			return
		}
		s.in, s.holdback = routes["r"].Parameters, routes["r"].Holdback
		s.published++
	})
	return err
}

// Name implements optimizer.Tuner.
func (s *stand) Name() string { return "stand" }

// Owns implements optimizer.Tuner.
func (s *stand) Owns(string) bool {
	if s.owns != nil {
		s.owns()
	}
	return true
}

// Propose implements optimizer.Tuner.
func (s *stand) Propose(e *optimizer.RouteEvidence) optimizer.Proposal { return s.propose(e) }

// move wants more of the traffic at a, as long as a has not three quarters.
func move(e *optimizer.RouteEvidence) optimizer.Proposal {
	p := optimizer.Proposal{Reason: "a is cheaper", Expected: optimizer.Effect{Relative: -.2}}
	for c, class := range []string{"light", "medium", "heavy"} {
		if a, b := e.InForce.Targets["a"].Weights[c], e.InForce.Targets["b"].Weights[c]; a < 1.5 {
			p.Changes = append(p.Changes, optimizer.Change{Name: "weights/a/" + class, From: a, To: 1.5}, optimizer.Change{Name: "weights/b/" + class, From: b, To: .5})
		}
	}
	return p
}

// cycle runs one and complains where it does not end as expected.
func (s *stand) cycle(want error) []optimizer.Decision {
	s.t.Helper()
	d, err := s.runner.Cycle(s.t.Context())
	if !errors.Is(err, want) {
		s.t.Fatalf("the cycle ends with %v, want %v", err, want)
	}
	return d
}

// told are the decisions in the journal with a verdict.
func (s *stand) told(v optimizer.Verdict) (out []optimizer.Decision) {
	s.with(func() {
		out = slices.DeleteFunc(slices.Clone(s.decisions), func(d optimizer.Decision) bool { return d.Verdict != v })
	})
	return out
}

// count reads one of the counters.
func (s *stand) count(of *int) (n int) {
	s.with(func() { n = *of })
	return n
}

// weight is that of a in force.
func (s *stand) weight() (w float64) {
	s.with(func() { w = s.in.Targets["a"].Weights[0] })
	return w
}

// inspect looks at the loop.
func (s *stand) inspect(look func(*optimizer.Loop)) {
	s.t.Helper()
	if err := s.runner.Inspect(s.t.Context(), func(l *optimizer.Loop, _ time.Time) { look(l) }); err != nil {
		s.t.Fatal(err)
	}
}
