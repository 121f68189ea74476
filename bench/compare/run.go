package compare

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say what to compare.
type Options struct {
	Self   string   // path of the llmopt binary
	Names  []string // contenders to start, of Names
	Given  []Given  // contenders that run already; they are measured before the unpaced upstream that they know
	Rounds int
	Quick  bool // a smoke test: shorter turns
	// Scenarios are words of which a scenario's name must contain one; none: all are played.
	Scenarios []string
	// Progress is told of each turn; nil: nobody is.
	Progress func(round int, scenario, contender string, s *Sample, err error)
}

// Run plays every scenario for every contender in turn, as many rounds as asked, and starts each round with another
// contender. An error of one contender fails its cell alone.
func Run(ctx context.Context, o *Options) (*Result, error) {
	r := &Result{Machine: thisMachine(), Started: time.Now().UTC().Truncate(time.Second), Rounds: o.Rounds, Quick: o.Quick, Contenders: o.Names}
	for _, g := range o.Given {
		r.Contenders = append(slices.Clone(r.Contenders), g.Name)
	}
	all := scenarios(o.Quick)
	for _, paced := range []bool{false, true} {
		var group []scenario
		for _, s := range all {
			if s.paced == paced && o.wants(s.name) {
				group = append(group, s)
			}
		}
		if len(group) == 0 {
			continue
		}
		if err := runGroup(ctx, o, group, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (o *Options) wants(scenario string) bool {
	return len(o.Scenarios) == 0 || slices.ContainsFunc(o.Scenarios, func(words string) bool { return strings.Contains(scenario, words) })
}

// runGroup plays scenarios that share an upstream.
func runGroup(ctx context.Context, o *Options, group []scenario, r *Result) error {
	dir, err := os.MkdirTemp("", "llmopt-compare-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx's workers are another user's
		return err
	}
	upstream, err := freeAddr()
	if err != nil {
		return err
	}
	sim, err := start(ctx, dir, "sim", upstream, nil, o.Self, "sim", "--minimal", "--listen", upstream, "--directives", group[0].simDirectives())
	if err != nil {
		return err
	}
	defer sim.stop()
	var contenders []*contender
	defer func() {
		for _, c := range contenders {
			c.stop()
		}
	}()
	for _, name := range o.Names {
		c, err := launch(ctx, o.Self, dir, name, upstream)
		if err != nil {
			return err
		}
		contenders = append(contenders, c)
		if c.process != nil {
			if rss, err := c.process.rss(); err == nil {
				r.idle(name, rss)
			}
		}
	}
	if !group[0].paced {
		for _, g := range o.Given {
			c := &contender{name: g.Name, addr: g.Addr}
			if g.PID > 0 {
				c.process = &process{pid: g.PID} // whose stop does nothing
			}
			contenders = append(contenders, c)
		}
	}
	for i := range group {
		if err := runScenario(ctx, o, &group[i], contenders, sim, upstream, r); err != nil {
			return err
		}
	}
	return nil
}

func runScenario(ctx context.Context, o *Options, s *scenario, contenders []*contender, sim *process, upstream string, r *Result) error {
	var want answer
	if !s.paced {
		var err error
		if want, err = probe(upstream, s); err != nil {
			return fmt.Errorf("the simulator: %w", err)
		}
	}
	for round := range o.Rounds {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			sample, err := c.turn(ctx, s, sim, want.length)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if o.Progress != nil {
				o.Progress(round, s.name, c.name, sample, err)
			}
			r.add(s, c.name, sample, err)
		}
	}
	return nil
}

// turn measures one contender once.
func (c *contender) turn(ctx context.Context, s *scenario, sim *process, want int) (*Sample, error) {
	t := &turn{s: s, addr: c.addr, want: want}
	sample := &Sample{}
	err := t.play(ctx, func(ctx context.Context) error {
		if err := t.settle(ctx); err != nil {
			return err
		}
		t.measure.Store(true)
		var before, after account
		var err error
		if before, err = c.account(sim); err != nil {
			return err
		}
		count, began := t.count.Load(), time.Now()
		wait(ctx, t.stop, s.measure)
		if after, err = c.account(sim); err != nil {
			return err
		}
		sample.Count, sample.Seconds = t.count.Load()-count, time.Since(began).Seconds()
		t.measure.Store(false)
		if sample.Count == 0 {
			return fmt.Errorf("no %s in %v", s.unit, s.measure)
		}
		n := float64(sample.Count) * float64(time.Microsecond)
		sample.CPU = float64(after.contender-before.contender) / n
		sample.Sim, sample.Driver = float64(after.sim-before.sim)/n, float64(after.driver-before.driver)/n
		if c.process != nil {
			sample.RSS, err = c.process.rss()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sample.P50, sample.P99 = quantile(t.whole, .5), quantile(t.whole, .99)
	sample.FirstP50, sample.FirstP99 = quantile(t.firsts, .5), quantile(t.firsts, .99)
	return sample, nil
}

// settle waits until the load is steady; with paced streams until all are open.
func (t *turn) settle(ctx context.Context) error {
	wait(ctx, t.stop, t.s.settle)
	for end := time.Now().Add(10 * time.Second); t.s.paced && int(t.open.Load()) < t.s.conns; {
		if t.stopped() || ctx.Err() != nil {
			return nil // whoever stopped it says why
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d streams are open", t.open.Load(), t.s.conns)
		}
		wait(ctx, t.stop, 20*time.Millisecond)
	}
	return nil
}

func wait(ctx context.Context, stop <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	case <-ctx.Done():
	}
}

// account is the CPU time spent so far.
type account struct{ contender, sim, driver time.Duration }

func (c *contender) account(sim *process) (a account, err error) {
	if c.process != nil {
		if a.contender, err = c.process.cpu(); err != nil {
			return a, err
		}
	}
	if a.sim, err = sim.cpu(); err != nil {
		return a, err
	}
	a.driver, err = (&process{pid: os.Getpid()}).threads()
	return a, err
}
