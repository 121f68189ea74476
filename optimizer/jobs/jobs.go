// Package jobs runs what the background does from time to time: by cron expressions, or when somebody asks. A job never overlaps with
// itself, ends at a deadline, and may panic without harm to anything else.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/rs/zerolog"
)

var (
	// ErrUnknown says that there is no job of that name.
	ErrUnknown = errors.New("no such job")
	// ErrRunning says that the job is under way already.
	ErrRunning = errors.New("the job is running already")
	// ErrStopped says that jobs are not run any more, or not yet.
	ErrStopped = errors.New("jobs are not run")
)

// Job is something to be done from time to time.
type Job struct {
	Name string // in commands, metrics and the log
	Help string // what it does, as a sentence without its full stop
	Run  func(ctx context.Context) error
}

// Schedule says when jobs run. The zero value: never.
type Schedule struct {
	Location *time.Location    // of the expressions; nil: UTC
	Cron     map[string]string // by job: five fields, or six with seconds first; empty: only when asked to
	Jitter   time.Duration     // longest random delay of jobs that run hourly or less often
	Timeout  time.Duration     // of one run; 0: none
}

// equal tells whether two schedules run jobs at the same times.
func (s *Schedule) equal(o *Schedule) bool {
	return s.Location.String() == o.Location.String() && maps.Equal(s.Cron, o.Cron) && s.Jitter == o.Jitter && s.Timeout == o.Timeout
}

// Status is what is known of a job.
type Status struct {
	Name, Help, Cron string
	Running          bool
	Next             time.Time // zero: not scheduled
	Last             time.Time // beginning of the last run; zero: none yet
	Took             time.Duration
	Err              error // of the last run
	Runs, Failures   uint64
	Skipped          uint64 // times at which the run before was still under way
}

// Runner runs jobs. It is safe for concurrent use.
type Runner struct {
	log  zerolog.Logger
	jobs []*job

	mu       sync.Mutex
	schedule Schedule
	cron     gocron.Scheduler // nil: not running
	ctx      context.Context  //nolint:containedctx // of Run, while it runs
	running  sync.WaitGroup
}

type job struct {
	Job

	mu     sync.Mutex
	status Status
	entry  gocron.Job // nil: not scheduled
}

// New returns a runner, which does nothing before Run.
func New(log zerolog.Logger, s Schedule, list ...Job) *Runner {
	r := &Runner{log: log, schedule: s}
	for _, j := range list {
		r.jobs = append(r.jobs, &job{Job: j, status: Status{Name: j.Name, Help: j.Help}})
	}
	return r
}

// Run runs jobs on their schedule until ctx is done, and waits for those under way, whose context ends with ctx.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	err := r.begin()
	r.mu.Unlock()
	if err != nil {
		return err
	}
	<-ctx.Done()
	r.mu.Lock()
	r.end()
	r.ctx = nil
	r.mu.Unlock()
	r.running.Wait()
	return nil
}

// Reschedule changes when jobs run. Runs under way go on.
func (r *Runner) Reschedule(s Schedule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := r.cron != nil && s.equal(&r.schedule)
	r.schedule = s
	if same || r.ctx == nil || r.ctx.Err() != nil {
		return nil
	}
	r.end()
	return r.begin()
}

// begin starts the schedule. The caller holds the mutex.
func (r *Runner) begin() error {
	location := r.schedule.Location
	if location == nil {
		location = time.UTC
	}
	cron, err := gocron.NewScheduler(gocron.WithLocation(location), gocron.WithStopTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("schedule jobs: %w", err)
	}
	for _, j := range r.jobs {
		expression := r.schedule.Cron[j.Name]
		var entry gocron.Job
		if expression != "" {
			const withSeconds = 6
			entry, err = cron.NewJob(gocron.CronJob(expression, len(strings.Fields(expression)) == withSeconds),
				gocron.NewTask(func() { r.scheduled(j) }), gocron.WithName(j.Name))
			if err != nil {
				_ = cron.Shutdown()
				return fmt.Errorf("schedule job %s at %q: %w", j.Name, expression, err)
			}
		}
		j.mu.Lock()
		j.entry, j.status.Cron = entry, expression
		j.mu.Unlock()
	}
	cron.Start()
	r.cron = cron
	return nil
}

// end stops the schedule. The caller holds the mutex.
func (r *Runner) end() {
	if r.cron == nil {
		return
	}
	for _, j := range r.jobs {
		j.mu.Lock()
		j.entry = nil
		j.mu.Unlock()
	}
	if err := r.cron.Shutdown(); err != nil {
		r.log.Warn().Err(err).Msg("job schedule")
	}
	r.cron = nil
}

// scheduled is a run whose time has come. It returns at once, so that the schedule is never late.
func (r *Runner) scheduled(j *job) {
	go func() {
		done, ctx, err := r.start(j)
		if err != nil {
			if errors.Is(err, ErrRunning) {
				j.mu.Lock()
				j.status.Skipped++
				j.mu.Unlock()
			}
			return
		}
		defer done()
		select {
		case <-time.After(r.delay(j)):
			_ = r.run(ctx, j)
		case <-ctx.Done():
		}
	}()
}

// delay is how long a scheduled run waits before it begins.
func (r *Runner) delay(j *job) time.Duration {
	r.mu.Lock()
	jitter := r.schedule.Jitter
	r.mu.Unlock()
	j.mu.Lock()
	entry := j.entry
	j.mu.Unlock()
	if entry == nil || jitter <= 0 {
		return 0
	}
	const often = 59 * time.Minute
	if next, err := entry.NextRuns(2); err != nil || len(next) < 2 || next[1].Sub(next[0]) < often {
		return 0
	}
	return rand.N(jitter) //nolint:gosec // it need not be unpredictable
}

// Trigger runs a job now and returns what it returns.
func (r *Runner) Trigger(name string) error {
	at := slices.IndexFunc(r.jobs, func(j *job) bool { return j.Name == name })
	if at < 0 {
		names := make([]string, len(r.jobs))
		for i, j := range r.jobs {
			names[i] = j.Name
		}
		return fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
	}
	j := r.jobs[at]
	done, ctx, err := r.start(j)
	if err != nil {
		return err
	}
	defer done()
	return r.run(ctx, j)
}

// start marks a job as running; done ends that.
func (r *Runner) start(j *job) (done func(), ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil || r.ctx.Err() != nil {
		return nil, nil, ErrStopped
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status.Running {
		return nil, nil, ErrRunning
	}
	j.status.Running = true
	ctx, cancel := r.ctx, func() {}
	if r.schedule.Timeout > 0 {
		ctx, cancel = context.WithTimeout(r.ctx, r.schedule.Timeout+r.schedule.Jitter)
	}
	r.running.Add(1)
	return func() {
		cancel()
		j.mu.Lock()
		j.status.Running = false
		j.mu.Unlock()
		r.running.Done()
	}, ctx, nil
}

// run runs a job that is marked as running.
func (r *Runner) run(ctx context.Context, j *job) (err error) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("job %s panicked: %v", j.Name, p)
			r.log.Error().Str("job", j.Name).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("job panicked")
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		s := &j.status
		s.Last, s.Took, s.Err = began, time.Since(began), err
		s.Runs++
		if err != nil {
			s.Failures++
			r.log.Error().Str("job", j.Name).Dur("took", s.Took).Err(err).Msg("job failed")
		}
	}()
	return j.Run(ctx)
}

// List tells about all jobs, in their order.
func (r *Runner) List() []Status {
	r.mu.Lock() // gocron lets who asks a schedule that has been shut down wait for a second
	defer r.mu.Unlock()
	out := r.known()
	for i, j := range r.jobs {
		j.mu.Lock()
		entry := j.entry
		j.mu.Unlock()
		if entry != nil {
			if next, err := entry.NextRun(); err == nil {
				out[i].Next = next
			}
		}
	}
	return out
}

// known is List without the times to come. It never waits for the schedule.
func (r *Runner) known() []Status {
	out := make([]Status, len(r.jobs))
	for i, j := range r.jobs {
		j.mu.Lock()
		out[i] = j.status
		j.mu.Unlock()
	}
	return out
}
