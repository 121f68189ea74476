package pick

import (
	"fmt"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Explanation is what the first attempt of an exchange would do.
type Explanation struct {
	Why        Why
	Refusal    Refusal
	Candidates []Candidate // in the order of the configuration
	Fallback   *Target     // that serves it where none of the candidates can; nil: none is needed, or there is none
}

// Candidate is a target, and what speaks for and against it.
type Candidate struct {
	Target      *Target
	Probability float64 // that the first attempt goes there
	Weight      float64
	State       State
	Note        string
	Home        bool // it is chosen by affinity
}

// Explain says where an exchange would go now. It changes nothing.
func (r *Route) Explain(now time.Time, s *policy.Snapshot, q *Query) Explanation {
	at, p := r.at(now), r.planFor(s, q.Arm)
	e := Explanation{Why: ByShare}
	for i, t := range r.targets {
		c := Candidate{Target: t, Weight: p.weights[q.Class][i], State: t.state(at)}
		c.Note = t.note(at, c.State, c.Weight)
		e.Candidates = append(e.Candidates, c)
	}
	if q.Pin > 0 {
		e.Why = ByPin
		e.Candidates[q.Pin-1].Probability = 1
		return e
	}
	for _, last := range []bool{false, true} {
		if last {
			if c, ok := r.soonest(at, p, q, 0); ok {
				e.Why, e.Candidates[c.Target.index].Probability = ByRoom, 1
				return e
			}
			if e.Fallback = r.fallbackFor(now, s, q, r.refuses(at, p, q)); e.Fallback != nil {
				e.Why = ByFallback
				return e
			}
			if r.spec.FailFast {
				break
			}
		}
		for _, tier := range r.tiers {
			if r.weigh(&e, tier, at, p, q, last) {
				if last {
					e.Why = LastResort
				}
				return e
			}
		}
	}
	e.Refusal = r.refuses(at, p, q)
	return e
}

// fallbackFor is the first target of the fallback chains that a refusal leads to; of another route, its most likely one.
func (r *Route) fallbackFor(now time.Time, s *policy.Snapshot, q *Query, refusal Refusal) *Target {
	if refusal == NoRefusal {
		return nil
	}
	for _, cause := range causesOf(refusal) {
		for _, f := range r.fallback[cause] {
			at := f.route.at(now)
			if f.target >= 0 {
				if t := f.route.targets[f.target]; (q.Dialect == 0 || t.spec.Dialect == q.Dialect) && t.state(at) <= Paced {
					return t
				}
				continue
			}
			e := Explanation{Candidates: make([]Candidate, len(f.route.targets))}
			other := *q
			other.Prefix = Prefix{}
			for _, tier := range f.route.tiers {
				if !f.route.weigh(&e, tier, at, f.route.planFor(s, policy.Treated), &other, false) {
					continue
				}
				best := 0
				for i := range e.Candidates {
					if e.Candidates[i].Probability > e.Candidates[best].Probability {
						best = i
					}
				}
				return f.route.targets[best]
			}
		}
	}
	return nil
}

// weigh fills in the probabilities of a tier's targets; false where none can be chosen.
func (r *Route) weigh(e *Explanation, tier []int, at int64, p *plan, q *Query, last bool) bool {
	var c candidates
	r.gather(&c, tier, at, p, q, 0, last)
	if c.n == 0 {
		return false
	}
	left := 1.
	if c.probe >= 0 {
		e.Candidates[c.probe].Probability += probeShare
		left -= probeShare
	}
	home, known := -1, false
	if q.Prefix.n > 0 && c.n > 1 {
		home, known = r.affine(&c, p, q, at)
	}
	if !known {
		for _, i := range c.list[:c.n] {
			e.Candidates[i].Probability += left * r.spec.Exploration / float64(c.n)
		}
		left *= 1 - r.spec.Exploration
	}
	if home >= 0 {
		e.Why = ByAffinity
		e.Candidates[home].Probability += left
		e.Candidates[home].Home = true
		e.Candidates[home].Note = join(e.Candidates[home].Note, map[bool]string{true: "the prompt's begin is known here", false: "the prompt is to begin here"}[known])
		return true
	}
	group := p.group[q.Class]
	for _, i := range c.list[:c.n] {
		var members [MaxTargets]uint8
		n, share := c.equals(group, group[i], &members)
		within := 1.
		if n > 1 {
			_, within = r.lighter(&c, members[:n], p, q, int(i), true, 0)
			e.Candidates[i].Note = join(e.Candidates[i].Note, fmt.Sprintf("one of %d equals, the lighter loaded of two is taken", n))
		}
		e.Candidates[i].Probability += left * share / c.total * within
	}
	return true
}

// note says why a target does not get its share, if it does not, and what it is known for.
func (t *Target) note(at int64, s State, weight float64) (note string) {
	switch s {
	case Healthy, Full, Drained, KeyRefused:
	case SlowStart:
		note = fmt.Sprintf("back from an ejection, has %.0f %% of its share", 100*t.ramp(at))
	case Probation:
		note = "was ejected, gets probes"
	case Paced:
		note = fmt.Sprintf("has room within its provider's limits in %v", time.Duration(t.paced.Load()-at).Round(time.Millisecond))
	case RateLimit:
		note = fmt.Sprintf("left alone for another %v", time.Duration(t.limited.Load()-at).Round(time.Millisecond))
	case Out:
		if until := t.until.Load(); until < forever {
			note = fmt.Sprintf("ejected for another %v", time.Duration(until-at).Round(time.Millisecond))
		} else {
			note = "ejected by hand"
		}
	}
	if weight == 0 {
		note = join(note, "has no weight: a fallback, or by name")
	}
	if s >= Probation || s == SlowStart {
		t.mu.Lock()
		if t.reason != "" && s != RateLimit && s != Full && s != Paced {
			note = join(note, t.reason)
		}
		t.mu.Unlock()
	}
	return note
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// Chains are the fallback chains by cause: names of targets of the route, or of routes.
func (r *Route) Chains() (chains [Causes][]string) { return r.spec.Fallback }
