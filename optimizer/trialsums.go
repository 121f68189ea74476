package optimizer

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis/learn"
	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// armSums sum up what an arm of a trial has come to. Of failures and violations a session is one outcome, the share of its exchanges that were bad: exchanges of
// a session are alike, and would be taken for more evidence than they are. Cost is per token of work, so that an odd long exchange counts for what it is,
// and by groups of sessions, see [groups].
type armSums struct {
	exchanges  float64
	counted    float64 // of a session mostOfSession at most
	sessions   float64
	failed     float64 // sum of the sessions' shares
	violated   float64
	groups     [groups]workSums
	costGroups float64 // that have any
}

type workSums struct{ priced, cost, work float64 }

// mostOfSession is how many exchanges of a session count for the least number that a stage needs.
const mostOfSession = 10

func (a *armSums) addCost(x *window.Exchange, group uint64) {
	w := work(float64(x.Input), float64(x.Output))
	if x.CostNanoUSD <= 0 || x.Unpriced || w <= 0 {
		return
	}
	g := &a.groups[group]
	if g.priced == 0 {
		a.costGroups++
	}
	g.priced, g.cost, g.work = g.priced+1, g.cost+float64(x.CostNanoUSD)/1e9, g.work+w
}

// cost is what all groups come to.
func (a *armSums) cost() (sum workSums) {
	for i := range a.groups {
		g := &a.groups[i]
		sum.priced, sum.cost, sum.work = sum.priced+g.priced, sum.cost+g.cost, sum.work+g.work
	}
	return sum
}

// sessionHarm are two e-processes of the same claim, of which the mean is one too: of each session's first exchange, which is known at once, and of the share of its
// first exchanges that were bad, which also tells what comes later in a conversation. Both take one outcome of a session, so that those are independent.
type sessionHarm struct{ first, whole learn.Harm }

// Log is the logarithm of the e-value.
func (h *sessionHarm) Log() float64 { return logMean(h.first.Log(), h.whole.Log()) }

// sessionBet is the same of the claim that a mean is below a limit.
type sessionBet struct{ first, whole *learn.Bet }

func newSessionBet(limit float64) *sessionBet {
	return &sessionBet{learn.NewBet(limit), learn.NewBet(limit)}
}

func (b *sessionBet) Log() float64 { return logMean(b.first.Log(), b.whole.Log()) }

// logMean is the logarithm of the mean of two numbers that are given as logarithms.
func logMean(a, b float64) float64 {
	high := max(a, b)
	return high + math.Log((math.Exp(a-high)+math.Exp(b-high))/2)
}

// trialSessions are the sessions that a trial has met, so that none counts twice. Memory is bounded: where there are too many, only those are looked at whose hash
// is below a bound, which halves as often as it must. That leaves out as many of either arm, whatever came of them.
type trialSessions struct {
	known  map[uint64]trialSession // by hash
	under  []underWay              // those whose share has not been told yet, oldest first
	sample uint64                  // hashes above are left out
	single uint64                  // exchanges without a session: each is one of its own
}

type trialSession struct {
	last                int64 // Unix seconds of its last exchange
	n, failed, violated uint32
	told                bool
	arm                 uint8
}

type underWay struct {
	hash uint64
	from int64 // Unix seconds of its first exchange
}

const (
	mostSessions = 32768 // that are known: 2 MB in a route where so many are on trial
	sessionTold  = 300   // seconds from a session's first exchange until its share is told; what comes later is no evidence of harm, but counts for the bounds of a stage
	sessionIdle  = 3600  // seconds without an exchange after which it is over: one that comes back is another one
)

func newTrialSessions() trialSessions {
	return trialSessions{known: map[uint64]trialSession{}, sample: math.MaxUint64}
}

// forget makes room.
func (s *trialSessions) forget(now int64) {
	for hash, k := range s.known {
		if now-k.last >= sessionIdle {
			delete(s.known, hash)
		}
	}
	for len(s.known) > mostSessions/4*3 {
		s.sample /= 2
		for hash := range s.known {
			if hash > s.sample {
				delete(s.known, hash)
			}
		}
	}
}

func badness(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// observe takes an exchange in.
func (t *trial) observe(x *window.Exchange) {
	arm := uint8(0)
	switch policy.Arm(x.Arm) {
	case policy.Trial:
		arm = 1
	case policy.Control:
	default:
		return
	}
	if t.paused || x.Trial != t.salt { // what hung in an earlier trial ends now
		return
	}
	s, now := &t.sessions, x.At.Unix()
	session := x.Session
	if session == 0 {
		s.single++
		session = s.single
	}
	hash := scatter(session ^ groupSalt)
	if hash > s.sample {
		return
	}
	t.settle(x.At)
	a := &t.arms[arm]
	a.exchanges++
	a.addCost(x, hash%groups)
	k, met := s.known[hash]
	switch {
	case x.Session == 0:
		k, met = trialSession{}, false
	case met && k.arm != arm: // two sessions of one hash
		return
	}
	if !met {
		a.sessions++
		t.tellFirst(arm, badness(x.Failed), badness(x.Violation))
	}
	failed, violated := k.shares()
	k.n, k.last, k.arm = k.n+1, now, arm
	if x.Failed {
		k.failed++
	}
	if x.Violation {
		k.violated++
	}
	if k.n <= mostOfSession {
		a.counted++
	}
	failedNow, violatedNow := k.shares()
	a.failed, a.violated = max(0, a.failed+failedNow-failed), max(0, a.violated+violatedNow-violated)
	if x.Session == 0 {
		t.tellWhole(arm, failedNow, violatedNow)
		return
	}
	if !met {
		if len(s.known) >= mostSessions {
			s.forget(now)
		}
		s.under = append(s.under, underWay{hash, now})
	}
	s.known[hash] = k
}

func (k *trialSession) shares() (failed, violated float64) {
	n := max(float64(k.n), 1)
	return float64(k.failed) / n, float64(k.violated) / n
}

// tellFirst takes a session's first exchange for evidence.
func (t *trial) tellFirst(arm uint8, failed, violated float64) {
	t.fails.first.Add(arm == 1, failed)
	t.violates.first.Add(arm == 1, violated)
	if arm == 1 && t.over != nil {
		t.over.first.Add(violated)
	}
}

// tellWhole takes what a session's first exchanges have come to.
func (t *trial) tellWhole(arm uint8, failed, violated float64) {
	t.fails.whole.Add(arm == 1, failed)
	t.violates.whole.Add(arm == 1, violated)
	if arm == 1 && t.over != nil {
		t.over.whole.Add(violated)
	}
}

// settle tells of the sessions that have been under way for long enough.
func (t *trial) settle(now time.Time) {
	s, done := &t.sessions, 0
	for done < len(s.under) && now.Unix()-s.under[done].from >= sessionTold {
		u := s.under[done]
		if k, known := s.known[u.hash]; known && !k.told {
			failed, violated := k.shares()
			t.tellWhole(k.arm, failed, violated)
			k.told = true
			s.known[u.hash] = k
		}
		done++
	}
	if s.under = s.under[done:]; len(s.under) == 0 {
		s.under = nil
	}
}

// ratio is what a token of work costs in the trial, by what it costs in the control, with its standard error by linearisation (Cochran, Sampling
// Techniques, 1977, section 6.4) and random groups of sessions.
func (t *trial) ratio() (ratio, se float64, ok bool) {
	variance := 0.
	var unit [2]float64
	for i := range t.arms {
		a := &t.arms[i]
		sum := a.cost()
		if sum.priced < leastHeld || a.costGroups < leastGroups || sum.work <= 0 || sum.cost <= 0 {
			return 0, 0, false
		}
		unit[i] = sum.cost / sum.work
		for g := range a.groups {
			residual := (a.groups[g].cost - unit[i]*a.groups[g].work) / sum.cost
			variance += groups / (groups - 1.) * residual * residual
		}
	}
	ratio = unit[1] / unit[0]
	return ratio, ratio * math.Sqrt(variance), true
}
