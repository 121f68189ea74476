package runner

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/optimizer"
)

// The names of the metrics.
const (
	metricRuns      = "llmopt_optimizer_runs_total"
	metricErrors    = "llmopt_optimizer_errors_total"
	metricTriggers  = "llmopt_optimizer_alarms_total"
	metricDuration  = "llmopt_optimizer_cycle_seconds"
	metricPhase     = "llmopt_optimizer_phase_seconds_total" // phase
	metricDecisions = "llmopt_optimizer_decisions_total"     // tuner, verdict
	metricTrials    = "llmopt_optimizer_trials"
	metricFenced    = "llmopt_optimizer_fenced" // tuner
	metricEnabled   = "llmopt_optimizer_enabled"
	metricMode      = "llmopt_optimizer_mode"                              // route, tuner: 0 observe, 1 recommend, 2 canary, 3 auto
	metricPredicted = "llmopt_optimizer_predicted_saving_usd_per_exchange" // route
	metricSaved     = "llmopt_optimizer_saved_usd"                         // route
	metricSavedBy   = "llmopt_optimizer_saved_error_usd"                   // route: half of the 95 % interval
	metricHarm      = "llmopt_optimizer_harm_e_value"                      // route
	metricUnproven  = "llmopt_optimizer_unproven_routes"
	metricLost      = "llmopt_optimizer_exchanges_lost_total"
	metricAge       = "llmopt_optimizer_last_cycle_age_seconds"
)

const triggerAlarm = 0

type stats struct {
	set      *metrics.Set
	runs     *metrics.Counter
	errors   *metrics.Counter
	triggers [1]*metrics.Counter
	took     *metrics.Histogram

	working atomic.Pointer[string] // tuner at work

	mu        sync.Mutex
	current   string // phase
	since     time.Time
	phases    map[string]time.Duration
	last      time.Time
	trials    int
	unproven  int
	fenced    []string
	modes     map[[2]string]optimizer.Mode
	predicted map[string]float64
	savings   *optimizer.Savings
	summed    time.Time // when savings were last summed up
}

// sumEvery is how often savings are summed up for the metrics.
const sumEvery = time.Minute

func (s *stats) init() {
	s.set = metrics.NewSet()
	s.runs, s.errors = s.set.NewCounter(metricRuns), s.set.NewCounter(metricErrors)
	s.triggers[triggerAlarm] = s.set.NewCounter(metricTriggers)
	s.took = s.set.NewHistogram(metricDuration)
	s.phases, s.modes, s.predicted = map[string]time.Duration{}, map[[2]string]optimizer.Mode{}, map[string]float64{}
}

// phase is told what the loop is at.
func (s *stats) phase(name, tuner string) {
	if name == "" {
		s.working.Store(nil)
	} else {
		s.working.Store(&tuner)
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != "" {
		s.phases[s.current] += now.Sub(s.since)
	}
	s.current, s.since = name, now
}

// interrupted is the tuner that was at work when the loop failed; empty: none.
func (s *stats) interrupted() string {
	tuner := s.working.Swap(nil)
	s.mu.Lock()
	s.current = ""
	s.mu.Unlock()
	if tuner == nil {
		return ""
	}
	return *tuner
}

// ran counts a cycle and notes how the loop stands.
func (s *stats) ran(took time.Duration, l *optimizer.Loop) {
	s.runs.Inc()
	s.took.Update(took.Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
	s.trials = len(l.Trials())
	s.unproven = l.Proof.Unproven()
	s.fenced = s.fenced[:0]
	for tuner := range l.Fences() {
		s.fenced = append(s.fenced, tuner)
	}
	if s.last.Sub(s.summed) >= sumEvery {
		s.summed = s.last
		s.savings = l.Proof.Savings(s.last, time.Time{})
	}
	clear(s.modes)
	routes := l.Routes()
	maps.DeleteFunc(s.predicted, func(route string, _ float64) bool { _, known := slices.BinarySearch(routes, route); return !known })
	for _, route := range routes {
		for tuner, m := range l.Modes(route) {
			s.modes[[2]string{route, tuner}] = m
		}
	}
}

func (s *stats) decided(d *optimizer.Decision) {
	s.set.GetOrCreateCounter(fmt.Sprintf("%s{tuner=%q,verdict=%q}", metricDecisions, d.Tuner, d.Verdict)).Inc()
	if d.Verdict == optimizer.Applied || d.Verdict == optimizer.Promoted {
		s.mu.Lock()
		s.predicted[d.Route] = -d.Expected.Cost
		s.mu.Unlock()
	}
}

// Metrics is the set of the runner's metrics.
func (r *Runner) Metrics() *metrics.Set {
	s := &r.stats
	s.set.RegisterMetricsWriter(func(w io.Writer) {
		enabled := uint64(0)
		if r.config.Load().Enabled {
			enabled = 1
		}
		metrics.WriteGaugeUint64(w, metricEnabled, enabled)
		metrics.WriteCounterUint64(w, metricLost, r.options.Ring.Lost())
		s.mu.Lock()
		defer s.mu.Unlock()
		metrics.WriteGaugeUint64(w, metricTrials, uint64(s.trials))     //nolint:gosec // a length
		metrics.WriteGaugeUint64(w, metricUnproven, uint64(s.unproven)) //nolint:gosec // a length
		for _, tuner := range s.fenced {
			metrics.WriteGaugeUint64(w, fmt.Sprintf("%s{tuner=%q}", metricFenced, tuner), 1)
		}
		for _, phase := range optimizer.Phases {
			metrics.WriteCounterFloat64(w, fmt.Sprintf("%s{phase=%q}", metricPhase, phase), s.phases[phase].Seconds())
		}
		for of, mode := range s.modes {
			metrics.WriteGaugeUint64(w, fmt.Sprintf("%s{route=%q,tuner=%q}", metricMode, of[0], of[1]), uint64(mode))
		}
		for route, saving := range s.predicted {
			metrics.WriteGaugeFloat64(w, fmt.Sprintf("%s{route=%q}", metricPredicted, route), saving)
		}
		if s.savings != nil {
			for _, route := range s.savings.Routes {
				label := fmt.Sprintf("{route=%q}", route.Route)
				if route.Saved.Known {
					metrics.WriteGaugeFloat64(w, metricSaved+label, route.Saved.Value)
					metrics.WriteGaugeFloat64(w, metricSavedBy+label, (route.Saved.High-route.Saved.Low)/2)
				}
				metrics.WriteGaugeFloat64(w, metricHarm+label, route.Harm.EValue)
			}
		}
		if !s.last.IsZero() {
			metrics.WriteGaugeFloat64(w, metricAge, time.Since(s.last).Seconds())
		}
	})
	return s.set
}
