package jobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const everySecond = "* * * * * *"

// running runs jobs until the test ends.
func running(t *testing.T, s Schedule, list ...Job) *Runner {
	t.Helper()
	r := New(zerolog.Nop(), s, list...)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	for begun := false; !begun; <-time.After(time.Millisecond) {
		r.mu.Lock()
		begun = r.cron != nil
		r.mu.Unlock()
	}
	return r
}

func TestRunner_RunsOnScheduleAndNeverTwiceAtATime(t *testing.T) {
	t.Parallel()
	var quick atomic.Int32
	begun, release := make(chan struct{}, 10), make(chan struct{})
	r := running(t, Schedule{Cron: map[string]string{"quick": everySecond, "slow": everySecond}},
		Job{Name: "quick", Run: func(context.Context) error { quick.Add(1); return nil }},
		Job{Name: "slow", Run: func(context.Context) error { begun <- struct{}{}; <-release; return nil }},
		Job{Name: "by hand", Run: func(context.Context) error { return nil }})
	<-begun
	if err := r.Trigger("slow"); !errors.Is(err, ErrRunning) {
		t.Errorf("trigger of a running job: %v", err)
	}
	for end := time.Now().Add(20 * time.Second); quick.Load() < 2 || r.List()[1].Skipped == 0; {
		if time.Now().After(end) {
			t.Fatalf("%d runs, %+v", quick.Load(), r.List())
		}
		<-time.After(10 * time.Millisecond)
	}
	if len(begun) > 0 {
		t.Error("the slow job runs twice")
	}
	list := r.List()
	if list[0].Next.IsZero() || list[0].Last.IsZero() || !list[1].Running || !list[2].Next.IsZero() || list[2].Runs > 0 {
		t.Errorf("got %+v", list)
	}
	close(release)
}

func TestRunner_Trigger(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	r := running(t, Schedule{Timeout: 30 * time.Millisecond},
		Job{Name: "good", Run: func(context.Context) error { return nil }},
		Job{Name: "bad", Run: func(context.Context) error { return bad }},
		Job{Name: "panics", Run: func(context.Context) error { panic("bug") }},
		Job{Name: "hangs", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	check := func(name string, want error, text string) {
		t.Helper()
		err := r.Trigger(name)
		if !errors.Is(err, want) || (err != nil && !strings.Contains(err.Error(), text)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	check("good", nil, "")
	check("bad", bad, "bad")
	check("hangs", context.DeadlineExceeded, "")
	check("nothing", ErrUnknown, `"nothing"; there are good, bad, panics, hangs`)
	if err := r.Trigger("panics"); err == nil || !strings.Contains(err.Error(), "bug") {
		t.Errorf("panic: %v", err)
	}
	for _, s := range r.List() {
		if s.Runs != 1 || (s.Failures == 0) != (s.Name == "good") || s.Running {
			t.Errorf("got %+v", s)
		}
	}
	var b bytes.Buffer
	r.Metrics().WritePrometheus(&b)
	for _, want := range []string{`llmopt_job_runs_total{job="good"} 1`, `llmopt_job_failures_total{job="panics"} 1`, `llmopt_job_last_failed{job="bad"} 1`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

func TestRunner_Reschedule(t *testing.T) {
	t.Parallel()
	ran := make(chan struct{}, 100)
	r := running(t, Schedule{Cron: map[string]string{"a": "0 0 1 1 *"}}, Job{Name: "a", Run: func(context.Context) error { ran <- struct{}{}; return nil }})
	if next := r.List()[0].Next; next.Month() != time.January || next.Day() != 1 {
		t.Errorf("next: %v", next)
	}
	if err := r.Reschedule(Schedule{Cron: map[string]string{"a": everySecond}}); err != nil {
		t.Fatal(err)
	}
	<-ran
	if err := r.Reschedule(Schedule{Cron: map[string]string{"a": "nonsense"}}); err == nil {
		t.Error("nonsense accepted")
	}
}

// A schedule that has been shut down answers nobody for a second: metrics must not ask it, and nobody may meet one.
func TestRunner_NobodyWaitsForAnOldSchedule(t *testing.T) {
	t.Parallel()
	never := map[string]string{"a": "0 0 1 1 *"}
	r := running(t, Schedule{Cron: never}, Job{Name: "a", Run: func(context.Context) error { return nil }})
	r.mu.Lock() // as while it is changed
	before := r.cron
	r.Metrics().WritePrometheus(io.Discard)
	r.mu.Unlock()
	if err := r.Reschedule(Schedule{Cron: never, Location: time.UTC}); err != nil || r.cron != before {
		t.Errorf("the same times: %v, another schedule: %t", err, r.cron != before)
	}
	if err := r.Reschedule(Schedule{Cron: never, Jitter: time.Second}); err != nil || r.cron == before {
		t.Errorf("another jitter: %v, the same schedule: %t", err, r.cron == before)
	}
	if next := r.List()[0].Next; next.IsZero() {
		t.Error("the new schedule does not tell its next run")
	}
}

func TestRunner_StopsJobsUnderWay(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{})
	r := New(zerolog.Nop(), Schedule{}, Job{Name: "a", Run: func(ctx context.Context) error { close(begun); <-ctx.Done(); return ctx.Err() }})
	if err := r.Trigger("a"); !errors.Is(err, ErrStopped) {
		t.Errorf("before Run: %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = r.Run(ctx); close(ended) }()
	result := make(chan error)
	go func() {
		for {
			if err := r.Trigger("a"); !errors.Is(err, ErrStopped) {
				result <- err
				return
			}
		}
	}()
	<-begun
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
	if err := r.Trigger("a"); !errors.Is(err, ErrStopped) {
		t.Errorf("after Run: %v", err)
	}
}
