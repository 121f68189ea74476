package pick

import (
	"fmt"
	"math"
	"time"
)

// State is whether a target takes traffic, and why not.
type State uint8

// The states, from the best to the worst.
const (
	Healthy   State = iota
	SlowStart       // back from an ejection, with a growing share
	Probation       // ejected long enough: probes only
	Paced           // no room within its provider's limits just now
	Full            // at its max_concurrency
	RateLimit       // has answered 429
	Out             // ejected
	Drained         // by an operator
	KeyRefused
)

var stateNames = [...]string{"healthy", "slow_start", "probation", "paced", "full", "rate_limited", "ejected", "drained", "key_refused"}

// String is the state's name in tables and metrics.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return ""
	}
	return stateNames[s]
}

const (
	probeShare   = .02         // of choices, for a target on probation
	probeEvery   = time.Second // at least, while there is traffic
	probeGood    = 1
	probeBad     = -4
	probesWanted = 8
	forgetAfter  = 10 * time.Minute // without an ejection, after which the next one is short again
	leastShare   = .1               // at the begin of a slow start
	panicShare   = 1. / 3           // of its usual share that an ejected target gets in panic
	forever      = math.MaxInt64
)

// state tells whether the target takes traffic now. It takes no lock.
func (t *Target) state(now int64) State {
	if !t.trouble.Load() {
		if t.spec.MaxConcurrency > 0 && t.inFlight.Load() >= int64(t.spec.MaxConcurrency) {
			return Full
		}
		if t.paced.Load() > now {
			return Paced
		}
		return Healthy
	}
	switch until := t.until.Load(); {
	case t.retired.Load():
		return KeyRefused
	case t.drained.Load():
		return Drained
	case until > now:
		return Out
	case t.limited.Load() > now:
		return RateLimit
	case t.spec.MaxConcurrency > 0 && t.inFlight.Load() >= int64(t.spec.MaxConcurrency):
		return Full
	case t.paced.Load() > now:
		return Paced
	case until > 0:
		return Probation
	}
	if back := t.back.Load(); back > 0 && now < back+int64(t.route.spec.Ejection.SlowStart) {
		return SlowStart
	}
	return Healthy
}

// ramp is the part of its share that a target in slow start gets.
func (t *Target) ramp(now int64) float64 {
	part := float64(now-t.back.Load()) / float64(t.route.spec.Ejection.SlowStart)
	return min(max(part, leastShare), 1)
}

// verdict is an answer to one question about an attempt.
type verdict uint8

const (
	unknown verdict = iota
	no
	yes
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// judge takes in whether an attempt that began at start has failed and was slow. It runs under the mutex.
func (t *Target) judge(now, start int64, failed, slow verdict) Change {
	e := &t.route.spec.Ejection
	if e.Off {
		return NoChange
	}
	if until := t.until.Load(); until > 0 {
		if now < until || start < until { // it began before: that is known already
			return NoChange
		}
		return t.probe(now, failed == yes || slow == yes)
	}
	if failed != unknown {
		if c := t.failures.Step(failed == yes); c.Alarm {
			t.eject(now, e, fmt.Sprintf("failures: %v", c.Reason()))
			return Ejected
		}
	}
	if slow != unknown {
		if c := t.slow.Step(slow == yes); c.Alarm {
			t.eject(now, e, fmt.Sprintf("answers after %v: %v", t.route.spec.SLO, c.Reason()))
			return Ejected
		}
	}
	return NoChange
}

// probe counts an attempt of a target on probation.
func (t *Target) probe(now int64, bad bool) Change {
	if bad {
		t.score += probeBad
	} else {
		t.score += probeGood
	}
	switch {
	case t.score < 0:
		t.eject(now, &t.route.spec.Ejection, "a probe failed")
		return Ejected
	case t.score >= probesWanted:
		t.until.Store(0)
		t.back.Store(now)
		return Restored
	}
	return NoChange
}

// eject takes the target out: 10 s at first, twice as long each time until it has been well for ten minutes.
func (t *Target) eject(now int64, e *Ejection, reason string) {
	if now-t.lastOut > int64(forgetAfter) {
		t.streak = 0
	}
	out := min(e.Base<<min(t.streak, 20), e.Max)
	t.streak++
	t.score = 0
	t.reason = reason
	t.lastOut = now + int64(out)
	t.until.Store(t.lastOut)
	t.trouble.Store(true)
	t.ejections.Add(1)
}

// Drain stops sending new attempts, or begins again.
func (t *Target) Drain(on bool, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = reason
	t.drained.Store(on)
	t.trouble.Store(true)
}

// calm notes that nothing is wrong with the target any more, so that choosing need not look. It belongs to Tick.
func (t *Target) calm(now int64) {
	if !t.trouble.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.state(now); s == Healthy && t.until.Load() == 0 {
		t.trouble.Store(false)
	}
}

// Eject takes the target out by hand, until it is restored.
func (t *Target) Eject(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = reason
	if t.until.Swap(forever) != forever {
		t.ejections.Add(1)
	}
	t.trouble.Store(true)
}

// Restore gives the target its whole share again at once, whatever had taken it out.
func (t *Target) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drained.Store(false)
	t.retired.Store(false)
	t.limited.Store(0)
	t.paced.Store(0)
	t.until.Store(0)
	t.back.Store(0)
	t.streak, t.score, t.forbidden, t.reason = 0, 0, 0, ""
}

// Status is a target's state for people and metrics.
type Status struct {
	Route, Target string
	State         State
	Reason        string        // of the last ejection, or of what an operator has done
	For           time.Duration // how long it stays as it is, where that is known
	InFlight      int64
	Ejections     uint64
	Expected      time.Duration // peak-EWMA of the time to first token at 1,000 input tokens, or to the whole answer; 0: not known
	P99           time.Duration // the same at the 99th percentile
	Failures      float64       // usual rate
	Slow          float64       // usual rate of answers slower than the objective
}

// Status reports on the target.
func (t *Target) Status(now time.Time) Status {
	at := t.route.at(now)
	s := Status{Route: t.route.spec.Name, Target: t.spec.Name, State: t.state(at), InFlight: t.inFlight.Load(), Ejections: t.ejections.Load()}
	switch s.State {
	case Out:
		if until := t.until.Load(); until < forever {
			s.For = time.Duration(until - at)
		}
	case RateLimit:
		s.For = time.Duration(t.limited.Load() - at)
	case Paced:
		s.For = time.Duration(t.paced.Load() - at)
	}
	k := streams
	if t.times[k].expected() == 0 {
		k = plain
	}
	s.Expected = time.Duration(t.times[k].expected() * float64(time.Second))
	s.P99 = t.times[k].within(&t.times[k].p99, sizeFirst)
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Reason = t.reason
	s.Failures, _ = t.failures.Rates()
	s.Slow, _ = t.slow.Rates()
	return s
}
